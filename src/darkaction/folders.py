"""Folders that appear whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil


@contextmanager
def new_folder(target: Path, *, keep: bool = True) -> Iterator[Path]:
    """Gives an empty folder beside `target` to fill; when the block ends without an error it takes `target`'s place,
    otherwise it is removed and `target` stays as it was. What an earlier process left when it was killed is removed.

    Args:
        keep: false in all but one of several processes that make the same: theirs is removed in any case.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(target)
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    replaced = target.with_name(f".{target.name}.replaced-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        if keep:
            if target.exists():
                os.replace(target, replaced)
            os.replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def _remove_leftovers(target: Path) -> None:
    for kind in ("partial", "replaced"):
        for folder in target.parent.glob(f".{target.name}.{kind}-*"):
            process = folder.name.rpartition("-")[2]
            if process.isdigit() and not psutil.pid_exists(int(process)):
                shutil.rmtree(folder, ignore_errors=True)
