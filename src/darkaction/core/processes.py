"""Which process is meant by a number, on a machine that others may share folders and storages with."""

import contextlib
import multiprocessing
import os
import socket
import threading
from multiprocessing.connection import wait
from pathlib import Path

import psutil


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
