"""What is to be compared: experiments/*.yaml -> tables of methods -> settings of each run.

A run is one training of a method, with one seed and, in a method with a sweep, one value.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from darkaction.core import config
from darkaction.core.errors import UserError
from darkaction.core.explain import nearest
from darkaction.core.paths import Paths
from darkaction.data.settings import SYNTHETIC
from darkaction.experiments.plan_file import MethodFile, PlanFile, level_key, read
from darkaction.jobs.identity import identity, training_settings
from darkaction.params import Params

MAX_LR = "optimizer.max_lr"


@dataclass(frozen=True, kw_only=True)
class Study:
    """A claim whose tables are levels of a cause; see StudyFile."""

    key: str
    title: str
    claim: str
    axis: str
    length_alone: bool


@dataclass(frozen=True, kw_only=True)
class Method:
    """A system: its settings, or, with a sweep, those of every value."""

    key: str
    name: str
    published: float | None  # percent
    is_reference: bool
    against: str  # key of the method it is compared with; the reference's own has no such comparison
    swept: tuple[str, ...]  # dotted names of what a sweep varies
    variants: tuple[Params, ...]
    fallback: Params  # of the variants, what is taken where there are no validation clips to choose on


@dataclass(frozen=True, kw_only=True)
class Table:
    """Methods that are compared with one of them.

    confusions: pairs of classes, to be said how often the methods `confused` take one for the other.
    curves: name -> keys of the methods, by the number of real clips that each learns from.
    study, level: of which it is a level; None and empty for a table of its own.
    """

    key: str
    title: str
    note: str
    confusions: tuple[tuple[str, str], ...]
    confused: tuple[str, ...]
    curves: dict[str, tuple[str, ...]]
    methods: tuple[Method, ...]
    study: Study | None
    level: str

    @property
    def reference(self) -> Method:
        """The paper's method."""
        return next(method for method in self.methods if method.is_reference)


def load(
    path: Path,
    values: dict[str, Any],
    *,
    tables: Sequence[str] = (),
    methods: Sequence[str] = (),
    source_domain: str | None = None,
    given: Sequence[str] = (),
) -> list[Table]:
    """The tables of a file, with settings.

    Args:
        values: the settings in use, as nested plain values, over which the file's lie.
        source_domain: the source domain, a second dataset; None: the file's for the target.
        tables: keys of those that are wanted, or of studies; empty: all.
        methods: keys of the methods that are wanted; empty: all. A reference stays.
        given: settings that a person gave beside params.yaml and profile; the file may not set them for all methods.

    Raises:
        UserError: naming the file, table and method, and what would be valid.
    """
    plan = read(path)
    if source_domain is not None:
        plan = dataclasses.replace(plan, source_domain={values["datasets"][0]: source_domain})
    studies = {key: list(study.tables(key)) for key, study in plan.studies.items()}
    plan = dataclasses.replace(
        plan,
        tables={**plan.tables, **{k: v for key, study in plan.studies.items() for k, v in study.tables(key).items()}},
    )
    _known(tables, [*plan.tables, *studies], f"--tables: {path.name} has")
    tables = [key for name in tables for key in studies.get(name, [name])]
    _known(methods, [key for table in plan.tables.values() for key in table.methods], f"--methods: {path.name} has")
    chosen = [table for key, table in plan.tables.items() if not tables or key in tables]
    if overruled := [key for key in given if key in plan.common or any(key in table.set for table in chosen)]:
        raise UserError(
            f"--set {overruled[0]}: {path.name} sets it for all methods, as a method of its own may differ in it; "
            "to change it, edit `common`, or `set` of the table, there or in a copy, for --experiments FILE"
        )
    if absent := [method for method in methods if not any(method in table.methods for table in chosen)]:
        owners = [key for key, table in plan.tables.items() if absent[0] in table.methods]
        raise UserError(
            f"--methods {absent[0]}: not in table {', '.join(tables)}, but in {', '.join(owners)}; "
            f"--tables {','.join(owners)}, or leave --tables out"
        )
    return [
        _table(path, plan, key, values, methods)
        for key in plan.tables
        if (not tables or key in tables) and (not methods or set(methods) & set(plan.tables[key].methods))
    ]


def _known(wanted: Sequence[str], known: list[str], origin: str) -> None:
    for key in wanted:
        if key not in known:
            raise UserError(f"{origin} no '{key}'; did you mean '{nearest(key, known)}'? {', '.join(known)}")


def _table(path: Path, plan: PlanFile, key: str, values: dict[str, Any], wanted: Sequence[str]) -> Table:
    source = plan.tables[key]
    references = [name for name, method in source.methods.items() if not method.set]
    if len(references) != 1:
        raise UserError(f"{path}: table {key} has {len(references)} methods without `set`; one is the reference")
    named = [method.against for method in source.methods.values() if method.against is not None]
    named += [*source.confused, *(name for names in source.curves.values() for name in names)]
    _known(named, list(source.methods), f"{path}: table {key} has")
    kept = [name for name in source.methods if not wanted or name in wanted or name in references]
    for name in kept:  # which grows: a method that one is compared with may be compared itself
        if (other := source.methods[name].against) is not None and other not in kept:
            kept.append(other)
    methods = [
        _method(
            f"{path.name}: table {key}, method {name}",
            name,
            source.methods[name],
            values,
            overrides={**plan.common, **source.set, **source.methods[name].set},
            rates=source.rates,
            source_domain=plan.source_domain,
            reference=references[0],
        )
        for name in source.methods
        if name in kept
    ]
    classes = values["data"]["classes"]
    study, level = _study_of(plan, key)
    return Table(
        key=key,
        title=source.title,
        note=source.note,
        confusions=tuple((a, b) for a, b in source.confusions if a in classes and b in classes),
        confused=tuple(source.confused),
        curves={name: tuple(key for key in keys if key in kept) for name, keys in source.curves.items()},
        methods=tuple(methods),
        study=study,
        level=level,
    )


def _study_of(plan: PlanFile, key: str) -> tuple[Study | None, str]:
    """Of which study a table is a level, and of which level."""
    for name, study in plan.studies.items():
        for level in study.levels:
            if key == level_key(name, level):
                own = Study(
                    key=name,
                    title=study.title,
                    claim=study.claim,
                    axis=study.axis,
                    length_alone=study.length_alone,
                )
                return own, level
    return None, ""


def _method(
    origin: str,
    key: str,
    method: MethodFile,
    values: dict[str, Any],
    *,
    overrides: dict[str, Any],
    rates: Sequence[float],
    source_domain: dict[str, str],
    reference: str,
) -> Method:
    target = values["datasets"][0]
    if "datasets" in overrides:
        names = {"target": target, "source_domain": source_domain.get(target, "source_domain")}
        overrides["datasets"] = [names.get(name, name) for name in overrides["datasets"]]
    else:
        overrides["datasets"] = [target]
    base = _laid_over(values, overrides, origin)
    if method.starting_weights is not None and base["train"]["init_from"] not in (None, Paths.PRETRAINING):
        # Methods start alike: from released weights, each network from its own, or all from scratch.
        base = _laid_over(base, {"train.init_from": method.starting_weights}, origin)
    sweep = dict(method.sweep)
    if rates:
        sweep[MAX_LR] = [float(f"{rate * base['optimizer']['max_lr']:.3g}") for rate in rates]
    swept = product(*sweep.values())  # one choice, of nothing, without a sweep
    variants = [_laid_over(base, dict(zip(sweep, chosen, strict=True)), origin) for chosen in swept]
    built = tuple(_build(variant, origin) for variant in variants)
    fallback = _build(base, origin)
    return Method(
        key=key,
        name=method.name,
        published=method.published,
        is_reference=not method.set,
        against=method.against or reference,
        swept=tuple(sweep),
        variants=built if sweep else (fallback,),
        fallback=fallback,
    )


def _laid_over(values: dict[str, Any], overrides: dict[str, Any], origin: str) -> dict[str, Any]:
    for key, value in overrides.items():
        values = config.merge(values, config.nested(key, value), origin=origin)
    return values


def _build(values: dict[str, Any], origin: str) -> Params:
    """Checked settings: with the synthetic datasets they use in synthesize.domains, each training on one device."""
    domains = values["synthesize"]["domains"]
    domains = [*domains, *(name for name in values["datasets"] if name in SYNTHETIC and name not in domains)]
    apply = {**dict.fromkeys(values["datasets"], True), **values["enhance"]["apply"]}
    whole = {
        **values,
        "synthesize": {**values["synthesize"], "domains": domains},
        "enhance": {**values["enhance"], "apply": apply},
        "train": {**values["train"], "devices": 1, "nodes": 1},
    }
    return config.build(Params, whole, origin=origin)


def fingerprint(params: Params) -> str:
    """Identifies the settings that decide what a run scores, but for the seed."""
    settings = training_settings(params)
    if params.evaluate.class_prior is not None:
        settings["evaluate.class_prior"] = params.evaluate.class_prior
    if any(name in SYNTHETIC for name in params.datasets):  # other clips of the same name
        flat = config.flatten(params)
        settings |= {key: flat[key] for key in flat if key.startswith("synthesize.") and key != "synthesize.domains"}
    return identity(settings)


def as_yaml(params: Params) -> str:
    """The settings, to be read by a person."""
    return yaml.safe_dump(config.as_nested(params), sort_keys=False)
