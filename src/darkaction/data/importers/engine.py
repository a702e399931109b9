"""An import: checked before it writes, resumable, and in place only when it is whole."""

import contextlib
import filecmp
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from darkaction.core.errors import UserError
from darkaction.core.folders import sync_files, sync_folder, write_whole
from darkaction.core.locks import only_one
from darkaction.data.importers.archives import open_source
from darkaction.data.importers.arid import plan_arid
from darkaction.data.importers.hmdb51 import plan_hmdb51
from darkaction.data.importers.plan import Plan
from darkaction.data.importers.sources import Member, UnreadError

PLANNERS: dict[str, Callable[[Sequence[Member], Path], Plan]] = {"arid": plan_arid, "hmdb51": plan_hmdb51}
"""What knows a dataset's forms."""

INNER_GROWTH = 2
"""Most that archives within an archive may grow by when unpacked; video hardly does. Their contents are not known
before they are unpacked, and the room they need is stated before that."""

MARGIN = 1_000_000
"""Bytes for what is not clips."""


@dataclass(frozen=True, kw_only=True)
class Import:
    """What an import did or would do."""

    plan: Plan
    changed: bool
    """False when the target holds the same files already."""


def import_dataset(
    dataset: str, paths: Sequence[Path], target: Path, *, force: bool = False, dry_run: bool = False
) -> Import:
    """Imports `paths` into `target`.

    What a stopped import has written stays in .<target>.importing beside it; the same import again goes on there. Of
    sources that are refused or damaged nothing stays.

    Args:
        dataset: a key of PLANNERS.
        paths: folders, archives, archives of archives, and lists.
        target: data/raw/<dataset>, which appears whole or not at all.
        force: replace what `target` holds.
        dry_run: write nothing but the archives inside an archive, which must be unpacked to be read, and remove them.

    Raises:
        UserError: for whatever sources or plan refuse; when `target` holds something else and `force` is not given;
            when sources and target lie in each other; when the disk lacks room.
    """
    for path in paths:
        _refuse_overlap(path.resolve(), target.resolve())
    items = [member for path in paths for member in open_source(path).members()]
    if not items:
        raise UserError(f"{', '.join(map(str, paths))}: no files in it")
    archives = [item for item in items if item.is_archive()]
    inner = sum(item.size for item in archives)
    stated = sum(item.size for item in items if item.is_clip()) + inner * (1 + INNER_GROWTH) + MARGIN
    _state_room(target, stated)
    with _place(target, items, dataset, dry_run=dry_run) as partial:
        items = [item for item in items if not item.is_archive()] + partial.unpack_inner(archives)
        plan = PLANNERS[dataset](items, partial.scratch)
        if inner + plan.size > stated:
            raise UserError(
                f"{paths[0]}: the archives in it unpack to {plan.size:,} bytes, more than {INNER_GROWTH} times their "
                "size: refused; unpack them yourself and import the folder"
            )
        changed = not dry_run and partial.bring(plan, target, force=force)
    return Import(plan=plan, changed=changed)


@contextlib.contextmanager
def _place(target: Path, items: Sequence[Member], dataset: str, *, dry_run: bool) -> Iterator["PartialImport"]:
    """The folder of an import, which stays only where the same import may go on there."""
    folder = target.with_name(f".{target.name}.importing")
    with only_one(folder.with_name(f"{folder.name}.lock"), task=f"an import of {dataset}"):
        partial = PartialImport(folder, items)
        try:
            yield partial
        except UserError as error:
            if not isinstance(error, UnreadError):  # the same sources are refused again
                partial.remove()
            raise
        finally:
            if dry_run or partial.is_empty():
                partial.remove()
            else:
                print(f"{folder}: holds what was copied so far; the same import goes on there", file=sys.stderr)


def track(root: Path, relative: str) -> None:
    """Puts a folder of the project under DVC: git sees <relative>.dvc.

    Raises:
        UserError: with what DVC says.
    """
    command = [sys.executable, "-m", "dvc", "add", "--quiet", relative]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if result.returncode:
        raise UserError(
            f"{root / relative}: the clips are in place, but 'dvc add {relative}' failed: {result.stderr.strip()}"
        )


class PartialImport:
    """The folder in which an import grows. Files in it are whole; what the same sources left there is used again."""

    def __init__(self, folder: Path, items: Sequence[Member]) -> None:
        self.folder = folder
        self.scratch = folder / "list.tmp"
        self._files, self._inner, stamp = folder / "files", folder / "inner", folder / "sources.json"
        fingerprint = _fingerprint(items)
        if folder.exists() and not (stamp.exists() and stamp.read_text() == fingerprint):
            print(f"{folder}: removed; it was of an import of other sources, or of ones that changed", file=sys.stderr)
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(stamp, fingerprint)

    def unpack_inner(self, archives: Sequence[Member]) -> list[Member]:
        """Unpacks archives that lie within archives or folders; their members."""
        places = {item: self._inner / f"{number}-{item.path.name}" for number, item in enumerate(archives)}
        _copy("unpack archives", places)
        return [member for path in places.values() for member in open_source(path).members()]

    def bring(self, plan: Plan, target: Path, *, force: bool) -> bool:
        """Copies the files of a plan that are not there yet, and puts all in `target`'s place; whether it held others.

        Raises:
            UserError: when `target` holds others and `force` is not given: before they are copied where names or sizes
                differ.
        """
        refused = UserError(f"{target}: holds other files; --force replaces them")
        if target.exists() and not force and not _is_like(target, plan):
            raise refused
        _copy("import", {item: self._files / path for path, item in plan.clips.items()})
        extra = plan.extra_files()
        for name, text in extra.items():
            (self._files / name).write_text(text)
        named = sorted([*plan.clips, *extra])
        for path in set(_files_below(self._files)) - set(named):
            (self._files / path).unlink()
        if target.exists():
            same, _, _ = filecmp.cmpfiles(self._files, target, named, shallow=False)
            is_same = _files_below(target) == named == same
            if is_same or not force:
                self.remove()
            if is_same:
                return False
            if not force:
                raise refused
            os.replace(target, self.folder / "replaced")
        sync_files(self._files)
        os.replace(self._files, target)
        sync_folder(target.parent)
        self.remove()
        return True

    def remove(self) -> None:
        """Removes the folder and all in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def is_empty(self) -> bool:
        """Whether nothing was written here that an import could go on from."""
        return not self._files.exists() and not self._inner.exists()


def _copy(what: str, places: Mapping[Member, Path]) -> None:
    """Copies members to their places, but for those that are there."""
    missing = {item: path for item, path in places.items() if not _is_whole(path, item.size)}
    total = sum(item.size for item in places)
    if not missing:
        return
    with tqdm(
        total=total, initial=total - sum(item.size for item in missing), desc=what, unit="B", unit_scale=True
    ) as bar:
        for source in dict.fromkeys(item.source for item in missing):
            source.copy({item.name: path for item, path in missing.items() if item.source is source}, bar.update)
    missing_still = [str(item) for item, path in missing.items() if not _is_whole(path, item.size)]
    if missing_still:
        raise UserError(f"{missing_still[0]}: was not unpacked ({len(missing_still)} of {len(places)} files)")


def _is_whole(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _is_like(target: Path, plan: Plan) -> bool:
    """Whether `target` holds files of a plan's names and sizes, and no others."""
    return _files_below(target) == sorted([*plan.clips, *plan.extra_files()]) and all(
        _is_whole(target / path, item.size) for path, item in plan.clips.items()
    )


def _files_below(folder: Path) -> list[str]:
    """Relative paths, sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _fingerprint(items: Sequence[Member]) -> str:
    """Identifies the sources by names, sizes and times."""
    digest = hashlib.sha256()
    for item in items:
        path = item.source.path.resolve()
        file = path / item.name if path.is_dir() else path
        digest.update(json.dumps([str(path), item.name, item.size, file.stat().st_mtime_ns]).encode())
    return digest.hexdigest()


def _state_room(target: Path, needed: int) -> None:
    """Says how much disk the import may take, and refuses when there is less."""
    free = shutil.disk_usage(next(folder for folder in target.absolute().parents if folder.exists())).free
    print(f"needs at most {needed / 1e6:,.0f} MB of disk, {free / 1e6:,.0f} MB are free")
    if needed > free:
        raise UserError(f"{target}: needs {needed / 1e6:,.0f} MB, the disk has {free / 1e6:,.0f} MB left")


def _refuse_overlap(source: Path, target: Path) -> None:
    if source == target or source in target.parents or target in source.parents:
        raise UserError(f"{source}: lies in or around {target}, where the import goes; give another folder")
