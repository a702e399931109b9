"""Lists of clips as people bring them: any separator, a header or none, columns in any order.

A column is known by what stands in it, the number of a line and that of a class by the header or by how often they
repeat. What cannot be understood as a whole is refused: a list says which clips may take part, so half a list, or one
that is passed over, lets others in. (`csv.Sniffer`, which pandas uses too, takes letters and underscores of clip names
for separators, so the separator is looked up in the first line instead.)
"""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from darkaction.core.errors import UserError
from darkaction.data.importers.names import ClipName, arid_name
from darkaction.data.video import CONTAINERS

SEPARATORS = ("\t", ";", ",", "|")
"""Looked for in this order in the first line; where none is, spaces separate the columns."""

FORMS = (
    "a line a clip, with a header or without, as `path`, `path label`, `id label path` or `VideoID,Video,ClassID`, "
    "separated by comma, semicolon, tab or spaces, where path is Walk/Walk_3_12.mp4 and may lack folder and ending; or "
    "a mapping table, `label Class`"
)
"""What a list may look like."""

IDS = {"", "id", "videoid", "clipid", "index", "number", "nr", "no"}
LABELS = {"label", "labels", "labelid", "classid", "class", "classname", "category", "action", "target"}
PATHS = {"path", "video", "videopath", "videoname", "clip", "clips", "clippath", "clipname", "file", "filename", "name"}
"""How headers call the columns, by letters alone."""

WORD = re.compile(r"[A-Za-z]\w*")

MOST_COLUMNS = 4
"""More of them in the first lines of a file that nobody named as a list: it is prose."""

SHOWN = 120
"""Characters of a line that a message shows."""

Cells = list[str]


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One line of a list. `label` is the number or name of its class, empty where the list has none; `name` is None
    where the file is not named like a clip of ARID."""

    line: int
    path: PurePosixPath
    label: str
    name: ClipName | None

    @property
    def key(self) -> str:
        """What lists and files agree on whatever the case, the folder and the ending."""
        return key_of(self.path, self.name)


@dataclass(frozen=True, kw_only=True)
class Mapping:
    """A table that says which number stands for which class."""

    origin: str
    classes: dict[str, str]
    """Number -> lower-case class."""


def key_of(path: PurePosixPath, name: ClipName | None) -> str:
    """See `Listed.key`."""
    return path.stem.lower() if name is None else f"{name.label}/{name.label}_{name.scene}_{name.take}"


def looks_like_list(text: str) -> bool:
    """Whether the first lines of a file, which was found beside clips, are those of a list or a mapping table."""
    first = [cells for _, cells in _split(text)[:3]]
    if first and _is_header(first[0]):
        first = first[1:]
    clips = [cells for cells in first[:2] if len(cells) <= MOST_COLUMNS and any(map(_names_clip, cells))]
    return bool(clips) or (bool(first) and all(map(_is_mapping, first)))


def read_list(text: str, *, origin: str) -> list[Listed] | Mapping:
    """The list or mapping table in a text.

    Raises:
        UserError: naming the origin, a line and the valid forms, when any line or column is not understood.
    """
    lines = _split(text)
    if not lines:
        raise UserError(f"{origin}: an empty list; valid is {FORMS}")
    number, first = lines[0]
    shown = _shown(text, number)
    has_header = len(lines) > 1 and not _is_mapping(first) and not any(map(_names_clip, first))
    header, body = (first, lines[1:]) if has_header else (None, lines)
    if all(_is_mapping(cells) for _, cells in body) and (header is None or _is_header(header)):
        return Mapping(origin=origin, classes=_mapping([cells for _, cells in body], origin))
    named = Counter(k for _, cells in body for k, cell in enumerate(cells) if _names_clip(cell))
    if not named:
        raise UserError(f"{origin}: not a list of clips: its first line is {shown!r}; valid is {FORMS}")
    column = named.most_common(1)[0][0]
    width = Counter(len(cells) for _, cells in body).most_common(1)[0][0]
    _require_alike(text, body, column, width if header is None else len(header), origin)
    label = _label_column(header, [cells for _, cells in body], column, shown, origin)
    rows = [
        Listed(
            line=line,
            path=_path(cells[column]),
            label="" if label is None else _plain_number(cells[label]),
            name=arid_name(_path(cells[column])),
        )
        for line, cells in body
    ]
    if rows[0].name is None and label is not None:
        raise UserError(
            f"{origin}: line {rows[0].line}: {rows[0].path} has a label, but is not named <Class>_<scene>_<take>; "
            f"valid is {FORMS}"
        )
    return rows


def _split(text: str) -> list[tuple[int, Cells]]:
    """Number and cells of each line that is not blank."""
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    separator = next((mark for mark in SEPARATORS if lines and mark in lines[0][1].strip()), None)
    return [(number, _cells(line, separator)) for number, line in lines]


def _cells(line: str, separator: str | None) -> Cells:
    """The cells of a line without spaces and quotes around them, and without empty ones at its end."""
    if separator is None:
        cells = line.split()
    else:
        cells = next(csv.reader([line], delimiter=separator, skipinitialspace=True))
    cells = [cell.strip().strip("\"'").strip() for cell in cells]
    while len(cells) > 1 and not cells[-1]:
        cells.pop()
    return cells


def _shown(text: str, number: int) -> str:
    """A line as messages show it."""
    return text.splitlines()[number - 1].strip()[:SHOWN]


def _path(cell: str) -> PurePosixPath:
    return PurePosixPath(cell.replace("\\", "/"))


def _names_clip(cell: str) -> bool:
    path = _path(cell)
    return path.suffix.lower() in CONTAINERS or arid_name(path) is not None


def _is_mapping(cells: Cells) -> bool:
    """Whether a line is `number Class`, in either order."""
    numbers, words = [c for c in cells if c.isdecimal()], [c for c in cells if WORD.fullmatch(c)]
    return len(cells) == 2 and len(numbers) == len(words) == 1 and not _names_clip(words[0])


def _mapping(rows: Sequence[Cells], origin: str) -> dict[str, str]:
    classes: dict[str, str] = {}
    for cells in rows:
        number, word = sorted(cells, key=lambda cell: not cell.isdecimal())
        number, label = _plain_number(number), word.lower()
        if classes.setdefault(number, label) != label:
            raise UserError(f"{origin}: label {number} stands for {classes[number]} and for {label}")
    return classes


def _plain_number(cell: str) -> str:
    return str(int(cell)) if cell.isdecimal() else cell


def _require_alike(text: str, body: Sequence[tuple[int, Cells]], column: int, width: int, origin: str) -> None:
    """Every line must have as many columns, a clip in the same one, and a folder that does not say another class."""
    names = {line: arid_name(_path(cells[column])) for line, cells in body if len(cells) == width}
    classes = {name.label for name in names.values() if name is not None}

    def is_odd(line: int, cells: Cells) -> bool:
        if len(cells) != width or not _names_clip(cells[column]):
            return True
        name, folder = names[line], _path(cells[column]).parent.name.lower()
        if name is None:
            return bool(classes)
        return folder != name.label and folder in classes

    odd = [line for line, cells in body if is_odd(line, cells)]
    if odd:
        raise UserError(
            f"{origin}: line {odd[0]} is {_shown(text, odd[0])!r}, unlike the rest of the list ({len(odd)} of "
            f"{len(body)} lines are); valid is {FORMS}"
        )


def _label_column(header: Cells | None, body: Sequence[Cells], column: int, first: str, origin: str) -> int | None:
    """The column of the classes, if there is one; each other column must be one of line numbers, or of the same clips.

    Raises:
        UserError: naming the first column that is neither.
    """
    others = [k for k in range(len(body[0])) if k != column and not _repeats(body, k, column)]
    if header is None:
        roles = _roles(body, others, column)
    else:
        titles = _titles(header)
        roles = {k: "id" if titles[k] in IDS else "label" if titles[k] in LABELS else "" for k in others}
        roles[column] = "path" if titles[column] in PATHS else ""
    labels = [k for k, role in roles.items() if role == "label"]
    for k, role in sorted(roles.items()):
        if not role or k in labels[1:]:
            raise UserError(
                f"{origin}: its first line is {first!r}: column {k + 1} is not understood; valid is {FORMS}"
            )
    return labels[0] if labels else None


def _titles(header: Cells) -> list[str]:
    """What a header calls the columns, by letters alone where there are some."""
    return [re.sub(r"[^a-z]", "", title.lower()) or title for title in header]


def _is_header(cells: Cells) -> bool:
    return {*_titles(cells)} <= IDS | LABELS | PATHS


def _repeats(body: Sequence[Cells], k: int, column: int) -> bool:
    """Whether a column says once more which clip or class it is."""

    def repeats(cells: Cells) -> bool:
        name = arid_name(_path(cells[column]))
        return name is not None and (cells[k].lower() == name.label or arid_name(_path(cells[k])) == name)

    return all(map(repeats, body))


def _roles(body: Sequence[Cells], others: Sequence[int], column: int) -> dict[int, str]:
    """What the columns of a list without a header are: id | label, empty where that cannot be told."""
    numbers = [k for k in others if all(cells[k].isdecimal() for cells in body)]
    words = [k for k in others if all(WORD.fullmatch(cells[k]) for cells in body)]
    roles = dict.fromkeys(others, "") | dict.fromkeys(words, "label")
    counting = [k for k in numbers if len({cells[k] for cells in body}) == len(body)]
    if len(numbers) == 1:  # `path label` or `id path`
        (k,) = numbers
        classes = {arid_name(_path(cells[column])) for cells in body}
        labels = {name.label for name in classes if name is not None}
        roles[k] = "id" if k in counting and (k < column or len(body) > len(labels)) else "label"
    elif len(numbers) == 2:
        first = counting[0] if counting else numbers[0]
        roles |= {k: "id" if k == first else "label" for k in numbers}
    return roles
