"""Stages in processes of their own, forked from this one, which has imported torch already: that costs seconds."""

import atexit
import contextlib
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

PREIMPORTED = (
    "mlflow",
    "darkaction.params",
    "darkaction.synthetic.dataset",
    "darkaction.data.prepare",
    "darkaction.evaluation.leakage",
    "darkaction.jobs.enhancer.training",
    "darkaction.jobs.enhancer.apply",
    "darkaction.jobs.recognizer.pretrain",
    "darkaction.jobs.recognizer.train",
    "darkaction.jobs.recognizer.evaluation",
    "darkaction.report.build",
)


def preimport() -> None:
    """Imports what stages import. Nothing is computed here: a fork would lose the threads."""
    for name in PREIMPORTED:
        importlib.import_module(name)


def until(condition: Callable[[], bool], seconds: float = 600.0) -> None:
    """Waits until that is true, at most so long."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.002)


@dataclass
class Running:
    """A stage at work, in a session of its own."""

    pid: int
    log: Path
    code: int | None = None

    def wait(self, timeout: float = 600.0) -> int:
        """Its exit code; minus the signal that ended it. Killed when it takes longer."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.005)
        assert self.code is not None
        return self.code

    def poll(self) -> int | None:
        if self.code is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if ended else None
        return self.code

    def poll_for(self, seconds: float) -> None:
        """Waits so long, or until it ends."""
        until(lambda: self.poll() is not None, seconds)

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def family(self) -> list[psutil.Process]:
        """What is left of its session, but itself."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(OSError, psutil.Error):
                zombie = process.status() == psutil.STATUS_ZOMBIE
                if os.getsid(process.pid) == self.pid != process.pid and not zombie:
                    found.append(process)
        return found

    def orphans(self, patience: float = 10.0) -> int:
        """How many processes it has left behind, some seconds after its end. They are killed."""
        deadline = time.monotonic() + patience
        while (left := self.family()) and time.monotonic() < deadline:
            time.sleep(0.05)
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        return len(left)

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def refused(self) -> bool:
        """Whether it ended with one line that says why, and exit code 1."""
        lines = [line for line in self.said().splitlines() if line.startswith("error: ")]
        return self.code == 1 and len(lines) == 1 and "Traceback" not in self.said()


def start(program: str, arguments: Sequence[str], *, log: Path, before: Callable[[], object] | None = None) -> Running:
    """Forks and runs src/<program>.py.

    Args:
        before: called in the new process first.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return Running(pid, log)
    code = 70
    try:
        os.setsid()
        _redirect(log)
        if before is not None:
            before()
        code = _run(program, arguments)
    finally:
        os._exit(code)


def _redirect(log: Path) -> None:
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for stream in (1, 2):
        os.dup2(target, stream)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)


def _run(program: str, arguments: Sequence[str]) -> int:
    """The exit code of the program, as the interpreter would give it."""
    from darkaction.core import cli

    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = [f"src/{program}.py", *arguments]
    code = 0
    try:
        cli.run(importlib.import_module(program).main)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except Exception:  # noqa: BLE001 - as the interpreter does at its end
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # what the interpreter does at its end
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code
