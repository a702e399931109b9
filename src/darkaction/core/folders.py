"""Folders and files that appear whole or not at all."""

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import socket
import sys
import threading
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path

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
    own = f"{_mark()}-{uuid.uuid4().hex[:8]}"
    partial = target.with_name(f".{target.name}.partial-{own}")
    replaced = target.with_name(f".{target.name}.replaced-{own}")
    handle = _make_locked(partial, fcntl.LOCK_SH)
    try:
        yield partial
        if keep:
            sync_files(partial)
            _take_place(partial, target, replaced)
    finally:
        if handle is not None:
            os.close(handle)
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


@contextlib.contextmanager
def kept_folder(target: Path, fingerprint: str) -> Iterator[Path]:
    """As `new_folder`, but what was made when the block did not come to its end stays for the next one: the folder may
    have content then. Hidden files are of those who were interrupted, and are removed.

    Args:
        fingerprint: of all that decides the content. What was left with another one is removed, which a line says.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    own = target.with_name(f".{target.name}.unfinished-{fingerprint}")
    _remove_others(own, target)
    handle = _make_locked(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if handle is None:  # another process makes the same at this moment
        with new_folder(target) as folder:
            yield folder
        return
    try:
        _remove_hidden(own)
        yield own
        _remove_hidden(own)
        sync_files(own)
        replaced = target.with_name(f".{target.name}.replaced-{_mark()}-{uuid.uuid4().hex[:8]}")
        _take_place(own, target, replaced)
        shutil.rmtree(replaced, ignore_errors=True)
    finally:
        os.close(handle)
        _remove_hidden(own)
        with contextlib.suppress(OSError):
            own.rmdir()  # where nothing is worth to be kept


def _remove_hidden(folder: Path) -> None:
    for path in folder.rglob(".*"):
        path.unlink(missing_ok=True)


def _remove_others(own: Path, target: Path) -> None:
    """Removes unfinished folders with other fingerprints that no process works in, and those of `new_folder`."""
    _remove_leftovers(target)
    with _locked(target.parent):
        for folder in set(target.parent.glob(f".{target.name}.unfinished-*")) - {own}:
            with _locked(folder, wait=False) as ended:
                if ended:
                    print(f"{folder}: unfinished, with other settings, data or code: removed", file=sys.stderr)
                    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def new_files(folder: Path) -> Iterator[Path]:
    """Gives an empty folder to fill; when the block ends without an error its files take their places in `folder`, each
    whole. Other files there stay."""
    with new_folder(folder / "new", keep=False) as made:
        yield made
        sync_files(made)
        for path in sorted(made.iterdir()):
            os.replace(path, folder / path.name)
        sync_folder(folder)


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
    with _locked(target.parent):  # NFS has no such lock, hence the tries
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
    sync_folder(target.parent)


@cache
def _mark() -> str:
    """Stands for this machine in the names of unfinished folders: on a shared disk, locks of others may not be seen."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _make_locked(folder: Path, kind: int) -> int | None:
    """Makes a folder and locks it for as long as the returned handle is open. The system closes it when the process
    ends, however that ends. None where another process has it, if the kind of lock does not wait."""
    while True:
        with contextlib.suppress(FileNotFoundError):  # before it was locked, another process took it for a leftover
            folder.mkdir(exist_ok=True)
            handle = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(handle, kind)
            except BlockingIOError:
                os.close(handle)
                return None
            except OSError:
                pass  # not every file system has locks
            if folder.exists():
                return handle
            os.close(handle)


@contextlib.contextmanager
def _locked(folder: Path, *, wait: bool = True) -> Iterator[bool]:
    """Locks a folder for this process alone; whether that is so."""
    handle = os.open(folder, os.O_RDONLY)
    mine = False
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            mine = True
        yield mine
    finally:
        os.close(handle)


def _remove_leftovers(target: Path) -> None:
    """Removes unfinished folders that no process holds any more. Where one was killed between its two renamings, the
    old folder goes back to its place."""
    with _locked(target.parent):
        for kind in ("replaced", "partial"):
            for folder in target.parent.glob(f".{target.name}.{kind}-{_mark()}-*"):
                with contextlib.suppress(FileNotFoundError), _locked(folder, wait=False) as ended:
                    if ended and kind == "replaced" and not target.exists():
                        os.replace(folder, target)
                    elif ended:
                        shutil.rmtree(folder, ignore_errors=True)


def sync_files(folder: Path) -> None:
    """What was written in a folder lasts through a power cut then."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            sync_folder(path)
        elif path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
