"""An import: checked before it writes, resumable, and in place only when it is whole."""

import dataclasses
import filecmp
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from darkaction.core.errors import UserError
from darkaction.data.importers.archives import Source
from darkaction.data.importers.import_arid import plan_arid
from darkaction.data.importers.import_hmdb51 import plan_hmdb51
from darkaction.data.importers.plan import Item, Plan
from darkaction.data.importers.sources import open_source

PLANNERS: dict[str, Callable[[Sequence[Item], Path], Plan]] = {"arid": plan_arid, "hmdb51": plan_hmdb51}
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

    What a stopped import has written stays in .<target>.importing beside it; the same import again goes on there.

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
    items = [Item(source=source, member=member) for source in map(open_source, paths) for member in source.members()]
    if not items:
        raise UserError(f"{', '.join(map(str, paths))}: no files in it")
    archives = [item for item in items if item.is_archive()]
    inner = sum(item.member.size for item in archives)
    outer = sum(item.member.size for item in items if item.is_clip())
    stated = outer + inner * (1 + INNER_GROWTH) + MARGIN
    _state_room(target, stated)
    partial = PartialImport(target.with_name(f".{target.name}.importing"), items)
    try:
        items = [item for item in items if not item.is_archive()] + partial.unpack_inner(archives)
        plan = PLANNERS[dataset](items, partial.scratch)
        if inner + plan.size > stated:
            raise UserError(
                f"{paths[0]}: the archives in it unpack to {plan.size:,} bytes, more than {INNER_GROWTH} times their "
                "size: refused; unpack them yourself and import the folder"
            )
        if dry_run:
            return Import(plan=plan, changed=False)
        if target.exists():
            if _holds(target, plan, partial.scratch):
                partial.remove()
                return Import(plan=plan, changed=False)
            if not force:
                raise UserError(f"{target}: holds other files; --force replaces them")
        partial.copy(plan)
        partial.finish(plan, target)
    finally:
        if dry_run:
            partial.remove()
        partial.remove_if_empty()
    return Import(plan=plan, changed=True)


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

    def __init__(self, folder: Path, items: Sequence[Item]) -> None:
        self.folder = folder
        self.scratch = folder / "list.tmp"
        self._files, self._inner, self._stamp = folder / "files", folder / "inner", folder / "sources.json"
        stamp = _fingerprint(items)
        if folder.exists() and not (self._stamp.exists() and self._stamp.read_text() == stamp):
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._stamp.write_text(stamp)

    def unpack_inner(self, archives: Sequence[Item]) -> list[Item]:
        """Unpacks archives that lie within archives or folders; their members."""
        places = {id(item): self._inner / f"{number}-{item.path.name}" for number, item in enumerate(archives)}
        self._copy("unpack archives", {item: places[id(item)] for item in archives})
        return [
            Item(source=inner, member=member)
            for item in archives
            for inner in [open_source(places[id(item)])]
            for member in inner.members()
        ]

    def copy(self, plan: Plan) -> None:
        """Copies the clips of a plan that are not there yet."""
        self._copy("import", {item: self._files / path for path, item in plan.clips.items()})

    def _copy(self, what: str, places: dict[Item, Path]) -> None:
        missing = {item: path for item, path in places.items() if not _is_whole(path, item.member.size)}
        total = sum(item.member.size for item in places)
        done = total - sum(item.member.size for item in missing)
        if not missing:
            return
        with tqdm(total=total, initial=done, desc=what, unit="B", unit_scale=True) as bar:
            for source, targets in _by_source(missing):
                source.copy(targets, bar.update)
        missing_still = [str(item) for item, path in missing.items() if not _is_whole(path, item.member.size)]
        if missing_still:
            raise UserError(f"{missing_still[0]}: was not unpacked ({len(missing_still)} of {len(places)} files)")

    def finish(self, plan: Plan, target: Path) -> None:
        """Adds what stands beside the clips, removes what the plan does not name, and puts all in `target`'s place."""
        for name, text in plan.extra_files().items():
            (self._files / name).write_text(text)
        named = {self._files / path for path in [*plan.clips, *plan.extra_files()]}
        for path in [path for path in self._files.rglob("*") if path.is_file() and path not in named]:
            path.unlink()
        replaced = self.folder / "replaced"
        if target.exists():
            os.replace(target, replaced)
        os.replace(self._files, target)
        self.remove()

    def remove(self) -> None:
        """Removes the folder and all in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def remove_if_empty(self) -> None:
        """Removes the folder when nothing was written there that an import could go on from."""
        if self.folder.exists() and not self._files.exists() and not self._inner.exists():
            self.remove()


def _by_source(places: dict[Item, Path]) -> list[tuple[Source, dict[str, Path]]]:
    """Each source with the members to copy from it."""
    grouped: dict[int, tuple[Source, dict[str, Path]]] = {}
    for item, path in places.items():
        grouped.setdefault(id(item.source), (item.source, {}))[1][item.member.name] = path
    return list(grouped.values())


def _is_whole(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _fingerprint(items: Sequence[Item]) -> str:
    """Identifies the sources by names, sizes and times."""
    digest = hashlib.sha256()
    for item in items:
        path = item.source.path.resolve()
        file = path / item.member.name if path.is_dir() else path
        status = file.stat()
        digest.update(json.dumps([str(path), dataclasses.asdict(item.member), status.st_mtime_ns]).encode())
    return digest.hexdigest()


def _state_room(target: Path, needed: int) -> None:
    """Says how much disk the import may take, and refuses when there is less."""
    parent = target.parent
    while not parent.exists():
        parent = parent.parent
    free = shutil.disk_usage(parent).free
    print(f"needs at most {needed / 1e6:,.0f} MB of disk, {free / 1e6:,.0f} MB are free")
    if needed > free:
        raise UserError(f"{target}: needs {needed / 1e6:,.0f} MB, the disk has {free / 1e6:,.0f} MB left")


def _refuse_overlap(source: Path, target: Path) -> None:
    if source == target or source in target.parents or target in source.parents:
        raise UserError(f"{source}: lies in or around {target}, where the import goes; give another folder")


def _holds(target: Path, plan: Plan, scratch: Path) -> bool:
    """Whether `target` holds these files and no others, byte by byte; archives are unpacked a clip at a time."""
    present = sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())
    if present != sorted([*plan.clips, *plan.extra_files()]):
        return False
    if any((target / name).read_text() != text for name, text in plan.extra_files().items()):
        return False
    if any((target / path).stat().st_size != item.member.size for path, item in plan.clips.items()):
        return False
    if all(item.source.path.is_dir() for item in plan.clips.values()):
        pairs = [(item.source.path / item.member.name, target / path) for path, item in plan.clips.items()]
        return all(filecmp.cmp(first, second, shallow=False) for first, second in pairs)
    return _same_content(target, plan, scratch)


def _same_content(target: Path, plan: Plan, scratch: Path) -> bool:
    """As `_holds`, through copies in a scratch folder, source by source."""
    folder = scratch.with_name("compare")
    try:
        for source, members in _by_source({item: Path(path) for path, item in plan.clips.items()}):
            source.copy({name: folder / path for name, path in members.items()}, lambda _: None)
            if not all(filecmp.cmp(folder / path, target / path, shallow=False) for path in members.values()):
                return False
            shutil.rmtree(folder)
        return True
    finally:
        shutil.rmtree(folder, ignore_errors=True)
