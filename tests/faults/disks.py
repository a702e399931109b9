"""Disks that are full or read-only, and file systems that can less."""

import errno
import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.pipeline import STAGES, NotPossibleError, Outcome, Pipeline

SIZE = 64 * 2**20


@contextmanager
def own_disk(folder: Path) -> Iterator[None]:
    """A small disk in memory over that folder.

    Raises:
        NotPossibleError: where this user may not mount one.
    """
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        raise NotPossibleError(f"no mount: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def full(pipeline: Pipeline, rng: random.Random, number: int) -> Outcome:
    """The disk fills up somewhere within what a stage writes, each stage in turn."""
    stage = list(STAGES)[number % len(STAGES)]
    with own_disk(pipeline.out):
        pipeline.before(stage)
        needed = sum(file.stat().st_size for name in STAGES[stage] for file in _files(pipeline.reference / name))
        state = os.statvfs(pipeline.out)
        filler = pipeline.out / "filler"
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, state.f_bavail * state.f_bsize - int(rng.uniform(0, 0.9) * needed))
        running = pipeline.start(stage)
        running.wait()
        half = pipeline.halves(stage)
        filler.unlink()
        return pipeline.judged(stage, half=half, unclear=running.code != 0 and not running.refused(), running=running)


def read_only(pipeline: Pipeline, rng: random.Random, number: int) -> Outcome:
    """The output folder cannot be written, each stage in turn."""
    stage = list(STAGES)[number % len(STAGES)]
    with own_disk(pipeline.out):
        pipeline.before(stage)
        subprocess.run(["mount", "-o", "remount,ro", str(pipeline.out)], check=True)
        running = pipeline.start(stage)
        running.wait()
        subprocess.run(["mount", "-o", "remount,rw", str(pipeline.out)], check=True)
        return pipeline.judged(stage, unclear=not running.refused(), running=running)


def no_hard_links(pipeline: Pipeline, rng: random.Random, number: int) -> Outcome:
    """os.link is refused, as by FAT and some network disks: nothing else happens."""

    def refuse() -> None:
        def link(*arguments: object, **keywords: object) -> None:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

        os.link = link

    stage = ("train_enhancer", "train", "evaluate")[number % 3]
    pipeline.before(stage)
    return pipeline.unchanged(stage, before=refuse)


def _files(output: Path) -> list[Path]:
    return [output] if output.is_file() else [file for file in output.rglob("*") if file.is_file()]
