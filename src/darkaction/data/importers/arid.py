"""The forms in which ARID comes, to data/raw/arid/<Class>/<Class>_<scene>_<take>.<ext>.

- ARID 1.1 (UG2+ track 2.1): class folders, a list `VideoID,Video,ClassID`, and numbered validation clips with a list
  `VideoID,Video` that has no labels;
- ARID 1.0 and 1.5: class folders and official splits `ARID_split{1,2,3}_{train,test,other}.txt` of lines
  `id<TAB>label<TAB>path`, whose .avi names may be .mp4 files;
- any list that lists.py reads, with a mapping table `label<TAB>Class` or without; and class folders without a list.

The folders may lie at any depth. With lists, what no list names is left out. Lists that the person named choose alone:
those found beside the clips then only bring their official splits.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from darkaction.core.errors import UserError
from darkaction.data.importers.lists import Listed, Mapping, key_of, looks_like_list, read_list
from darkaction.data.importers.names import ARID, UNLABELLED, ClipName, parse_arid
from darkaction.data.importers.official import PARTS_FILE
from darkaction.data.importers.plan import Plan, assign, examples, nothing_found, place
from darkaction.data.importers.sources import Member

SPLIT_NAME = re.compile(r"ARID_split(?P<number>[123])_(?P<part>train|test|other)\.txt", re.IGNORECASE)

PARTS = {"train": "train", "test": "test", "other": "none"}

PUBLISHED = re.compile(rf"{SPLIT_NAME.pattern}|ARID1\.1_t1_(train|validation_gt)_pub\.csv", re.IGNORECASE)
"""Lists of a whole release, of which a person may have a part."""


@dataclass(frozen=True, kw_only=True)
class ClipList:
    """A list of clips."""

    item: Member
    rows: list[Listed]
    chooses: bool
    """Whether it says which clips are taken."""

    @property
    def labelled(self) -> bool:
        """Whether the names of its clips say of which class they are: either all do or none."""
        return self.rows[0].name is not None

    @property
    def published(self) -> bool:
        """Whether it lists a whole release."""
        return PUBLISHED.fullmatch(self.item.path.name) is not None


def plan_arid(items: Sequence[Member], scratch: Path) -> Plan:
    """What becomes which file, from the members of all sources.

    Args:
        items: all members.
        scratch: a file that may be overwritten while lists are read.

    Raises:
        UserError: for a list that is not understood as a whole, names a clip that is not there, or gives a clip another
            class than its mapping table or another line; when two members are the same clip; when there is no clip.
    """
    lists, mappings, others = _read_lists(items, scratch)
    for found in lists:
        _check_labels(found, mappings)
    choosing = [found for found in lists if found.chooses]
    wanted = {row.key for found in choosing if found.labelled for row in found.rows}
    numbered = {row.key for found in choosing if not found.labelled for row in found.rows}
    clips: dict[str, Member] = {}
    present: set[str] = set()
    for item in others:
        name = _clip_name(item)
        if name is not None and (not wanted or key_of(item.path, name) in wanted):
            place(clips, f"{item.path.parent.name.capitalize()}/{_canonical(name)}{item.path.suffix.lower()}", item)
            present.add(key_of(item.path, name))
        elif item.is_clip() and key_of(item.path, None) in numbered:
            place(clips, f"{UNLABELLED}/{item.path.name.lower()}", item)
            present.add(key_of(item.path, None))
    for found in choosing:
        _require_present(found, present)
    if not clips:
        raise _nothing_listed(choosing) if choosing else nothing_found(items, ARID)
    taken = {id(item) for item in clips.values()}
    return Plan(
        clips=dict(sorted(clips.items())),
        skipped=sorted(str(item) for item in others if id(item) not in taken),
        notes=_notes(lists, mappings, present),
        splits=_splits(lists, present),
    )


def _read_lists(items: Sequence[Member], scratch: Path) -> tuple[list[ClipList], list[Mapping], list[Member]]:
    """The lists of clips, the mapping tables, and all other members."""
    lists: list[ClipList] = []
    mappings: list[Mapping] = []
    others: list[Member] = []
    for item in items:
        text = item.read(scratch) if item.is_list() and item.path.name != PARTS_FILE else ""
        if not item.is_named() and not looks_like_list(text):
            others.append(item)
            continue
        found = read_list(text, origin=str(item))
        if isinstance(found, Mapping):
            mappings.append(found)
        else:
            lists.append(ClipList(item=item, rows=found, chooses=item.is_named()))
    named = {found.labelled for found in lists if found.chooses}
    return [replace(found, chooses=found.chooses or found.labelled not in named) for found in lists], mappings, others


def _check_labels(found: ClipList, mappings: Sequence[Mapping]) -> None:
    """Each label must stand for the class that the clip's name says: by one of the mapping tables that are there, or
    by the other lines."""
    rows = [(row, row.name.label) for row in found.rows if row.name is not None and row.label]
    for row, label in rows:
        if not row.label.isdecimal() and row.label.lower() != label:
            raise UserError(f"{found.item}: line {row.line}: {row.path} has label {row.label}, its name says {label}")
    numbers = [(row, label) for row, label in rows if row.label.isdecimal()]
    if mappings:
        fits = max(mappings, key=lambda mapping: sum(mapping.classes.get(row.label) == label for row, label in numbers))
        known = fits.classes
    else:
        known = {}
        for row, label in numbers:
            known.setdefault(row.label, label)
    for row, label in numbers:
        if known.get(row.label) != label:
            where = "in the mapping table" if mappings else "in the lines before"
            raise UserError(
                f"{found.item}: line {row.line}: {row.path} has label {row.label}, which is "
                f"{known.get(row.label, 'unknown')} {where}"
            )


def _require_present(found: ClipList, present: set[str]) -> None:
    """A person's own list must name clips that are there."""
    missing = [row for row in found.rows if row.key not in present]
    if missing and found.item.is_named() and not found.published:
        raise UserError(
            f"{found.item}: {len(missing)} of {len(found.rows)} lines name clips that are not in the folders and "
            f"archives given with it, the first is line {missing[0].line}: {missing[0].path}; give these clips too, or "
            "take the lines out"
        )


def _nothing_listed(lists: Sequence[ClipList]) -> UserError:
    named = ", ".join(f"{found.item} ({found.rows[0].path}, ...)" for found in lists)
    return UserError(f"none of the clips is there that the lists name: {named}; expected {ARID}")


def _clip_name(item: Member) -> ClipName | None:
    if not item.is_clip():
        return None
    try:
        return parse_arid(item.path)
    except UserError:
        return None


def _canonical(name: ClipName) -> str:
    return f"{name.label.capitalize()}_{name.scene}_{name.take}"


def _notes(lists: Sequence[ClipList], mappings: Sequence[Mapping], present: set[str]) -> list[str]:
    notes = [f"list {found.item}: {_counted(found, present)}" for found in lists]
    notes += [f"mapping table {mapping.origin}: {len(mapping.classes)} classes" for mapping in mappings]
    missing = {row.key for found in lists if found.chooses and found.labelled for row in found.rows} - present
    if missing:
        notes.append(f"listed but not there: {len(missing)} clips ({examples(sorted(missing))})")
    return notes


def _counted(found: ClipList, present: set[str]) -> str:
    if not found.chooses:
        return f"{len(found.rows)} clips, not used to choose: other lists were named"
    there = sum(row.key in present for row in found.rows)
    return f"{len(found.rows)} clips" + (f", {there} of them there" if there < len(found.rows) else "")


def _splits(lists: Sequence[ClipList], present: set[str]) -> dict[str, dict[int, str]]:
    splits: dict[str, dict[int, str]] = {}
    for found in lists:
        match = SPLIT_NAME.fullmatch(found.item.path.name)
        if match is None:
            continue
        for row in found.rows:
            if row.name is not None and row.key in present:
                clip = f"{row.name.label.capitalize()}/{_canonical(row.name)}"
                part = PARTS[match["part"].lower()]
                assign(splits, clip, int(match["number"]), part, origin=str(found.item))
    return splits
