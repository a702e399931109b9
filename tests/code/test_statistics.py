"""Intervals and comparisons against brute force, hand-computed values and simulated truths."""

import math
from itertools import product

import numpy as np
import pytest

from darkaction.evaluation.statistics import accuracy_interval, seeds_interval

SETTINGS = {"bootstrap_samples": 2000, "confidence": 0.95, "seed": 0}


def sampled_scenes(
    rng: np.random.Generator, *, scenes: int, clips: int, spread: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """(correct_N, scene_N, true accuracy): every scene has its own accuracy, logistic-normal around 0.5."""
    chance_G = 1 / (1 + np.exp(-rng.normal(0, spread, scenes)))
    scene_N = np.repeat(np.arange(scenes), clips)
    return rng.random(scenes * clips) < chance_G[scene_N], scene_N, 0.5


def test_mean_and_counts_of_a_known_case() -> None:
    interval = accuracy_interval([1, 1, 0, 1, 0, 0], ["a", "a", "a", "b", "b", "c"], **SETTINGS)
    assert (interval.mean, interval.n, interval.scenes) == (0.5, 6, 3)
    assert 0 <= interval.low < 0.5 < interval.high <= 1
    assert str(interval).startswith("50.0% [") and str(interval).endswith("n=6 in 3 scenes")


def test_interval_equals_a_loop_over_all_resamples() -> None:
    """With 4 scenes all 256 bootstrap samples can be listed; the sampled quantiles must agree with the listed ones."""
    scene_N = np.repeat([0, 1, 2, 3], [30, 20, 40, 10])
    correct_N = np.repeat([1, 0, 0, 1, 1, 0], [20, 10, 15, 5, 38, 12])
    means = []
    for picked in product(range(4), repeat=4):
        clips = np.concatenate([correct_N[scene_N == scene] for scene in picked])
        means.append(clips.mean())
    # 68.27 % of a normal is +-1 sd: t quantile with 3 degrees 1.1969, times sqrt(4/3) = 1.3820, tail 0.08348.
    low, high = np.quantile(means, [0.08348, 1 - 0.08348])
    interval = accuracy_interval(correct_N, scene_N, bootstrap_samples=60000, confidence=0.6827, seed=1)
    assert interval.low == pytest.approx(low, abs=0.02)
    assert interval.high == pytest.approx(high, abs=0.02)


def test_same_seed_same_interval_and_order_does_not_matter() -> None:
    correct_N, scene_N, _ = sampled_scenes(np.random.default_rng(0), scenes=9, clips=7, spread=1.0)
    order = np.random.default_rng(1).permutation(len(correct_N))
    first = accuracy_interval(correct_N, scene_N, **SETTINGS)
    assert accuracy_interval(correct_N[order], scene_N[order], **SETTINGS) == first
    assert accuracy_interval(correct_N, scene_N, bootstrap_samples=2000, confidence=0.95, seed=1) != first


@pytest.mark.parametrize(("scenes", "clips", "spread"), [(12, 18, 1.0), (8, 12, 0.0), (24, 4, 1.5)])
def test_the_interval_covers_the_truth_as_often_as_it_says(scenes: int, clips: int, spread: float) -> None:
    rng = np.random.default_rng(scenes)
    hits = naive_hits = 0
    trials = 300
    for trial in range(trials):
        correct_N, scene_N, truth = sampled_scenes(rng, scenes=scenes, clips=clips, spread=spread)
        interval = accuracy_interval(correct_N, scene_N, bootstrap_samples=600, confidence=0.95, seed=trial)
        hits += interval.low <= truth <= interval.high
        half = 1.96 * math.sqrt(correct_N.mean() * (1 - correct_N.mean()) / len(correct_N))
        naive_hits += abs(correct_N.mean() - truth) <= half
    assert 0.90 <= hits / trials <= 0.99  # 3 standard errors below 0.95 are 0.912
    if spread > 0:
        assert naive_hits < hits - 0.03 * trials  # an interval that takes clips for independent is too narrow


def test_where_the_bootstrap_is_blind() -> None:
    perfect = accuracy_interval(np.ones(20), np.repeat(np.arange(5), 4), **SETTINGS)
    assert (perfect.mean, perfect.high) == (1.0, 1.0)
    assert perfect.low == pytest.approx(0.025 ** (1 / 5))  # Clopper-Pearson, 5 of 5 scenes
    hopeless = accuracy_interval(np.zeros(20), np.repeat(np.arange(5), 4), **SETTINGS)
    assert hopeless.high == pytest.approx(1 - 0.025 ** (1 / 5))
    assert hopeless.low == 0.0
    alike = accuracy_interval([1, 0, 1, 0, 1, 0, 1, 0], np.repeat(np.arange(4), 2), **SETTINGS)
    assert alike.low == pytest.approx(0.2152, abs=1e-4)  # Wilson, 4 of 8: every resample has the mean 0.5
    assert alike.high == pytest.approx(0.7848, abs=1e-4)
    one_scene = accuracy_interval([1, 0, 1, 1], ["7"] * 4, **SETTINGS)
    assert (one_scene.mean, one_scene.low, one_scene.high) == (0.75, 0.0, 1.0)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="at least one"):
        accuracy_interval([], [], **SETTINGS)
    with pytest.raises(ValueError, match=r"shape \(2,\).*shape \(3,\)"):
        accuracy_interval([1, 0], ["a", "b", "c"], **SETTINGS)
    with pytest.raises(ValueError, match="at least 1"):
        seeds_interval([], [], **SETTINGS)


def test_seeds_are_averaged_and_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    scene_N = np.repeat(np.arange(10), 20)
    alike = [rng.random(200) < 0.6 for _ in range(3)]
    apart = [rng.random(200) < accuracy for accuracy in (0.3, 0.6, 0.9)]
    means = [np.mean(a) for a in apart]
    wide = seeds_interval(apart, [scene_N] * 3, **SETTINGS)
    narrow = seeds_interval(alike, [scene_N] * 3, **SETTINGS)
    assert wide.mean == pytest.approx(np.mean(means))
    assert (wide.n, wide.scenes) == (600, 10)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    assert seeds_interval(alike[:1], [scene_N], **SETTINGS) == accuracy_interval(alike[0], scene_N, **SETTINGS)


def test_seeds_with_other_test_scenes() -> None:
    """Each seed has its own scenes; a resample that misses all scenes of a seed leaves that seed out."""
    interval = seeds_interval([[1, 1], [0, 1], [1, 0]], [["a", "b"], ["b", "c"], ["d", "e"]], **SETTINGS)
    assert (interval.mean, interval.n, interval.scenes) == (pytest.approx(2 / 3), 6, 5)
    assert 0 <= interval.low <= interval.mean <= interval.high <= 1


def test_seeds_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(5)
    hits, trials = 0, 200
    for trial in range(trials):
        scene_effect_G = rng.normal(0, 1, 12)
        seed_effect_S = rng.normal(0, 0.5, 3)
        scene_N = np.repeat(np.arange(12), 10)
        chance_SN = 1 / (1 + np.exp(-(seed_effect_S[:, None] + scene_effect_G[scene_N])))
        correct_SN = list(rng.random(chance_SN.shape) < chance_SN)
        interval = seeds_interval(correct_SN, [scene_N] * 3, bootstrap_samples=500, confidence=0.95, seed=trial)
        hits += interval.low <= 0.5 <= interval.high
    assert 0.90 <= hits / trials <= 1.0
