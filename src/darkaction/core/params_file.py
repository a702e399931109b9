"""Edits params.yaml in place: comments stay, and the file is replaced in one step."""

import difflib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from darkaction.core import config, yaml_text
from darkaction.core.errors import UserError

COMMENT_COLUMN = 28
"""Comments behind a value stand here, or three spaces behind a value that is longer. A line's text is then a function
of its key, value and comment alone, which is what lets a profile undo another to the byte."""


def configure(
    path: Path,
    *,
    profile: str | None,
    overrides: Iterable[str],
    write: bool,
    check: Callable[[dict[str, Any], Path], object],
) -> str:
    """Lays the profile and then each `a.b=value` over the settings in `path`; returns the difference as a unified diff.

    Args:
        check: refuses settings that are not valid, see `params.require_valid`.

    Raises:
        UserError: for an unknown key or a value out of range; `path` is then as it was.
    """
    before = config.read_yaml(path)
    after = before
    if profile is not None:
        after = config.merge(after, config.read_profile(profile), origin=f"profile {profile}")
    for text in overrides:
        after = config.merge(after, config.parse_override(text), origin=f"--set {text}")
    check(after, path)

    old = path.read_text(encoding="utf-8")
    new = edit(old, changes=dict(_changes(before, after)), origin=path.name)
    if yaml_text.parse(new, origin=path.name) != after:
        raise UserError(f"{path}: cannot be edited in place; write each setting on a line of its own")
    if write and new != old:
        _replace(path, new)
    names = f"{path.name} (before)", f"{path.name} (after)"
    return "".join(difflib.unified_diff(old.splitlines(keepends=True), new.splitlines(keepends=True), *names, n=0))


def edit(text: str, *, changes: Mapping[tuple[str, ...], Any], origin: str) -> str:
    """`text` with the value at each key path replaced and the comments of those lines aligned; the rest as it was."""
    spans = dict(_spans(yaml.compose(text), ()))
    touched = set()
    for path, value in sorted(changes.items(), key=lambda change: spans[change[0]][0].index, reverse=True):
        start, end = spans[path]
        if isinstance(value, list) and text[start.index] == "-":
            text = text[: start.index] + block(value, indent=start.column) + text[end.index :]
            continue
        if start.line != end.line:
            raise UserError(f"{origin}: write the value of {'.'.join(path)} on one line, as in a: [1, 2]")
        space = " " if text[start.index - 1] == ":" else ""  # `key:` with nothing behind it is null
        text = text[: start.index] + space + render(value) + text[end.index :]
        touched.add(start.line)
    lines = text.splitlines()
    return "\n".join(align(line) if number in touched else line for number, line in enumerate(lines)) + "\n"


def render(value: Any) -> str:
    """A value as one line of YAML: 0.5, [1, 2], null."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000)
    return text.removesuffix("...\n").strip()


def block(values: list[Any], *, indent: int) -> str:
    """A list as lines that begin with a dash, the first without its indentation."""
    return f"\n{' ' * indent}".join(f"- {render(value)}" for value in values)


def align(line: str) -> str:
    """The line with its comment, if any, at COMMENT_COLUMN or behind the value."""
    value, comment = split_comment(line)
    if not comment:
        return value
    column = COMMENT_COLUMN if len(value) < COMMENT_COLUMN else len(value) + 3
    return value.ljust(column) + comment


def split_comment(line: str) -> tuple[str, str]:
    """`a: 1   # why` -> (`a: 1`, `# why`). A # inside quotes or a word begins no comment."""
    quote = ""
    for position, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "#" and (position == 0 or line[position - 1].isspace()):
            return line[:position].rstrip(), line[position:]
    return line.rstrip(), ""


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> Iterator[Any]:
    """(key path, new value) of every setting that differs; the whole of a section that gets a new key."""
    for key, value in after.items():
        path = (*prefix, key)
        if isinstance(value, dict) and value.keys() <= before[key].keys():
            yield from _changes(before[key], value, path)
        elif type(value) is not type(before[key]) or value != before[key]:
            yield path, value


def _spans(node: Any, prefix: tuple[str, ...]) -> Iterator[Any]:
    """(key path, (start mark, end mark)) of every value that is no section, and of sections in braces."""
    for key, value in node.value:
        path = (*prefix, key.value)
        if isinstance(value, yaml.MappingNode):
            yield from _spans(value, path)
            if value.flow_style:
                yield path, (value.start_mark, value.end_mark)
        else:
            # YAML ends a list of lines at the next key, behind blank lines and comments: take the end of its last entry
            last = value.value[-1] if isinstance(value, yaml.SequenceNode) and value.value else value
            flow = not isinstance(value, yaml.SequenceNode) or value.flow_style
            yield path, (value.start_mark, value.end_mark if flow else last.end_mark)


def _replace(path: Path, text: str) -> None:
    """Writes `path` in one step: a reader sees the old text or the new, and a crash leaves the old."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(descriptor)  # whose file has no name in an error
    try:
        with open(name, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, path.stat().st_mode)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
