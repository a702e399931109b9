"""How sure are we: intervals and comparisons that respect scenes.

Takes of one scene are alike, so n clips are worth fewer than n independent ones. The bootstrap here samples whole
scenes: the error is that of a test on other scenes of the same kind. Results depend on the data and `seed` alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

EXACT_SCENES = 12
"""Up to so many scenes with a difference, `compare` goes through every pattern of signs (4096) instead of drawing."""


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


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Accuracy of a minus accuracy of b on the same clips. p_value tests that they do not differ, scene by scene;
    mcnemar_p, the exact test of McNemar, clip by clip: as if clips of one scene were independent (both two-sided)."""

    difference: float
    low: float
    high: float
    p_value: float
    mcnemar_p: float
    n: int
    scenes: int


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
    right_SG, count_SG = _scene_counts(correct_SN, scene_SN)
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


def compare(
    correct_a_N: ArrayLike,
    correct_b_N: ArrayLike,
    scene_N: ArrayLike,
    *,
    bootstrap_samples: int,
    confidence: float,
    seed: int,
) -> Comparison:
    """Paired comparison of two models on the same clips: bootstrap interval of the difference of accuracies over
    scenes, and the p-value of a test that swaps a and b in whole scenes (sign flips of the scenes' differences).

    Raises:
        ValueError: for no clips or arrays of different lengths.
    """
    right_SG, count_SG = _scene_counts([correct_a_N, correct_b_N], [scene_N, scene_N])
    difference_G, count_G = right_SG[0] - right_SG[1], count_SG[0]
    num_scenes, n = len(count_G), int(count_G.sum())
    rng = np.random.default_rng(seed)
    weights_RG = _resampled(rng, num_scenes, bootstrap_samples)
    low, high = _percentiles((weights_RG @ difference_G) / (weights_RG @ count_G), num_scenes, confidence)
    if num_scenes == 1:
        low, high = -1.0, 1.0
    return Comparison(
        difference=float(difference_G.sum() / n),
        low=low,
        high=high,
        p_value=_sign_flip_p(difference_G, rng, bootstrap_samples),
        mcnemar_p=mcnemar_p(correct_a_N, correct_b_N),
        n=n,
        scenes=num_scenes,
    )


def mcnemar_p(correct_a_N: ArrayLike, correct_b_N: ArrayLike) -> float:
    """Two-sided p-value of the exact test of McNemar (1947): of the clips that one alone gets right, is one's share
    more than chance?"""
    a_N, b_N = np.asarray(correct_a_N, bool), np.asarray(correct_b_N, bool)
    only_a, only_b = int((a_N & ~b_N).sum()), int((b_N & ~a_N).sum())
    return float(stats.binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def _sign_flip_p(difference_G: NDArray[np.float64], rng: np.random.Generator, bootstrap_samples: int) -> float:
    """Two-sided p-value of sum(difference_G) when the sign of each scene's difference is a coin toss."""
    nonzero = difference_G[difference_G != 0]
    if len(nonzero) == 0:
        return 1.0
    observed = abs(nonzero.sum()) - 1e-9
    if len(nonzero) <= EXACT_SCENES:
        signs = np.array(list(product((-1.0, 1.0), repeat=len(nonzero))))
        return float((np.abs(signs @ nonzero) >= observed).mean())
    signs = rng.choice([-1.0, 1.0], size=(bootstrap_samples, len(nonzero)))
    return float((1 + (np.abs(signs @ nonzero) >= observed).sum()) / (1 + bootstrap_samples))


def _scene_counts(
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
