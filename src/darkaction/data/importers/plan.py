"""What an import is going to do: which member of which source becomes which file."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from darkaction.core.errors import UserError
from darkaction.data.importers.archives import Source
from darkaction.data.importers.members import Member
from darkaction.data.importers.official import PARTS_FILE, SPLITS
from darkaction.data.importers.sources import ENDINGS, LISTS, SingleFile, read_text
from darkaction.data.video import CONTAINERS

SHOWN = 5
"""How many names of many are printed."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One file of a source."""

    source: Source
    member: Member

    @property
    def path(self) -> PurePosixPath:
        """Its name as a path."""
        return PurePosixPath(self.member.name)

    def is_clip(self) -> bool:
        """Whether it ends like a video."""
        return self.path.suffix.lower() in CONTAINERS

    def is_archive(self) -> bool:
        """Whether it ends like an archive."""
        return self.path.name.lower().endswith(ENDINGS)

    def is_list(self) -> bool:
        """Whether it ends like a list of clips."""
        return self.path.suffix.lower() in LISTS

    def is_named(self) -> bool:
        """Whether the person gave it by itself, not within a folder or an archive."""
        return isinstance(self.source, SingleFile)

    def read(self, scratch: Path) -> str:
        """Its text; `scratch` as in `read_text`."""
        return read_text(self.source, self.member, scratch)

    def __str__(self) -> str:
        return str(self.source.path) if self.is_named() else f"{self.source.path}: {self.member.name}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Files to make, under data/raw/<dataset>."""

    clips: dict[str, Item]
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
        return sum(item.member.size for item in self.clips.values())

    def per_class(self) -> dict[str, int]:
        """Number of clips in each folder, by lower-case name."""
        counts: dict[str, int] = {}
        for path in self.clips:
            label = PurePosixPath(path).parent.name.lower()
            counts[label] = counts.get(label, 0) + 1
        return dict(sorted(counts.items()))

    def describe(self) -> list[str]:
        """What it takes and what it leaves, a line each."""
        lines = [f"  {label:<12} {count:5d}" for label, count in self.per_class().items()] + self.notes
        if self.splits:
            lines.append(f"official splits: {len(self.splits)} clips")
        if self.skipped:
            why = "left out, not clips of the dataset or not in its lists"
            lines.append(f"{why}: {len(self.skipped)} ({examples(self.skipped)})")
        return lines

    def table(self) -> str:
        """The official splits as the text of PARTS_FILE; empty where there are none."""
        if not self.splits:
            return ""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["clip", *(f"split_{number}" for number in SPLITS)])
        for clip, parts in sorted(self.splits.items()):
            writer.writerow([clip, *(parts.get(number, "") for number in SPLITS)])
        return text.getvalue()

    def extra_files(self) -> dict[str, str]:
        """Relative path -> text of what stands beside the clips."""
        return {PARTS_FILE: self.table()} if self.splits else {}


def place(clips: dict[str, Item], target: str, item: Item) -> None:
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


def nothing_found(items: Sequence[Item], expected: str) -> UserError:
    """Says what was looked for, and what is there instead."""
    where = ", ".join(dict.fromkeys(str(item.source.path) for item in items))
    there = examples(item.member.name for item in items)
    return UserError(f"{where}: no clips in it; expected {expected}; there is {there}")
