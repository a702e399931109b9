"""What is wrong with settings, in the words of YAML: the key, its value and what would be valid."""

import dataclasses
import difflib
import json
from collections.abc import Iterable
from typing import Any, get_args

from pydantic import ValidationError


def suggestion(name: str, known: Iterable[str]) -> str:
    """`; did you mean '...'?` where a known name looks like `name`; else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def nearest(key: str, known: Iterable[str]) -> str:
    """The known key that looks most like `key`; empty where none is known."""
    return next(iter(difflib.get_close_matches(key, list(known), n=1, cutoff=0.0)), "")


def unknown(key: str, known: list[str]) -> str:
    close = nearest(key, known)
    return f"unknown key '{key}'" + (f"; did you mean '{close}'?" if close else "")


def explain(kind: type[Any], error: ValidationError) -> list[str]:
    """One line for each key with an error: the dotted key, its value, what is valid."""
    details: dict[str, list[Any]] = {}
    for detail in error.errors(include_url=False):
        details.setdefault(".".join(_key_parts(kind, detail["loc"])), []).append(detail)
    return [_explain_key(kind, key, found) for key, found in details.items()]


def _explain_key(of: type[Any], key: str, details: list[Any]) -> str:
    """One line for the errors of one key: several when its value may be of several kinds and is of none."""
    kind = details[0]["type"]
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        section = key.split(".")[:-1]
        return unknown(key, _section_keys(of, section))
    if kind in ("missing", "missing_argument"):
        return f"missing key '{key}'"
    if kind == "value_error":
        return f"{key + ': ' if key else ''}{details[0]['ctx']['error']}"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        tag = details[0]["input"]["type"] if kind == "union_tag_invalid" else None
        return f"{key}: type is {json.dumps(tag)}: should be one of {details[0]['ctx'].get('expected_tags', _KINDS)}"
    wanted = dict.fromkeys(_wanted(detail["msg"]) for detail in details)
    return f"{key} is {json.dumps(details[0]['input'])}: should {', or '.join(wanted)}"


def _wanted(message: str) -> str:
    """`Input should be a valid array` -> `be a list`: pydantic's words in those of YAML."""
    text = message.partition(" should ")[2] or message
    for theirs, ours in _WORDS.items():
        text = text.replace(theirs, ours)
    return text


_KINDS = ("float", "int", "choice")

_WORDS = {
    "a valid array": "a list",
    "a valid integer": "an integer",
    "an object": "a section",
    "a valid": "a",
    " after validation": "",
}


def _key_parts(kind: type[Any], location: tuple[int | str, ...]) -> list[str]:
    """The names of sections and fields in pydantic's location of an error, and a place in a list; what it says about
    kinds of value (`constrained-float`) is left out."""
    parts: list[str] = []
    section: Any = kind
    for part in location:
        if isinstance(part, int):
            parts.append(str(part))
            continue
        if parts and parts[-1].isdigit() and part in _KINDS:  # which kind of dimension the entry of a list is
            section = None
            continue
        known = {f.name: f.type for f in dataclasses.fields(section)} if dataclasses.is_dataclass(section) else {}
        if part not in known and (part.endswith("]") or part.startswith(("constrained-", "function-"))):
            break
        parts.append(part)
        section = known.get(part)
    return parts


def _section_keys(kind: type[Any], parts: list[str]) -> list[str]:
    """Dotted names of the fields of the section that `parts` leads to; for an entry of a list, of all its kinds."""
    section: Any = kind
    for part in parts:
        if part.isdigit():
            names = dict.fromkeys(f.name for entry in _dataclasses_in(section) for f in dataclasses.fields(entry))
            return [".".join([*parts, name]) for name in names]
        section = {f.name: f.type for f in dataclasses.fields(section)}[part]
    return [".".join([*parts, f.name]) for f in dataclasses.fields(section)]


def _dataclasses_in(kind: Any) -> list[Any]:
    """Those that a type is made of: of a list, those that its entries may be."""
    if dataclasses.is_dataclass(kind):
        return [kind]
    return [found for part in get_args(kind) for found in _dataclasses_in(part)]
