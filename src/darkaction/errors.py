"""How a program ends early: errors a person can act on, and SIGTERM as an orderly exit."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from darkaction.redact import scrub


class UserError(Exception):
    """Wrong input from outside (a setting, a file, an argument). Commands print it without a traceback and exit 1.

    Its text names the file or key and says what would be valid.
    """


def reason_of(error: BaseException) -> str:
    """What an error says, in one line and without passwords; behind its name, unless it is one of ours."""
    first, *_ = str(error).strip().splitlines() or [""]
    named = first if isinstance(error, UserError) else f"{type(error).__name__}: {first}".removesuffix(": ")
    return scrub(named)[:300]


class Terminated(SystemExit):
    """SIGTERM, raised in the main thread; a program that lets it pass exits with 143."""


def stopped_by(error: BaseException) -> KeyboardInterrupt | Terminated | None:
    """The Ctrl-C or SIGTERM behind an error, also where a training loop turned it into another exit."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, KeyboardInterrupt | Terminated):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


@contextlib.contextmanager
def sigterm_raises() -> Iterator[None]:
    """SIGTERM becomes `Terminated` inside, so that whatever cleans up does so. Only in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def raise_terminated(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise Terminated(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, raise_terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
