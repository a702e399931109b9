"""What is searched: settings and their ranges, from tune.space to the values that Optuna samples."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalChoiceType,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial

from darkaction.core import config
from darkaction.core.errors import UserError
from darkaction.core.explain import nearest
from darkaction.search.settings import Choice, Range, SearchParams

SEARCHED = ("sampling", "augmentation", "model", "bert", "focal", "optimizer", "pretrain", "train")
"""Sections that can be searched: those of the training alone. Others would need other clips or another exam."""

NOT_SEARCHED = {
    "sampling.test_draws": "more draws always help",
    "pretrain.enabled": "where another setting of pretrain is searched, every trial pretrains",
    "train.init_from": "it is not a setting of the method",
    "train.shots_per_class": "more clips always help",
    "train.precision": "it is not a setting of the method",
    "train.devices": "a trial has one device",
    "train.nodes": "a trial has one device",
    "train.deterministic": "it is not a setting of the method",
    "train.num_workers": "it changes no result",
}

DIGITS = 4
"""Significant digits of a sampled number: what is trained is what --apply writes."""

CHECKED_POINTS = 200

Dimensions = Sequence[Range | Choice]


def pretrains(params: SearchParams) -> bool:
    """Whether every trial needs a pretraining of its own, since settings of it are searched."""
    return any(dimension.key.startswith("pretrain.") for dimension in params.tune.space)


def check_space(params: SearchParams) -> None:
    """Refuses a search space in which some point is no valid set of settings.

    Raises:
        UserError: naming the entry and what would be valid.
    """
    settings = config.flatten(params)
    dimensions = params.tune.space
    for position, dimension in enumerate(dimensions):
        origin = f"tune.space: {dimension.key}"
        _check_key(dimension.key, origin, settings)
        earlier = [other.key for other in dimensions[:position]]
        if dimension.key in earlier:
            raise UserError(f"{origin} stands there twice")
        for key in dimension.when:
            if key not in settings:
                raise UserError(f"{origin}: when names '{key}', which is no setting")
        named = [*dimension.when, *(bound for bound in _bounds(dimension) if isinstance(bound, str))]
        for key in named:
            if key not in earlier and any(other.key == key for other in dimensions):
                raise UserError(f"{origin} needs {key}, which must stand before it")
        for bound in _bounds(dimension):
            if isinstance(bound, str) and not isinstance(settings.get(bound), int | float):
                raise UserError(f"{origin}: the bound '{bound}' is no setting with a number")
    _check_points(params, settings)
    _check_baseline(dimensions, settings)


def _check_key(key: str, origin: str, settings: dict[str, Any]) -> None:
    if key not in settings:
        raise UserError(f"{origin} is no setting; did you mean '{nearest(key, list(settings))}'?")
    if key in NOT_SEARCHED:
        raise UserError(f"{origin} is not searched: {NOT_SEARCHED[key]}")
    if key.partition(".")[0] not in SEARCHED:
        raise UserError(f"{origin} cannot be searched, it changes more than the training; sections: {SEARCHED}")


def _check_points(params: SearchParams, settings: dict[str, Any]) -> None:
    """Samples points, corners among them, and builds the settings of each."""
    rng = np.random.default_rng(0)
    for number in range(CHECKED_POINTS):
        values: dict[str, Any] = {}
        for dimension in params.tune.space:
            if not _applies(dimension, settings | values):
                continue
            distribution = _distribution(dimension, settings | values)
            # 0 and 1 are the corners with all values low and all high
            share = float(number) if number < 2 else float(rng.choice([0.0, 1.0, rng.random()]))
            values[dimension.key] = _at(distribution, share)
        try:
            with_values(params, values)
        except UserError as error:
            point = ", ".join(f"{key} = {json.dumps(value)}" for key, value in values.items())
            raise UserError(f"tune.space holds a point that is not valid ({point}): {error}") from None


def _at(distribution: BaseDistribution, share: float) -> Any:
    """The value at a share (0: the lowest or first, 1: the highest or last) of a distribution."""
    if isinstance(distribution, CategoricalDistribution):
        return plain(distribution.choices[min(int(share * len(distribution.choices)), len(distribution.choices) - 1)])
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    value = distribution.low + share * (distribution.high - distribution.low)
    return rounded(value) if isinstance(distribution, FloatDistribution) else int(value)


def _check_baseline(dimensions: Dimensions, settings: dict[str, Any]) -> None:
    for dimension in dimensions:
        if not _applies(dimension, settings):
            continue
        distribution, value = _distribution(dimension, settings), settings[dimension.key]
        if isinstance(distribution, CategoricalDistribution):
            valid = category(value) in distribution.choices
        else:
            assert isinstance(distribution, FloatDistribution | IntDistribution)
            valid = isinstance(value, int | float) and distribution.low <= value <= distribution.high
        if not valid:
            raise UserError(
                f"tune.space: {dimension.key}: {_described(distribution)} leaves out {json.dumps(value)}, the value in "
                "params.yaml, with which every search begins"
            )


def _described(distribution: BaseDistribution) -> str:
    if isinstance(distribution, CategoricalDistribution):
        return json.dumps([plain(choice) for choice in distribution.choices])
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return f"[{distribution.low}, {distribution.high}]"


def _bounds(dimension: Range | Choice) -> list[float | str]:
    return [] if isinstance(dimension, Choice) else [dimension.low, dimension.high]


def _applies(dimension: Range | Choice, settings: dict[str, Any]) -> bool:
    """Whether the setting is searched where the others have these values."""
    return all(settings[key] in values for key, values in dimension.when.items())


def _distribution(dimension: Range | Choice, settings: dict[str, Any]) -> BaseDistribution:
    """What Optuna samples from, where earlier settings have these values."""
    if isinstance(dimension, Choice):
        return CategoricalDistribution([category(choice) for choice in dimension.choices])
    low, high = (float(settings[bound]) if isinstance(bound, str) else bound for bound in _bounds(dimension))
    assert not isinstance(low, str) and not isinstance(high, str)
    if low > high or (dimension.log and low <= 0):
        rule = "0 < low <= high" if dimension.log else "low <= high"
        raise UserError(f"tune.space: {dimension.key}: low is {low} and high {high}; expected {rule}")
    if dimension.type == "int":
        if math.ceil(low) > math.floor(high):
            raise UserError(f"tune.space: {dimension.key}: no whole number lies in [{low}, {high}]")
        return IntDistribution(math.ceil(low), math.floor(high), log=dimension.log)
    return FloatDistribution(low, high, log=dimension.log)


def category(choice: Any) -> CategoricalChoiceType:
    """Optuna takes plain values alone as categories: lists become their JSON."""
    return json.dumps(choice) if isinstance(choice, list | dict) else choice


def plain(value: Any) -> Any:
    """The other way round."""
    return json.loads(value) if isinstance(value, str) and value[:1] in "[{" else value


def rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def suggest(trial: optuna.Trial, dimensions: Dimensions, settings: dict[str, Any]) -> dict[str, Any]:
    """One value for each setting that applies."""
    values: dict[str, Any] = {}
    for dimension in dimensions:
        if not _applies(dimension, settings | values):
            continue
        distribution = _distribution(dimension, settings | values)
        if isinstance(distribution, CategoricalDistribution):
            values[dimension.key] = plain(trial.suggest_categorical(dimension.key, distribution.choices))
        elif isinstance(distribution, IntDistribution):
            values[dimension.key] = trial.suggest_int(
                dimension.key, distribution.low, distribution.high, log=distribution.log
            )
        else:
            assert isinstance(distribution, FloatDistribution)
            value = trial.suggest_float(dimension.key, distribution.low, distribution.high, log=distribution.log)
            values[dimension.key] = rounded(value)
    return values


def baseline(params: SearchParams) -> dict[str, Any]:
    """The values in params.yaml of the settings that are searched: the first trial of every search."""
    settings = config.flatten(params)
    return {d.key: settings[d.key] for d in params.tune.space if _applies(d, settings)}


def with_values(params: SearchParams, values: Mapping[str, Any]) -> SearchParams:
    """`params` with other values under dotted keys, checked as a whole."""
    settings = config.as_nested(params)
    for key, value in values.items():
        settings = config.merge(settings, config.nested(key, value), origin="tune.space")
    return config.build(SearchParams, settings, origin="tune.space")


def widest(trials: Sequence[FrozenTrial]) -> dict[str, BaseDistribution]:
    """Of each setting the range that holds all ranges it was sampled from."""
    found: dict[str, BaseDistribution] = {}
    for trial in trials:
        for key, new in trial.distributions.items():
            old = found.get(key, new)
            if isinstance(old, FloatDistribution) and isinstance(new, FloatDistribution):
                new = FloatDistribution(min(old.low, new.low), max(old.high, new.high), log=new.log)
            elif isinstance(old, IntDistribution) and isinstance(new, IntDistribution):
                new = IntDistribution(min(old.low, new.low), max(old.high, new.high), log=new.log)
            found[key] = new
    return found
