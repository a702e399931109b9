"""How sure are we of an accuracy: intervals that respect scenes; comparison.py compares two methods.

Takes of one scene are alike, so n clips are worth fewer than n independent ones. The bootstrap here samples whole
scenes: the error is that of a test on other scenes of the same kind. Results depend on the data and `seed` alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

FEW_SCENES = 5
"""An interval over fewer scenes covers too little (70 % with 2 scenes, 80 % with 3), so figures do not draw it."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean with its confidence interval, all in [0, 1] for an accuracy; n values in `scenes` scenes."""

    mean: float
    low: float
    high: float
    n: int
    scenes: int

    def __str__(self) -> str:
        return f"{self.mean:.1%} [{self.low:.1%}, {self.high:.1%}], n={self.n} in {self.scenes} scenes"


def accuracy_interval(
    correct_N: ArrayLike, scene_N: ArrayLike, *, bootstrap_samples: int, confidence: float, seed: int
) -> Interval:
    """Accuracy of one set of predictions with a scene-clustered bootstrap interval.

    The percentile interval of few scenes is too narrow, so its percentiles are moved outwards as Hesterberg (2015,
    "What Teachers Should Know About the Bootstrap", section 4.3) says. Where the bootstrap is blind something wider
    takes its place: the interval is never narrower than Wilson's for as many independent clips (scenes may be alike by
    chance); all right or all wrong gives the exact binomial bound of that event over scenes; one scene alone tells
    nothing about others and gives [0, 1].

    Args:
        correct_N: (N,) right or wrong.
        scene_N: (N,) the scene of each clip.
        bootstrap_samples: how many.
        confidence: for example 0.95.
        seed: of the resampling.

    Raises:
        ValueError: for no clips or arrays of different lengths.
    """
    return seeds_interval([correct_N], [scene_N], bootstrap_samples=bootstrap_samples, confidence=confidence, seed=seed)


def seeds_interval(
    correct_SN: Sequence[ArrayLike],
    scene_SN: Sequence[ArrayLike],
    *,
    bootstrap_samples: int,
    confidence: float,
    seed: int,
) -> Interval:
    """Mean accuracy over S trainings that differ in their seed, with an interval for other seeds and other scenes.

    Seeds and scenes are resampled independently of each other (the pigeonhole bootstrap: Owen 2007, Annals of Applied
    Statistics 1(2)), since all seeds see the same scenes; the seeds' test clips may differ. n counts the clips of all
    seeds. Otherwise as `accuracy_interval`.

    Raises:
        ValueError: for no seeds, no clips or arrays of different lengths.
    """
    if not correct_SN or len(correct_SN) != len(scene_SN):
        raise ValueError(
            f"{len(correct_SN)} sets of results and {len(scene_SN)} of scenes; expected as many, at least 1"
        )
    right_SG, count_SG = scene_counts(correct_SN, scene_SN)
    num_seeds, num_scenes = right_SG.shape
    mean = float((right_SG.sum(1) / count_SG.sum(1)).mean())
    rng = np.random.default_rng(seed)
    scene_weights_RG = _resampled(rng, num_scenes, bootstrap_samples)
    seed_weights_RS = _resampled(rng, num_seeds, bootstrap_samples)
    count_RS = scene_weights_RG @ count_SG.T
    seed_weights_RS = np.where(count_RS > 0, seed_weights_RS, 0)  # a resample without a clip of that seed
    accuracy_RS = (scene_weights_RG @ right_SG.T) / np.maximum(count_RS, 1)
    kept = seed_weights_RS.sum(1) > 0
    means_R = (accuracy_RS * seed_weights_RS)[kept].sum(1) / seed_weights_RS[kept].sum(1)
    low, high = _percentiles(means_R, num_scenes, confidence)
    independent_low, independent_high = _wilson(mean, float(count_SG.sum(1).mean()), confidence)
    low, high = min(low, independent_low), max(high, independent_high)
    if num_scenes == 1:
        low, high = 0.0, 1.0
    elif mean in (0.0, 1.0):
        bound = ((1 - confidence) / 2) ** (1 / num_scenes)
        low, high = (bound, 1.0) if mean == 1.0 else (0.0, 1 - bound)
    return Interval(mean=mean, low=low, high=high, n=int(count_SG.sum()), scenes=num_scenes)


def scene_counts(
    correct_SN: Sequence[ArrayLike], scene_SN: Sequence[ArrayLike]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Right answers and clips by seed and scene, each (S, G); 0 where a seed has no clip of a scene."""
    pairs = [(np.asarray(c, dtype=float), np.asarray(s).astype(str)) for c, s in zip(correct_SN, scene_SN, strict=True)]
    for correct_N, scene_N in pairs:
        if correct_N.shape != scene_N.shape or correct_N.ndim != 1 or len(correct_N) == 0:
            raise ValueError(
                f"results of shape {correct_N.shape} and scenes of shape {scene_N.shape}; expected one scene a result, "
                "and at least one"
            )
    names = np.unique(np.concatenate([scene_N for _, scene_N in pairs]))
    right_SG = np.zeros((len(pairs), len(names)))
    count_SG = np.zeros_like(right_SG)
    for row, (correct_N, scene_N) in enumerate(pairs):
        position_N = np.searchsorted(names, scene_N)
        np.add.at(right_SG[row], position_N, correct_N)
        np.add.at(count_SG[row], position_N, 1)
    return right_SG, count_SG


def _resampled(rng: np.random.Generator, count: int, bootstrap_samples: int) -> NDArray[np.float64]:
    """How often each of `count` items is in each of `bootstrap_samples` samples with replacement, (R, count)."""
    return rng.multinomial(count, np.full(count, 1 / count), size=bootstrap_samples).astype(float)


def _percentiles(values_R: NDArray[np.float64], scenes: int, confidence: float) -> tuple[float, float]:
    """The expanded percentile interval: normal quantiles replaced by t quantiles times sqrt(G / (G - 1))."""
    tail = (1 - confidence) / 2
    if scenes > 1:
        tail = float(stats.norm.cdf(math.sqrt(scenes / (scenes - 1)) * stats.t.ppf(tail, scenes - 1)))
    low, high = np.quantile(values_R, [tail, 1 - tail])
    return float(low), float(high)


def _wilson(mean: float, n: float, confidence: float) -> tuple[float, float]:
    """Wilson's interval (1927) of a fraction `mean` of n independent trials."""
    z = float(stats.norm.ppf((1 + confidence) / 2))
    centre = (mean + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(mean * (1 - mean) / n + z * z / (4 * n * n))
    return centre - half, centre + half


def with_interval(found: Mapping[str, float]) -> str:
    """`71.0% [62.1%, 79.0%]` of figures with these names."""
    return f"{found['accuracy']:.1%} [{found['low']:.1%}, {found['high']:.1%}]"
