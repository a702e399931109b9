"""HMDB-51 to data/raw/hmdb51/<class>/<name>.avi: hmdb51_org.rar (a RAR of one RAR a class) or an unpacked folder, and
the official splits (test_train_splits.rar, or its unpacked <class>_test_split{1,2,3}.txt)."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from darkaction.core.errors import UserError
from darkaction.data.importers.lists import SHOWN
from darkaction.data.importers.names import HMDB51, parse_hmdb51
from darkaction.data.importers.plan import Plan, assign, examples, nothing_found, place
from darkaction.data.importers.sources import Member

SPLIT_NAME = re.compile(r"(?P<label>\w+)_test_split(?P<number>[123])\.txt", re.IGNORECASE)
ROW = re.compile(r"(?P<name>\S.*?\.avi)\s+(?P<part>[012])", re.IGNORECASE)
PARTS = {"0": "none", "1": "train", "2": "test"}

PUBLISHED = {"run": 232, "sit": 142, "stand": 154, "turn": 240, "walk": 548, "wave": 104}
"""Clips of the paper's six classes in the full set."""


def plan_hmdb51(items: Sequence[Member], scratch: Path) -> Plan:
    """What becomes which file, from the members of all sources; arguments and errors as `plan_arid`."""
    lists = [item for item in items if SPLIT_NAME.fullmatch(item.path.name)]
    for item in items:
        if item.is_named() and item not in lists:
            lines = [line.strip() for line in item.read(scratch).splitlines() if line.strip()]
            raise UserError(
                f"{item}: not a list of HMDB-51: its first line is {''.join(lines[:1])[:SHOWN]!r}; valid are the "
                "official splits, files <class>_test_split1.txt (2, 3) of lines `name.avi 1` (1 train, 2 test, 0 none)"
            )
    clips: dict[str, Member] = {}
    for item in items:
        if item.is_clip() and _is_named(item):
            place(clips, f"{item.path.parent.name.lower()}/{item.path.name}", item)
    if not clips:
        raise nothing_found(items, HMDB51)
    listed: dict[str, dict[int, str]] = {}
    for item in lists:
        _read_split(item, listed, scratch)
    present = {path.rpartition(".")[0] for path in clips}
    taken = {id(item) for item in [*clips.values(), *lists]}
    return Plan(
        clips=dict(sorted(clips.items())),
        skipped=sorted(str(item) for item in items if id(item) not in taken),
        notes=_notes(present, listed),
        splits={clip: parts for clip, parts in listed.items() if clip in present},
    )


def _is_named(item: Member) -> bool:
    try:
        parse_hmdb51(item.path)
    except UserError:
        return False
    return True


def _read_split(item: Member, listed: dict[str, dict[int, str]], scratch: Path) -> None:
    """Adds what <class>_test_split<number>.txt says: lines `name.avi 1`, 1 for train, 2 for test, 0 for unused."""
    match = SPLIT_NAME.fullmatch(item.path.name)
    assert match is not None
    lines = item.read(scratch).splitlines()
    if item.is_named() and not any(line.strip() for line in lines):
        raise UserError(f"{item}: an empty list; expected lines of a name ending in .avi and 0, 1 or 2")
    for number, line in enumerate(lines, start=1):
        row = ROW.fullmatch(line.strip())
        if row is None and line.strip():
            raise UserError(f"{item}: line {number} is {line.strip()!r}; expected a name ending in .avi and 0, 1 or 2")
        if row is not None:
            clip = f"{match['label'].lower()}/{row['name'].rpartition('.')[0]}"
            assign(listed, clip, int(match["number"]), PARTS[row["part"]], origin=str(item))


def _notes(present: set[str], listed: Mapping[str, Mapping[int, str]]) -> list[str]:
    """Which clips of the full set are missing: by the official lists where they are given, else by the known counts."""
    if listed:
        missing = sorted(set(listed) - present)
        if not missing:
            return [f"official splits: all {len(listed)} clips are there"]
        return [f"listed but not there: {_written(_counts(missing))} ({examples(missing)})"]
    lacking = Counter(PUBLISHED) - _counts(present)
    return [f"missing of the full set: {_written(lacking)}"] if lacking else ["the paper's six classes are complete"]


def _counts(clips: Iterable[str]) -> Counter[str]:
    """Clips of each class."""
    return Counter(clip.partition("/")[0] for clip in clips)


def _written(counts: Counter[str]) -> str:
    return ", ".join(f"{label} {count}" for label, count in sorted(counts.items()))
