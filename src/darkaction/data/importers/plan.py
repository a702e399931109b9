"""What an import is going to do: which member of which source becomes which file."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from darkaction.core.errors import UserError
from darkaction.data.importers.official import PARTS_FILE, official_table
from darkaction.data.importers.sources import Member

SHOWN = 5
"""How many names of many are printed."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Files to make, under data/raw/<dataset>."""

    clips: dict[str, Member]
    """Relative path of each clip to make -> where it comes from, sorted."""
    skipped: list[str]
    """Members that are not taken."""
    notes: list[str] = field(default_factory=list)
    """What a person should know, a line each."""
    splits: dict[str, dict[int, str]] = field(default_factory=dict)
    """Clip name without ending (Walk/Walk_3_12) -> official split 1, 2, 3 -> train | test | none."""

    @property
    def size(self) -> int:
        """Bytes to write."""
        return sum(item.size for item in self.clips.values())

    def per_class(self) -> dict[str, int]:
        """Number of clips in each folder, by lower-case name."""
        return dict(sorted(Counter(PurePosixPath(path).parent.name.lower() for path in self.clips).items()))

    def describe(self) -> list[str]:
        """What it takes and what it leaves, a line each."""
        lines = [f"  {label:<12} {count:5d}" for label, count in self.per_class().items()] + self.notes
        if self.splits:
            lines.append(f"official splits: {len(self.splits)} clips")
        if self.skipped:
            why = "left out, not clips of the dataset or not in its lists"
            lines.append(f"{why}: {len(self.skipped)} ({examples(self.skipped)})")
        return lines

    def extra_files(self) -> dict[str, str]:
        """Relative path -> text of what stands beside the clips."""
        return {PARTS_FILE: official_table(self.splits)} if self.splits else {}


def place(clips: dict[str, Member], target: str, item: Member) -> None:
    """Adds a clip; a UserError when another one has that place already."""
    if target in clips:
        raise UserError(f"{item}: {clips[target]} is the same clip ({target}); give one of them")
    clips[target] = item


def assign(splits: dict[str, dict[int, str]], clip: str, number: int, part: str, *, origin: str) -> None:
    """Notes the part of a clip in an official split; a UserError when a list gave it another one."""
    known = splits.setdefault(clip, {}).setdefault(number, part)
    if known != part:
        raise UserError(f"{origin}: puts {clip} into {part} of split {number}, where another list has it in {known}")


def examples(names: Iterable[str]) -> str:
    """The first few names of many."""
    listed = list(names)
    return ", ".join([*listed[:SHOWN], *(["..."] if len(listed) > SHOWN else [])])


def nothing_found(items: Sequence[Member], expected: str) -> UserError:
    """Says what was looked for, and what is there instead."""
    where = ", ".join(dict.fromkeys(str(item.source.path) for item in items))
    there = examples(item.name for item in items)
    return UserError(f"{where}: no clips in it; expected {expected}; there is {there}")
