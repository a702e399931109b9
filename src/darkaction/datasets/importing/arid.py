"""The forms in which ARID comes, to data/raw/arid/<Class>/<Class>_<scene>_<take>.<ext>.

- ARID 1.1 (UG2+ track 2.1): class folders, a list `VideoID,Video,ClassID`, and numbered validation clips with a list
  `VideoID,Video` that has no labels;
- ARID 1.0 and 1.5: class folders and official splits `ARID_split{1,2,3}_{train,test,other}.txt` of lines
  `id<TAB>label<TAB>path`, whose .avi names may be .mp4 files;
- any list of such lines with a mapping table `label<TAB>Class`; and class folders without a list.

The folders may lie at any depth. With lists, what no list names is left out.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from darkaction.datasets.arid import EXPECTED, UNLABELLED, ClipName, parse_name
from darkaction.datasets.importing.plan import Item, Plan, examples, nothing_found, place
from darkaction.errors import UserError

SPLIT_NAME = re.compile(r"ARID_split(?P<number>[123])_(?P<part>train|test|other)\.txt", re.IGNORECASE)

PARTS = {"train": "train", "test": "test", "other": "none"}

LABELLED_HEADER = "VideoID,Video,ClassID"
UNLABELLED_HEADER = "VideoID,Video"
ROW = re.compile(r"(?P<id>\d+)\t(?P<label>\d+)\t(?P<path>[^\t]+)")
MAPPING_ROW = re.compile(r"(?P<label>\d+)\t(?P<name>[A-Za-z]\w*)")


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One line of a list. `label` is the number of the class, empty where the list has none."""

    label: str
    path: PurePosixPath


@dataclass(frozen=True, kw_only=True)
class ClipList:
    """A list of clips."""

    origin: str
    rows: list[Listed]
    labelled: bool
    split: tuple[int, str] | None
    """Number and part (train | test | none) of the official split that it is."""


def plan_arid(items: Sequence[Item], scratch: Path) -> Plan:
    """What becomes which file, from the members of all sources.

    Args:
        items: all members.
        scratch: a file that may be overwritten while lists are read.

    Raises:
        UserError: for a list with a broken line or another class than its mapping table says; when two members are the
            same clip; when there is no clip.
    """
    lists, mappings, others = _read_lists(items, scratch)
    for found in lists:
        _check_labels(found, mappings)
    wanted = {_key(row.path) for found in lists if found.labelled for row in found.rows}
    numbered = {row.path.name.lower() for found in lists if not found.labelled for row in found.rows}
    clips: dict[str, Item] = {}
    for item in others:
        name = _clip_name(item)
        if name is not None and (not wanted or _key(item.path) in wanted):
            place(clips, f"{item.path.parent.name.capitalize()}/{_canonical(name)}{item.path.suffix.lower()}", item)
        elif item.is_clip() and item.path.name.lower() in numbered:
            place(clips, f"{UNLABELLED}/{item.path.name.lower()}", item)
    if not clips:
        raise nothing_found(items, EXPECTED)
    taken = {id(item) for item in clips.values()}
    present = {_key(PurePosixPath(path)) for path in clips}
    return Plan(
        clips=dict(sorted(clips.items())),
        skipped=sorted(str(item) for item in others if id(item) not in taken),
        notes=_notes(lists, wanted - present),
        splits=_splits(lists, present),
    )


def _read_lists(items: Sequence[Item], scratch: Path) -> tuple[list[ClipList], list[dict[str, str]], list[Item]]:
    """The lists of clips, the mapping tables, and all other members."""
    lists: list[ClipList] = []
    mappings: list[dict[str, str]] = []
    others: list[Item] = []
    for item in items:
        lines = item.read(scratch).splitlines() if item.is_list() else []
        first = lines[0].strip() if lines else ""
        if first in (LABELLED_HEADER, UNLABELLED_HEADER):
            lists.append(_read_csv(item, lines[1:], labelled=first == LABELLED_HEADER))
        elif ROW.fullmatch(first):
            rows = _listed(item, lines, ROW)
            lists.append(ClipList(origin=str(item), rows=rows, labelled=True, split=_split_of(item)))
        elif MAPPING_ROW.fullmatch(first):
            mappings.append({match["label"]: match["name"].lower() for match in _rows(item, lines, MAPPING_ROW)})
        else:
            others.append(item)
    return lists, mappings, others


def _read_csv(item: Item, lines: Sequence[str], *, labelled: bool) -> ClipList:
    pattern = re.compile(r"\d+,(?P<path>[^,]+),(?P<label>\d+)" if labelled else r"\d+,(?P<path>[^,]+)(?P<label>)")
    return ClipList(origin=str(item), rows=_listed(item, lines, pattern), labelled=labelled, split=None)


def _listed(item: Item, lines: Sequence[str], pattern: re.Pattern[str]) -> list[Listed]:
    return [Listed(label=row["label"], path=PurePosixPath(row["path"])) for row in _rows(item, lines, pattern)]


def _rows(item: Item, lines: Sequence[str], pattern: re.Pattern[str]) -> list[re.Match[str]]:
    matches = []
    for number, line in enumerate(lines, start=1):
        match = pattern.fullmatch(line.strip())
        if match is not None:
            matches.append(match)
        elif line.strip():
            raise UserError(f"{item}: line {number} is {line.strip()!r}, unlike the first lines of the list")
    return matches


def _split_of(item: Item) -> tuple[int, str] | None:
    match = SPLIT_NAME.fullmatch(item.path.name)
    return (int(match["number"]), PARTS[match["part"].lower()]) if match else None


def _check_labels(found: ClipList, mappings: Sequence[Mapping[str, str]]) -> None:
    """Each number must stand for the class of its clips' folder: by one of the mapping tables that are there."""
    if not found.labelled:
        return
    for row in found.rows:
        if not row.path.parent.name:
            raise UserError(f"{found.origin}: {row.path}: names no class folder; expected {EXPECTED}")
    if not mappings:
        return
    fits = max(mappings, key=lambda mapping: sum(mapping.get(row.label) == _label(row) for row in found.rows))
    for row in found.rows:
        if fits.get(row.label) != _label(row):
            raise UserError(
                f"{found.origin}: {row.path} has label {row.label}, which is {fits.get(row.label, 'unknown')} in the "
                "mapping table"
            )


def _label(row: Listed) -> str:
    return row.path.parent.name.lower()


def _key(path: PurePosixPath) -> str:
    """Class folder and name without ending, which lists and files agree on whatever the case and the ending."""
    return f"{path.parent.name}/{path.stem}".lower()


def _clip_name(item: Item) -> ClipName | None:
    if not item.is_clip():
        return None
    try:
        return parse_name(Path(item.path))
    except UserError:
        return None


def _canonical(name: ClipName) -> str:
    return f"{name.label.capitalize()}_{name.scene}_{name.take}"


def _notes(lists: Sequence[ClipList], missing: set[str]) -> list[str]:
    notes = [f"list {found.origin}: {len(found.rows)} clips" for found in lists]
    if missing:
        notes.append(f"listed but not there: {len(missing)} clips ({examples(sorted(missing))})")
    return notes


def _splits(lists: Sequence[ClipList], present: set[str]) -> dict[str, dict[int, str]]:
    splits: dict[str, dict[int, str]] = {}
    for found in lists:
        if found.split is None:
            continue
        number, part = found.split
        for row in found.rows:
            if _key(row.path) in present:
                splits.setdefault(str(row.path.with_suffix("")), {})[number] = part
    return splits
