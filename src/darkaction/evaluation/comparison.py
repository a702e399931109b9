"""Is one method better than another? For other scenes of the same kind and, with several trainings each, for other
trainings.

Every training of both methods is tested on the same clips, so seeds and scenes are crossed: all seeds see all scenes.
The variance of a difference has a part from scenes and a part from seeds, and both count. Without the seeds' part a
method is called better than itself in up to three of four comparisons (benchmarks/false_positives.py).

Legend of names: S trainings (seeds), N clips, G scenes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from darkaction.evaluation.statistics import scene_counts

ENOUGH_SEEDS = 5
"""Fewer trainings say little about other trainings; tables mark such comparisons."""

MOST_SCENES = 10_000
"""`scenes_needed` looks no further."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Accuracy of a minus accuracy of b on the same clips.

    low, high: the confidence interval. Of one training each it holds for these trainings only.
    p_value: two-sided, that there is no difference.
    mcnemar_p: of the exact test of McNemar, clip by clip, as if clips of one scene were independent; of one training
        each, else None.
    scene_variance, seed_variance: parts of the squared standard error.
    degrees: of freedom of the t distribution that the interval and the p-value are of.
    n: predictions of each method, in `scenes` scenes.
    """

    difference: float
    low: float
    high: float
    p_value: float
    mcnemar_p: float | None
    scene_variance: float
    seed_variance: float
    degrees: float
    n: int
    scenes: int
    seeds: int

    def p_at_most(self, value: float) -> float:
        """One-sided p-value that the difference is `value` or less: small where a is better than that."""
        error = math.sqrt(self.scene_variance + self.seed_variance)
        if error == 0:
            return _bound_p(self.difference - value, self.scenes) / 2 if self.difference > value else 1.0
        return float(stats.t.sf((self.difference - value) / error, self.degrees))

    def scenes_needed(self, difference: float, *, confidence: float, power: float = 0.8) -> int | None:
        """Scenes like these, with as many clips, in which a true difference as large as `difference` is found with
        probability `power`; None where no number suffices, because the trainings differ too much."""
        scenes = np.arange(2, MOST_SCENES + 1)
        quantiles = stats.t.ppf((1 + confidence) / 2, scenes - 1) + stats.t.ppf(power, scenes - 1)
        errors = np.sqrt(self.scene_variance * self.scenes / scenes + self.seed_variance)
        enough = scenes[quantiles * errors <= difference]
        return int(enough[0]) if len(enough) else None


def compare(
    correct_a_SN: Sequence[ArrayLike], correct_b_SN: Sequence[ArrayLike], scene_N: ArrayLike, *, confidence: float
) -> Comparison:
    """Two methods, each trained S times and tested on the same N clips.

    Seeds and scenes are crossed random effects. The variance of the mean difference is the part between scenes and, of
    the part between seeds, what exceeds their interaction with scenes, which both contain; the degrees of freedom are
    Satterthwaite's. It is the test for readers and cases of medical imaging (Hillis 2007, "A comparison of denominator
    degrees of freedom methods for multiple observer ROC analysis"). A crossed bootstrap counts the interaction three
    times and makes few seeds too narrow: at a level of 5 % it errs in 0 to 11 % (benchmarks/false_positives.py). Where
    all scenes have the same difference no variance can be estimated, and the exact binomial bound of an event that no
    scene shows takes its place. One scene alone tells nothing about others.

    Args:
        correct_a_SN, correct_b_SN: right or wrong, S arrays of (N,); a and b of a pair have the same seed.
        scene_N: (N,) the scene of each clip.
        confidence: of the interval, for example 0.95.

    Raises:
        ValueError: for no trainings, no clips or arrays of different lengths.
    """
    if len(correct_a_SN) != len(correct_b_SN) or len(correct_a_SN) == 0:
        raise ValueError(f"{len(correct_a_SN)} trainings and {len(correct_b_SN)}; expected as many, at least 1")
    seeds = len(correct_a_SN)
    right_SG, count_SG = scene_counts([*correct_a_SN, *correct_b_SN], [scene_N] * (2 * seeds))
    difference_SG, count_G = right_SG[:seeds] - right_SG[seeds:], count_SG[0]
    n, scenes = int(count_G.sum()) * seeds, len(count_G)
    difference = float(difference_SG.sum() / n)
    scene_variance, seed_variance, degrees = _variances(difference_SG - difference * count_G)
    scene_variance, seed_variance = scene_variance / n**2, seed_variance / n**2
    error = math.sqrt(scene_variance + seed_variance)
    tail = (1 - confidence) / 2
    if scenes == 1:
        half, p_value = 2.0, 1.0
    elif error == 0:
        half, p_value = 1 - tail ** (1 / scenes), _bound_p(difference, scenes)
    else:
        half = float(stats.t.ppf(1 - tail, degrees)) * error
        p_value = float(2 * stats.t.sf(abs(difference) / error, degrees))
    return Comparison(
        difference=difference,
        low=max(difference - half, -1.0),
        high=min(difference + half, 1.0),
        p_value=p_value,
        mcnemar_p=mcnemar_p(correct_a_SN[0], correct_b_SN[0]) if seeds == 1 else None,
        scene_variance=scene_variance,
        seed_variance=seed_variance,
        degrees=degrees,
        n=n,
        scenes=scenes,
        seeds=seeds,
    )


def _variances(deviation_SG: NDArray[np.float64]) -> tuple[float, float, float]:
    """Variances of a sum over crossed seeds and scenes, from the terms' deviations from their mean: the part between
    scenes, what seeds add to it, and the degrees of freedom. Both parts are 0 where nothing varies."""
    seeds, scenes = deviation_SG.shape
    if scenes == 1:
        return 0.0, 0.0, 1.0
    of_seed_S, of_scene_G = deviation_SG.sum(1), deviation_SG.sum(0)
    scene_part = float((of_scene_G**2).sum()) * scenes / (scenes - 1)
    if seeds == 1:
        return _no_noise(scene_part), 0.0, scenes - 1.0
    seed_part = float((of_seed_S**2).sum()) * seeds / (seeds - 1)
    rest_SG = deviation_SG - of_seed_S[:, None] / scenes - of_scene_G / seeds + deviation_SG.mean()
    interaction = float((rest_SG**2).sum()) * seeds * scenes / ((seeds - 1) * (scenes - 1))
    added = _no_noise(max(seed_part - interaction, 0.0))
    scene_part = _no_noise(scene_part)
    if scene_part + added == 0:
        return 0.0, 0.0, 1.0
    squares = scene_part**2 / (scenes - 1) + (seed_part**2 / (seeds - 1) if added else 0.0)
    return scene_part, added, (scene_part + added) ** 2 / squares


def _no_noise(value: float) -> float:
    """Zero instead of what rounding leaves of it; the terms are counts of clips."""
    return 0.0 if value < 1e-9 else value


def _bound_p(difference: float, scenes: int) -> float:
    """Two-sided p-value of a difference that all scenes share: a scene that is otherwise may be missing by chance."""
    return min(1.0, 2 * (1 - min(abs(difference), 1.0)) ** scenes)


def mcnemar_p(correct_a_N: ArrayLike, correct_b_N: ArrayLike) -> float:
    """Two-sided p-value of the exact test of McNemar (1947): of the clips that one alone gets right, is one's share
    more than chance?"""
    a_N, b_N = np.asarray(correct_a_N, bool), np.asarray(correct_b_N, bool)
    only_a, only_b = int((a_N & ~b_N).sum()), int((b_N & ~a_N).sum())
    return float(stats.binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values of several comparisons, adjusted by Holm (1979): with those below 0.05, the probability that any of them
    is a mistake is at most 0.05."""
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    adjusted = np.minimum(1, np.maximum.accumulate(np.asarray(p_values, float)[order] * factors))
    return [float(value) for value in adjusted[np.argsort(order, kind="stable")]]
