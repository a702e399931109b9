"""Locks between processes. The system drops a lock when its process ends, however that ends."""

import contextlib
import errno
import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from darkaction.core.errors import UserError

RETRY_AFTER = 0.5
"""Seconds between two looks at a lock."""


@contextlib.contextmanager
def only_one(path: Path, *, task: str, patience: float = 0.0) -> Iterator[None]:
    """Lets one process at a time into the block, on all machines that share the file system.

    Args:
        path: the file of the lock, which is there while the block runs. Its folder is made.
        task: what is done in the block, for whoever comes second.
        patience: seconds to wait for another process, where it may be about to end.

    Raises:
        UserError: while another process is inside, naming it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path, task, patience) as file:
        file.truncate(0)
        file.write(json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(path: Path, task: str, patience: float) -> Iterator[IO[str]]:
    """The locked file. The lock is of the kind that children of this process do not share: those that outlive it by
    seconds, as processes that load batches do, would keep it."""
    deadline = time.monotonic() + patience
    while True:
        with path.open("a+") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    print(f"{path}: no locks on this file system; start {task} only once", file=sys.stderr, flush=True)
                elif time.monotonic() > deadline:
                    raise UserError(f"{path.parent}: {task} is at work here{_holder(file)}; wait for its end") from None
                else:
                    time.sleep(RETRY_AFTER)
                    continue
            if _is_at(path, file):
                yield file
                return


def _is_at(path: Path, file: IO[str]) -> bool:
    """Whether the file is still the one at `path`, and not one that its former holder has removed meanwhile."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _holder(file: IO[str]) -> str:
    file.seek(0)
    try:
        found = json.loads(file.read())
        return f" (process {found['pid']} on {found['host']})"
    except (ValueError, KeyError, TypeError):  # it has not written yet
        return ""
