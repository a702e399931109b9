"""The way of a setting: params.yaml -> load() -> Params -> a component's plain argument.

Reads, merges and checks; which sections there are, the dataclass that is asked for says. Unknown or missing keys and
values of the wrong type or range raise a UserError that names the key and the nearest known one.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from darkaction.core import yaml_text
from darkaction.core.errors import UserError
from darkaction.core.explain import explain, unknown
from darkaction.core.paths import ROOT

PARAMS = ROOT / "params.yaml"

# The kinds of value that sections are made of

STRICT = ConfigDict(extra="forbid", strict=True)

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Above0 = Annotated[float, Field(gt=0, allow_inf_nan=False)]
From0 = Annotated[float, Field(ge=0, allow_inf_nan=False)]
DatasetName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]

Span = tuple[float, float]
"""Lowest and highest value of a range."""

# Files

OPEN_SECTIONS = ("enhance.apply.",)
"""Beginnings of keys that a person may add: names of datasets."""


class Settings(Protocol):
    """A dataclass of sections.

    ELSEWHERE: sections of the file that it does not have. FORMER: {key of an earlier version: its key today, or why
    there is none}; a key that ends in a dot is a section.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
    ELSEWHERE: ClassVar[tuple[str, ...]]
    FORMER: ClassVar[Mapping[str, str]]


S = TypeVar("S", bound=Settings)


def load(kind: type[S], path: Path = PARAMS, *, profile: str | None = None, overrides: Iterable[str] = ()) -> S:
    """Reads `path`, overrides it with the profile and then with each `a.b=value`, and checks the whole.

    Raises:
        UserError: naming the file, the key and what would be valid.
    """
    values = _current(kind, read_yaml(path), origin=path.name)
    if profile is not None:
        origin = f"profile {profile}"
        values = merge(values, _current(kind, read_profile(profile), origin=origin), origin=origin)
    for text in overrides:
        origin = f"--set {text}"
        values = merge(values, _current(kind, parse_override(text), origin=origin), origin=origin)
    return build(kind, values, origin=path.name)


def _current(kind: type[Settings], values: dict[str, Any], *, origin: str) -> dict[str, Any]:
    """The values, none of which has the key of an earlier version."""
    for key in leaves(values):
        for former, today in kind.FORMER.items():
            if key == former or (former.endswith(".") and key.startswith(former)):
                raise UserError(f"{origin}: unknown key '{key}' of an earlier version: {today}")
    return values


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; a UserError when it is missing, malformed, no mapping, or has a key twice."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not text in UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    values = yaml_text.parse(text, origin=str(path))
    if not isinstance(values, dict):
        found = "nothing" if values is None else f"a {type(values).__name__}"
        raise UserError(f"{path}: holds {found}, expected a mapping of sections")
    return values


def profile_names() -> list[str]:
    """The committed state `demo` and every file of profiles/."""
    return sorted(path.stem for path in (ROOT / "profiles").glob("*.yaml"))


def read_profile(name: str) -> dict[str, Any]:
    """The sparse settings of profiles/NAME.yaml."""
    if name not in profile_names():
        raise UserError(f"no profile '{name}'; there are: {', '.join(profile_names())}")
    return read_yaml(ROOT / "profiles" / f"{name}.yaml")


def parse_override(text: str) -> dict[str, Any]:
    """`focal.gamma=3` -> {"focal": {"gamma": 3}}; the value is read as YAML."""
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise UserError(f"--set {text}: expected key=value, for example --set focal.gamma=3")
    return nested(key.strip(), yaml_text.parse(value, origin=f"--set {text}"))


def nested(key: str, value: Any) -> dict[str, Any]:
    """`focal.gamma`, 3 -> {"focal": {"gamma": 3}}."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any], *, origin: str, prefix: str = "") -> dict[str, Any]:
    """`base` with the values of `overlay`, section by section. A key that `base` lacks is an error that names the
    nearest, except in a section in which a person names datasets."""
    result = dict(base)
    for key, value in overlay.items():
        if key not in base and prefix in OPEN_SECTIONS:
            result[key] = value
        elif key not in base:
            named = next(iter(leaves({str(key): value})), str(key))
            raise UserError(f"{origin}: {unknown(prefix + named, list(_leaves(base, prefix)))}")
        elif isinstance(base[key], dict) and isinstance(value, Mapping):
            result[key] = merge(base[key], value, origin=origin, prefix=f"{prefix}{key}.")
        elif isinstance(base[key], dict):
            raise UserError(f"{origin}: {prefix}{key} is a section; set one of {sorted(base[key])} in it")
        else:
            result[key] = value
    return result


def build(kind: type[S], values: Mapping[str, Any], *, origin: str) -> S:
    """Checked settings from plain nested values."""
    own = {key: value for key, value in values.items() if key not in kind.ELSEWHERE}
    try:
        # Through JSON, where strict checking takes a mapping for a section and 1 for 1.0, but never "1" or true for 1.
        return TypeAdapter(kind).validate_json(json.dumps(_floats(own), default=str))
    except ValidationError as error:
        raise UserError("\n".join(f"{origin}: {line}" for line in explain(kind, error))) from None


def as_nested(params: Settings) -> dict[str, Any]:
    """The settings as nested values, as params.yaml has them."""
    return dataclasses.asdict(params, dict_factory=_as_yaml)


def _as_yaml(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """Ranges as the lists that YAML has for them."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in items}


def digest(content: Any) -> str:
    """Identifies settings, or other JSON values, by their content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def flatten(params: Settings) -> dict[str, Any]:
    """{"focal.gamma": 2.0, ...}: every setting under its dotted name."""
    return dict(_leaf_items(as_nested(params), ""))


def leaves(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested values as YAML reads them -> {"focal.gamma": 2.0, ...}."""
    return dict(_leaf_items(_floats(dict(values)), ""))


def _leaf_items(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaf_items(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _leaves(values: Mapping[str, Any], prefix: str) -> Iterator[str]:
    return (key for key, _ in _leaf_items(values, prefix))


def _floats(value: Any) -> Any:
    """YAML reads `1e-4` as text; a text that is a number in that notation becomes one."""
    if isinstance(value, dict):
        return {key: _floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_floats(item) for item in value]
    if isinstance(value, str) and value[:1] in "+-.0123456789" and "e" in value.lower():
        try:
            return float(value)
        except ValueError:
            return value
    return value
