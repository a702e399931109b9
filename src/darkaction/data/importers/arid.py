"""ARID's layout, which is that of data/raw: <Class>/<Class>_<scene>_<take>.<ext>.

Clips of one scene number are near duplicates of each other and, across classes, may show the same room.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from darkaction.core.errors import UserError

NAME = re.compile(r"(?P<label>[A-Za-z][A-Za-z0-9_]*?)_(?P<scene>[0-9]+)_(?P<take>[0-9]+)")
EXPECTED = "<Class>/<Class>_<scene>_<take>.mp4, for example Walk/Walk_3_12.mp4"

UNLABELLED = "_unlabelled"
"""Folder in data/raw/<dataset> of clips whose class is not known. No class name begins with an underscore."""


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
    """The folders of classes in `root`, sorted by name: all but hidden ones and that of unlabelled clips."""
    return [path for path in list_files(root) if path.is_dir() and path.name != UNLABELLED]


def list_files(folder: Path) -> list[Path]:
    """Everything in a folder that is not hidden, sorted by name: folders and broken files too, since what is not a
    clip is to be reported, not overlooked.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror})") from None


def holds_files(path: Path) -> bool:
    """Whether a path is a folder with something in it. A link to a folder is not followed."""
    return path.is_dir() and not path.is_symlink() and bool(list_files(path))


def files_below(folder: Path) -> Iterator[Path]:
    """All that `list_files` gives, and that of the folders in it in place of those that hold something."""
    for path in list_files(folder):
        if holds_files(path):
            yield from files_below(path)
        else:
            yield path
