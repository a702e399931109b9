"""Which process is meant by a number, on a machine that others may share folders and storages with."""

import contextlib
import multiprocessing
import os
import socket
import threading
from multiprocessing.connection import wait
from pathlib import Path

RANK_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")

ENDED = ("Z", "X")
STARTED = 18
"""States of /proc/<pid>/stat, and the place of the start behind the state."""


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


def end_with_parent() -> None:
    """Lets this worker process end when its parent is gone. A pool's workers would wait for ever: killed, the parent
    cannot tell them to stop, and each of them holds the other end of the pipe that it reads from."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
