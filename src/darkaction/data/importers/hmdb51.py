"""HMDB-51's names: <source>_<class>_<visible>_<camera>_<people>_<view>_<quality>_<n>.avi in a folder of the class.

The source is the film a clip was cut from; clips of one film are the group that must not be split, as a scene is in
ARID.
"""

import re
from pathlib import Path

from darkaction.core.errors import UserError
from darkaction.data.importers.arid import ClipName

EXPECTED = "<class>/<source>_<class>_<visible>_<camera>_<people>_<view>_<quality>_<n>.avi"

TRAITS = r"[a-z]+_(nm|cm)_np\d+_[a-z]+_[a-z]+_(?P<n>\d+)"
"""Visible body parts, camera motion, number of people, view, quality, number."""


def parse_name(path: Path) -> ClipName:
    """Class, source film (as `scene`) and number (as `take`) of a clip in the folder of its class.

    The traits stand at the end and the class before them, so that a class name inside the source does not confuse.

    Raises:
        UserError: when the name has another form or its class is not its folder's.
    """
    label = path.parent.name
    match = re.fullmatch(rf"(?P<source>.+)_{re.escape(label)}_{TRAITS}", path.stem, re.IGNORECASE)
    if match is None:
        raise UserError(f"{path.name}: not named {EXPECTED} in the folder '{label}'")
    return ClipName(label=label.lower(), scene=match["source"], take=int(match["n"]))
