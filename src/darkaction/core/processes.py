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

LAUNCHERS = {"torchrun": ("WORLD_SIZE", "RANK"), "srun": ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID")}
"""What starts all processes of a distributed training, and the variables in which it says how many there are and which
of them this one is."""

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


def launcher_of(processes: int) -> str | None:
    """Which of LAUNCHERS started the processes of a training of so many. None: none did, and the first process starts
    the others. What Slurm says of tasks that train each for itself means nothing then.

    Raises:
        UserError: when it has started another number.
    """
    name = "torchrun" if "TORCHELASTIC_RUN_ID" in os.environ else "srun"
    started_ones = int(os.environ.get(LAUNCHERS[name][0], "1"))
    if started_ones == 1 or (name == "srun" and processes == 1):
        return None
    if started_ones != processes:
        raise UserError(
            f"train.devices, train.nodes: {processes} processes in all, but {name} started {started_ones}; "
            "it starts devices x nodes, on each node train.devices"
        )
    return name


def is_first_process(processes: int) -> bool:
    """False in every process of a distributed training of so many but the first."""
    if processes == 1:
        return True
    name = launcher_of(processes)
    # Lightning says LOCAL_RANK to those that it starts itself, on one machine.
    return os.environ.get("LOCAL_RANK" if name is None else LAUNCHERS[name][1], "0") == "0"


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
