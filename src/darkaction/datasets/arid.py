"""ARID's layout: <Class>/<Class>_<scene>_<take>.<ext>, and how a folder laid out so becomes data/raw/arid.

Clips of one scene number are near duplicates of each other and, across classes, may show the same room.
"""

import filecmp
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from darkaction.errors import UserError
from darkaction.folders import new_folder
from darkaction.video import CONTAINERS

NAME = re.compile(r"(?P<label>[A-Za-z][A-Za-z0-9_]*?)_(?P<scene>[0-9]+)_(?P<take>[0-9]+)")
EXPECTED = "<Class>/<Class>_<scene>_<take>.mp4, for example Walk/Walk_3_12.mp4"


@dataclass(frozen=True, kw_only=True)
class ClipName:
    """What a file's name says. `label` is the canonical lower-case class, `scene` the number without leading zeros."""

    label: str
    scene: str
    take: int


def parse_name(path: Path) -> ClipName:
    """Class, scene and take of `<Class>/<Class>_<scene>_<take>.<ext>`; case does not matter.

    Raises:
        UserError: when the name has another form or its class is not its folder's.
    """
    match = NAME.fullmatch(path.stem)
    if match is None:
        raise UserError(f"{path.name}: not named <Class>_<scene>_<take>, for example Walk_3_12.mp4")
    if match["label"].lower() != path.parent.name.lower():
        raise UserError(f"{path.name}: the name says class '{match['label']}', the folder '{path.parent.name}'")
    return ClipName(label=match["label"].lower(), scene=str(int(match["scene"])), take=int(match["take"]))


def class_folders(root: Path) -> list[Path]:
    """The folders in `root` that are not hidden, sorted by name."""
    return [path for path in list_files(root) if path.is_dir()]


def list_files(folder: Path) -> list[Path]:
    """Everything in a folder that is not hidden, sorted by name: folders and broken files too, since what is not a
    clip is to be reported, not overlooked.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror})") from None


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What an import takes from a folder. Paths are relative to it, sorted."""

    clips: list[Path]
    skipped: list[Path]
    """Files in class folders that are not videos named like ARID's."""

    def per_class(self) -> dict[str, int]:
        """Number of clips by canonical class name."""
        counts: dict[str, int] = {}
        for clip in self.clips:
            label = parse_name(clip).label
            counts[label] = counts.get(label, 0) + 1
        return counts


def list_source(source: Path) -> Listing:
    """The clips of a folder of class folders.

    Raises:
        UserError: when `source` is missing or a file, holds no clips (says what is expected), or holds links or two
            names that differ only in case.
    """
    if not source.exists():
        raise UserError(f"{source}: no such folder")
    if not source.is_dir():
        raise UserError(f"{source}: a file; unpack archives first and give the folder that holds {EXPECTED}")
    clips: list[Path] = []
    skipped: list[Path] = []
    for folder in class_folders(source):
        for path in list_files(folder):
            if folder.is_symlink() or path.is_symlink():
                raise UserError(f"{path}: links are not imported; give a folder of plain files")
            (clips if _is_clip(path) else skipped).append(path.relative_to(source))
    if not clips:
        raise UserError(f"{source}: no class folders with videos in it; expected {EXPECTED}{_hint(source)}")
    _refuse_case_clashes(source, clips)
    return Listing(clips=sorted(clips), skipped=sorted(skipped))


def _is_clip(path: Path) -> bool:
    return path.suffix.lower() in CONTAINERS and path.is_file() and _named(path)


def _named(path: Path) -> bool:
    try:
        parse_name(path)
    except UserError:
        return False
    return True


def _hint(source: Path) -> str:
    """Names the folder one level down that holds class folders, the usual slip."""
    for inner in class_folders(source):
        if any(_is_clip(path) for folder in class_folders(inner) for path in list_files(folder)):
            return f". Did you mean {inner}?"
    return ""


def _refuse_case_clashes(source: Path, clips: Iterable[Path]) -> None:
    seen: dict[str, Path] = {}
    for clip in clips:
        first = seen.setdefault(str(clip).lower(), clip)
        if first != clip:
            raise UserError(f"{source}: {first} and {clip} differ only in case; rename one of them")


def import_folder(source: Path, target: Path, *, force: bool) -> tuple[Listing, bool]:
    """Copies the clips of `source` to `target`, which appears whole or not at all.

    Returns:
        The listing, and whether anything was copied (False when `target` holds the same clips already).

    Raises:
        UserError: as `list_source`; when `target` holds something else and `force` is not given; when `source` and
            `target` lie in each other; when the disk lacks room.
    """
    listing = list_source(source)
    _refuse_overlap(source.resolve(), target.resolve())
    if target.exists() and _same_clips(source, target, listing.clips):
        return listing, False
    if target.exists() and not force:
        raise UserError(f"{target}: holds other files; --force replaces them")
    size = sum((source / clip).stat().st_size for clip in listing.clips)
    target.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target.parent).free
    if size > free:
        raise UserError(f"{target}: needs {size / 1e6:.0f} MB, the disk has {free / 1e6:.0f} MB left")
    with (
        new_folder(target) as partial,
        tqdm(total=size, desc=f"copy {len(listing.clips)} clips", unit="B", unit_scale=True) as bar,
    ):
        for clip in listing.clips:
            (partial / clip).parent.mkdir(exist_ok=True)
            try:
                shutil.copyfile(source / clip, partial / clip, follow_symlinks=False)
            except OSError as error:
                raise UserError(f"{source / clip}: cannot be copied ({error.strerror})") from None
            bar.update((partial / clip).stat().st_size)
    return listing, True


def _refuse_overlap(source: Path, target: Path) -> None:
    if source == target or source in target.parents or target in source.parents:
        raise UserError(f"{source}: lies in or around {target}, where the import goes; give another folder")


def _same_clips(source: Path, target: Path, clips: list[Path]) -> bool:
    """Whether `target` holds these files and no others, byte by byte."""
    present = sorted(Path(folder, name).relative_to(target) for folder, _, names in os.walk(target) for name in names)
    if present != clips:
        return False
    return all(filecmp.cmp(source / clip, target / clip, shallow=False) for clip in clips)
