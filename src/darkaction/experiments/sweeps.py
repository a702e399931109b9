"""Which value of a sweep a method stands for. Each is trained with the first seed, and that which is best on validation
clips with all seeds."""

from collections.abc import Mapping
from dataclasses import dataclass

from darkaction.experiments import plan
from darkaction.experiments.comparisons import Comparisons
from darkaction.experiments.plan import Method
from darkaction.experiments.record import Run
from darkaction.params import Params

OnRecord = Mapping[tuple[str, str, int], Run]
"""Runs by `Run.key`."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The settings that a method stands for. `judged`: whether validation clips chose them."""

    params: Params
    judged: bool


def choose(comparisons: Comparisons, method: Method, on_record: OnRecord) -> Chosen | None:
    """Of a sweep the value with the best validation accuracy of the first seed, the earlier one of equals; without
    validation clips the value of the settings in use, or else the first. None while runs of the first seed are missing.
    """
    if len(method.variants) == 1:
        return Chosen(params=method.variants[0], judged=False)
    able = [params for params in method.variants if plan.fingerprint(params) not in comparisons.problems]
    tried = [(params, run) for params in able for run in runs_of(comparisons, params, on_record, first_seed=True)]
    if not able or len(tried) < len(able):
        return None
    accuracies = [run.val_accuracy for _, run in tried if run.val_accuracy is not None]
    if len(accuracies) == len(tried):
        return Chosen(params=tried[accuracies.index(max(accuracies))][0], judged=True)
    own = plan.fingerprint(method.fallback)
    return Chosen(params=next((p for p in able if plan.fingerprint(p) == own), able[0]), judged=False)


def runs_of(comparisons: Comparisons, params: Params, on_record: OnRecord, *, first_seed: bool = False) -> list[Run]:
    """The runs there are with these settings, seed by seed."""
    fingerprint = plan.fingerprint(params)
    if fingerprint not in comparisons.inputs:
        return []
    seeds = comparisons.seeds[:1] if first_seed else comparisons.seeds
    keys = [(fingerprint, comparisons.inputs[fingerprint].versions, seed) for seed in seeds]
    return [on_record[key] for key in keys if key in on_record]


def needed(comparisons: Comparisons, on_record: OnRecord) -> list[tuple[str, int]]:
    """The runs that the tables need, as fingerprint of their settings and seed, as far as it is known which values of a
    sweep are chosen; seed after seed, so that a stop leaves whole tables.

    Args:
        on_record: with today's code.
    """
    chosen = [choose(comparisons, method, on_record) for table in comparisons.tables for method in table.methods]
    fingerprints = dict.fromkeys(plan.fingerprint(found.params) for found in chosen if found is not None)
    runs = [(fingerprint, comparisons.seeds[0]) for fingerprint in comparisons.variants()]
    runs += [(fingerprint, seed) for seed in comparisons.seeds[1:] for fingerprint in fingerprints]
    return [(fingerprint, seed) for fingerprint, seed in runs if fingerprint not in comparisons.problems]
