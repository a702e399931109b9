"""Which process is meant by a number, on a machine that others may share folders and storages with."""

import contextlib
import os
import socket
from pathlib import Path

import psutil

RANK_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")


def machine() -> str:
    """Identifies where process numbers mean the same processes: the host since its start, and the container on it."""
    marks = [socket.gethostname()]
    with contextlib.suppress(OSError):
        marks.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        marks.append(str(os.stat("/proc/self/ns/pid").st_ino))
    return "/".join(marks)


def is_alive(pid: int, started: float) -> bool:
    """Whether the process that had this number and start time still runs on this machine."""
    try:
        return abs(psutil.Process(pid).create_time() - started) < 2
    except psutil.NoSuchProcess:
        return False


def is_first_process() -> bool:
    """False in every process of a distributed training but the first."""
    ranks = [os.environ[name] for name in RANK_VARIABLES if name in os.environ]
    return not ranks or ranks[0] == "0"


def usable_processors() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
