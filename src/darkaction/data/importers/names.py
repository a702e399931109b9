"""What the names of a dataset's clips say: class, scene and take.

- ARID, and all others: <Class>/<Class>_<scene>_<take>.<ext>, as in data/raw. Clips of one scene number are near
  duplicates of each other and, across classes, may show the same room.
- HMDB-51: <class>/<source>_<class>_<visible>_<camera>_<people>_<view>_<quality>_<n>.avi. The source is the film a clip
  was cut from; clips of one film are the group that must not be split, as a scene is in ARID.
"""

import re
from dataclasses import dataclass
from pathlib import PurePath

from darkaction.core.errors import UserError

ARID = "<Class>/<Class>_<scene>_<take>.mp4, for example Walk/Walk_3_12.mp4"
HMDB51 = "<class>/<source>_<class>_<visible>_<camera>_<people>_<view>_<quality>_<n>.avi"

HMDB51_TRAITS = r"[a-z]+_(nm|cm)_np\d+_[a-z]+_[a-z]+_(?P<n>\d+)"
"""Visible body parts, camera motion, number of people, view, quality, number."""

UNLABELLED = "_unlabelled"
"""Folder in data/raw/<dataset> of clips whose class is not known. No class name begins with an underscore."""


@dataclass(frozen=True, kw_only=True)
class ClipName:
    """What a file's name says. `label` is the canonical lower-case class, `scene` the number without leading zeros, in
    HMDB-51 the source film."""

    label: str
    scene: str
    take: int


def arid_name(path: PurePath) -> ClipName | None:
    """What a file's name says, whatever its folder and case; None where it is not named like a clip of ARID."""
    match = re.fullmatch(r"([A-Za-z][A-Za-z0-9_]*?)_([0-9]+)_([0-9]+)", path.stem)
    if match is None:
        return None
    label, scene, take = match.groups()
    return ClipName(label=label.lower(), scene=str(int(scene)), take=int(take))


def parse_arid(path: PurePath) -> ClipName:
    """Class, scene and take of a clip of ARID in the folder of its class; case does not matter.

    Raises:
        UserError: when the name has another form or its class is not its folder's.
    """
    name = arid_name(path)
    if name is None:
        raise UserError(f"{path.name}: not named <Class>_<scene>_<take>, for example Walk_3_12.mp4")
    if name.label != path.parent.name.lower():
        label = path.stem[: len(name.label)]
        raise UserError(f"{path.name}: the name says class '{label}', the folder '{path.parent.name}'")
    return name


def parse_hmdb51(path: PurePath) -> ClipName:
    """Class, source film and number of a clip of HMDB-51 in the folder of its class.

    The traits stand at the end and the class before them, so that a class name inside the source does not confuse.

    Raises:
        UserError: when the name has another form or its class is not its folder's.
    """
    label = path.parent.name
    match = re.fullmatch(rf"(?P<source>.+)_{re.escape(label)}_{HMDB51_TRAITS}", path.stem, re.IGNORECASE)
    if match is None:
        raise UserError(f"{path.name}: not named {HMDB51} in the folder '{label}'")
    return ClipName(label=label.lower(), scene=match["source"], take=int(match["n"]))
