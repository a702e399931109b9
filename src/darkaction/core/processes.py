"""Processes that share folders and storages, on this machine and others: which one is meant by a number, and locks
between them. The system drops a lock when its process ends, however that ends."""

import contextlib
import ctypes
import errno
import fcntl
import json
import multiprocessing
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import wait
from pathlib import Path
from typing import IO

from darkaction.core.errors import UserError

RANK_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")

ENDED = ("Z", "X")
STARTED = 18
"""States of /proc/<pid>/stat, and the place of the start behind the state."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h."""

LARGEST_KEPT = 2**25
"""Bytes of a block; the most that glibc takes."""

RETRY_AFTER = 0.5
"""Seconds between two looks at a lock."""


def machine() -> str:
    """Identifies where process numbers mean the same processes: the host since its start, and the container on it."""
    marks = [socket.gethostname()]
    with contextlib.suppress(OSError):
        marks.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        marks.append(str(os.stat("/proc/self/ns/pid").st_ino))
    return "/".join(marks)


def started(pid: int) -> int | None:
    """When a process of this machine started, in ticks since the machine did, so that a clock that is set changes
    nothing; None when it has ended, also where its parent has not taken note yet."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in ENDED else int(fields[STARTED])


def is_alive(pid: int, start: int) -> bool:
    """Whether the process that had this number and start still runs on this machine."""
    return started(pid) == start


def is_first_process() -> bool:
    """False in every process of a distributed training but the first."""
    ranks = [os.environ[name] for name in RANK_VARIABLES if name in os.environ]
    return not ranks or ranks[0] == "0"


def usable_processors() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Lets this process keep the memory of large arrays for the next ones. By itself glibc gives much of it back to the
    system, and fresh pages can cost as much time as what is computed on them. Without glibc nothing happens."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


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


def end_with_parent() -> None:
    """Lets this worker process end when its parent is gone. A pool's workers would wait for ever: killed, the parent
    cannot tell them to stop, and each of them holds the other end of the pipe that it reads from."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
