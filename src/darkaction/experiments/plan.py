"""What is to be compared: experiments/*.yaml -> tables of rows -> settings of each cell.

A row is a system; a cell is one training of it, with one seed and, in a row with a sweep, one value.
"""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from darkaction.core import config
from darkaction.core.errors import UserError
from darkaction.core.explain import nearest
from darkaction.core.paths import Paths
from darkaction.core.schema import STRICT
from darkaction.params import Params

TRAINING_SECTIONS = (
    "datasets",
    "data",
    "split",
    "zero_dce",
    "enlightengan",
    "enhance",
    "sampling",
    "augmentation",
    "model",
    "mran",
    "bert",
    "focal",
    "optimizer",
    "train",
)
"""Settings that decide what a cell scores, beside the seed and the versions of data and code."""

NO_RESULT = ("train.num_workers", "train.devices")
"""Settings in them that change no result."""

ONE_OF = {"zero_dce": "zero_dce", "enlightengan": "enlightengan", "mran": "mran"}
"""Sections that matter only where the method of that name is in use."""


@checked_dataclass(frozen=True, kw_only=True, config=STRICT)
class RowFile:
    """A row as it stands in the file."""

    name: str
    published: Annotated[float, Field(ge=0, le=100)] | None
    set: dict[str, Any] = Field(default_factory=dict)
    sweep: dict[str, Annotated[list[Any], Field(min_length=2)]] = Field(default_factory=dict)
    against: str | None = None


@checked_dataclass(frozen=True, kw_only=True, config=STRICT)
class TableFile:
    """A table as it stands in the file."""

    title: str
    rows: Annotated[dict[str, RowFile], Field(min_length=1)]
    set: dict[str, Any] = Field(default_factory=dict)
    note: str = ""
    confusions: list[Annotated[list[str], Field(min_length=2, max_length=2)]] = Field(default_factory=list)
    confused: list[str] = Field(default_factory=list)
    curves: Annotated[dict[str, Annotated[list[str], Field(min_length=2)]], Field(max_length=3)] = Field(
        default_factory=dict
    )
    clusters: Literal["scene", "class and scene"] = "scene"


@checked_dataclass(frozen=True, kw_only=True, config=STRICT)
class PlanFile:
    """The whole file."""

    auxiliary: dict[str, str]
    common: dict[str, Any]
    tables: Annotated[dict[str, TableFile], Field(min_length=1)]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A system: its settings, or, with a sweep, those of every value."""

    key: str
    name: str
    published: float | None  # percent
    is_reference: bool
    against: str  # key of the row it is compared with; the reference's own has no such comparison
    swept: tuple[str, ...]  # dotted names of what a sweep varies
    variants: tuple[Params, ...]
    fallback: Params  # of the variants, what is taken where there are no validation clips to choose on


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows that are compared with one of them.

    confusions: pairs of classes, to be said how often the rows `confused` take one for the other.
    curves: name -> keys of the rows, by the number of real clips that each learns from.
    clusters: what intervals and tests take for independent: scenes, or the clips of a class in a scene.
    """

    key: str
    title: str
    note: str
    confusions: tuple[tuple[str, str], ...]
    confused: tuple[str, ...]
    curves: dict[str, tuple[str, ...]]
    clusters: str
    rows: tuple[Row, ...]

    @property
    def reference(self) -> Row:
        """The paper's method."""
        return next(row for row in self.rows if row.is_reference)


def load(
    path: Path,
    values: dict[str, Any],
    *,
    tables: Sequence[str] = (),
    rows: Sequence[str] = (),
    auxiliary: str | None = None,
    given: Sequence[str] = (),
) -> list[Table]:
    """The tables of a file, with settings.

    Args:
        values: the settings in use, as nested plain values, over which the file's lie.
        auxiliary: the auxiliary dataset; None: the file's for the target.
        tables: keys of those that are wanted; empty: all.
        rows: keys of the rows that are wanted; empty: all. A reference stays.
        given: settings that a person gave beside params.yaml and profile; the file may not set them for all rows.

    Raises:
        UserError: naming the file, table and row, and what would be valid.
    """
    plan = _read(path)
    if auxiliary is not None:
        plan = dataclasses.replace(plan, auxiliary={values["datasets"][0]: auxiliary})
    _known(tables, list(plan.tables), f"--tables: {path.name} has")
    _known(rows, [key for table in plan.tables.values() for key in table.rows], f"--rows: {path.name} has")
    chosen = [table for key, table in plan.tables.items() if not tables or key in tables]
    if overruled := [key for key in given if key in plan.common or any(key in table.set for table in chosen)]:
        raise UserError(
            f"--set {overruled[0]}: {path.name} sets it for all rows, as a row of its own may differ in it; "
            "to change it, edit `common`, or `set` of the table, there or in a copy, for --experiments FILE"
        )
    if absent := [row for row in rows if not any(row in table.rows for table in chosen)]:
        owners = [key for key, table in plan.tables.items() if absent[0] in table.rows]
        raise UserError(
            f"--rows {absent[0]}: not in table {', '.join(tables)}, but in {', '.join(owners)}; "
            f"--tables {','.join(owners)}, or leave --tables out"
        )
    return [
        _table(path, plan, key, values, rows)
        for key in plan.tables
        if (not tables or key in tables) and (not rows or set(rows) & set(plan.tables[key].rows))
    ]


def _read(path: Path) -> PlanFile:
    try:
        # Through JSON, where strict checking takes a mapping for a section.
        return TypeAdapter(PlanFile).validate_json(json.dumps(config.read_yaml(path), default=str))
    except ValidationError as error:
        paths = [f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors(include_url=False)]
        raise UserError(f"{path}: {'; '.join(paths)}") from None


def _known(wanted: Sequence[str], known: list[str], origin: str) -> None:
    for key in wanted:
        if key not in known:
            raise UserError(f"{origin} no '{key}'; did you mean '{nearest(key, known)}'? {', '.join(known)}")


def _table(path: Path, plan: PlanFile, key: str, values: dict[str, Any], wanted: Sequence[str]) -> Table:
    source = plan.tables[key]
    references = [name for name, row in source.rows.items() if not row.set]
    if len(references) != 1:
        raise UserError(f"{path}: table {key} has {len(references)} rows without `set`; one is the reference")
    named = [row.against for row in source.rows.values() if row.against is not None]
    named += [*source.confused, *(name for names in source.curves.values() for name in names)]
    _known(named, list(source.rows), f"{path}: table {key} has")
    kept = [name for name in source.rows if not wanted or name in wanted or name in references]
    for name in kept:  # which grows: a row that one is compared with may be compared itself
        if (other := source.rows[name].against) is not None and other not in kept:
            kept.append(other)
    rows = [
        _row(
            f"{path.name}: table {key}, row {name}",
            name,
            source.rows[name],
            values,
            overrides={**plan.common, **source.set, **source.rows[name].set},
            auxiliary=plan.auxiliary,
            reference=references[0],
        )
        for name in source.rows
        if name in kept
    ]
    classes = values["data"]["classes"]
    return Table(
        key=key,
        title=source.title,
        note=source.note,
        confusions=tuple((a, b) for a, b in source.confusions if a in classes and b in classes),
        confused=tuple(source.confused),
        curves={name: tuple(key for key in keys if key in kept) for name, keys in source.curves.items()},
        clusters=source.clusters,
        rows=tuple(rows),
    )


def _row(
    origin: str,
    key: str,
    row: RowFile,
    values: dict[str, Any],
    *,
    overrides: dict[str, Any],
    auxiliary: dict[str, str],
    reference: str,
) -> Row:
    target = values["datasets"][0]
    if "datasets" in overrides:
        names = {"target": target, "auxiliary": auxiliary.get(target, "auxiliary")}
        overrides["datasets"] = [names.get(name, name) for name in overrides["datasets"]]
    else:
        overrides["datasets"] = [target]
    base = _laid_over(values, overrides, origin)
    variants = [_laid_over(base, dict(zip(row.sweep, chosen, strict=True)), origin) for chosen in _choices(row.sweep)]
    built = tuple(_build(variant, origin) for variant in variants)
    fallback = _build(base, origin)
    return Row(
        key=key,
        name=row.name,
        published=row.published,
        is_reference=not row.set,
        against=row.against or reference,
        swept=tuple(row.sweep),
        variants=built if row.sweep else (fallback,),
        fallback=fallback,
    )


def _choices(sweep: dict[str, list[Any]]) -> Iterator[tuple[Any, ...]]:
    """Every combination of the values of a sweep; one, of nothing, where there is none."""
    return product(*sweep.values())


def _laid_over(values: dict[str, Any], overrides: dict[str, Any], origin: str) -> dict[str, Any]:
    for key, value in overrides.items():
        values = config.merge(values, config.nested(key, value), origin=origin)
    return values


def _build(values: dict[str, Any], origin: str) -> Params:
    """Checked settings, with the drawn datasets they use among those that are drawn."""
    drawn = [name for name in values["datasets"] if name in ("demo", "demo_lit")]
    domains = [
        *values["synthesize"]["domains"],
        *(name for name in drawn if name not in values["synthesize"]["domains"]),
    ]
    apply = {**dict.fromkeys(values["datasets"], True), **values["enhance"]["apply"]}
    whole = {
        **values,
        "synthesize": {**values["synthesize"], "domains": domains},
        "enhance": {**values["enhance"], "apply": apply},
    }
    return config.build(Params, whole, origin=origin)


def fingerprint(params: Params) -> str:
    """Identifies the settings that decide what a cell scores, but for the seed."""
    nested = config.as_nested(params)
    used = {section: nested[section] for section in TRAINING_SECTIONS}
    method = params.enhance.method
    for section, name in ONE_OF.items():
        if name not in (method, "mran" if params.model.mran else ""):
            del used[section]
    used["enhance"] = {**used["enhance"], "apply": {name: params.enhance.apply[name] for name in params.datasets}}
    if method != "gamma":
        del used["enhance"]["gamma"]
    if params.train.init_from == Paths.PRETRAINING:
        used["pretrain"] = nested["pretrain"]
    if params.train.shots_per_class is None:
        del used["train"]["shots_per_class"]
    flat = {key: value for key, value in _flat(used, "") if key not in NO_RESULT}
    return config.digest(flat)[:16]


def _flat(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def as_yaml(params: Params) -> str:
    """The settings, to be read by a person."""
    return yaml.safe_dump(config.as_nested(params), sort_keys=False)
