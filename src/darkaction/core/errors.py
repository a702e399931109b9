"""How a program ends early: errors a person can act on, and SIGTERM as an orderly exit."""

import contextlib
import errno
import io
import os
import signal
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import NoReturn

from darkaction.core.redact import scrub

REFUSED = {
    number
    for name in (
        "ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "EIO", "ESTALE", "ENAMETOOLONG", "EISDIR", "ENOTDIR",
        "ELOOP", "EMFILE", "ENFILE",
    )
    if (number := getattr(errno, name, None)) is not None
}  # fmt: skip
"""What a disk, its rights and its limits answer. No fault of a program ends in them but by an odd path."""


class UserError(Exception):
    """Wrong input from outside (a setting, a file, an argument). Commands print it without a traceback and exit 1.

    Its text names the file or key and says what would be valid.
    """


def reason_of(error: BaseException) -> str:
    """What an error says, in one line and without passwords; behind its name, unless it is one of ours."""
    first, *_ = str(error).strip().splitlines() or [""]
    named = first if isinstance(error, UserError) else f"{type(error).__name__}: {first}".removesuffix(": ")
    return scrub(named)[:300]


def refusal(error: OSError) -> str | None:
    """What the system refused, with the name of the file, in one line: space, quota, rights, a name that is too long or
    of another kind. None for errors that the program may be to blame for, as a file that is missing where it should
    have been made; these keep their traceback.

    Of several, one behind the other, the first: a full disk fails what cleans up behind it, too.
    """
    name = text = None
    found: BaseException | None = error
    while isinstance(found, OSError) and (reason := _refused(found)) is not None:
        own = found.filename2 or found.filename or _written_by(found.__traceback__)
        if text is None or own is not None:  # closing a file fails with an error behind it that knows no name
            name, text = own or name, reason
        found = found.__context__
    return text if text is None or name is None else f"{os.fsdecode(name)}: {text}"


def _refused(error: OSError) -> str | None:
    path = None if not isinstance(error.filename, str | os.PathLike) else Path(error.filename)
    if error.errno is not None and error.errno in REFUSED:
        return os.strerror(error.errno)
    if error.errno is None and "requested and" in str(error):  # numpy's way of saying that not all could be written
        return os.strerror(errno.ENOSPC)
    if error.errno == errno.EEXIST and path is not None and path.exists() and not path.is_dir():
        return "is a file where a folder is needed"
    if error.errno == errno.ENOENT and path is not None and not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    return None


def _written_by(trace: TracebackType | None) -> str | None:
    """The file that was being written where an error arose: one that comes from a write, and not from an opening, names
    none, however it is raised."""
    names = [
        getattr(value, "name", None)
        for frame, _ in traceback.walk_tb(trace)
        for value in frame.f_locals.values()
        if isinstance(value, io.IOBase) and set("wax+") & set(str(getattr(value, "mode", "")))
    ]
    return next((os.fspath(name) for name in reversed(names) if isinstance(name, str | os.PathLike)), None)


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
