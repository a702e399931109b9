"""Folders and files that appear whole or not at all."""

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import psutil

from darkaction.core.processes import machine

TRIES = 3


@contextlib.contextmanager
def new_folder(target: Path, *, keep: bool = True) -> Iterator[Path]:
    """Gives an empty folder beside `target` to fill; when the block ends without an error it takes `target`'s place,
    otherwise it is removed and `target` stays as it was. What an earlier process left when it was killed is removed.

    Args:
        keep: false in all but one of several processes that make the same: theirs is removed in any case.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(target)
    partial = target.with_name(f".{target.name}.partial-{_mark()}-{os.getpid()}")
    replaced = target.with_name(f".{target.name}.replaced-{_mark()}-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        if keep:
            _take_place(partial, target, replaced)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def write_whole(path: Path, content: str | bytes | memoryview) -> None:
    """Writes a file that is complete on the disk or not there, or as it was: after a power cut too, and whoever writes
    it at the same time."""
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}-{threading.get_ident()}")
    try:
        with partial.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """New names in a folder last through a power cut then. Some file systems know no such thing."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def _take_place(partial: Path, target: Path, replaced: Path) -> None:
    """Puts `partial` where `target` is. Others who make the same may do so at this moment: the last one stays."""
    parent = os.open(target.parent, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # NFS has no such lock, hence the tries
            fcntl.flock(parent, fcntl.LOCK_EX)
        for left in reversed(range(TRIES)):
            with contextlib.suppress(FileNotFoundError):
                os.replace(target, replaced)
            try:
                os.replace(partial, target)
                break
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not left:
                    raise
                shutil.rmtree(replaced, ignore_errors=True)
    finally:
        os.close(parent)


@cache
def _mark() -> str:
    """Stands for this machine in the names of unfinished folders: on a shared disk only its own processes are known."""
    return hashlib.sha256(machine().encode()).hexdigest()[:8]


def _remove_leftovers(target: Path) -> None:
    for kind in ("partial", "replaced"):
        for folder in target.parent.glob(f".{target.name}.{kind}-{_mark()}-*"):
            process = folder.name.rpartition("-")[2]
            if process.isdigit() and not psutil.pid_exists(int(process)):
                shutil.rmtree(folder, ignore_errors=True)
