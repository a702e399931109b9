"""Comparisons of methods against hand-computed values and simulated truths."""

import false_positives as simulation
import numpy as np
import pytest
from scipy import stats

from darkaction.evaluation.comparison import compare, holm, mcnemar_p

SCENES = np.repeat(np.arange(4), 5)


def test_one_training_each_is_a_t_test_over_scenes() -> None:
    """In four scenes of five clips a is better by 2, 1, 0 and 1 clips."""
    a = [1] * 20
    b = [0, 0, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1]
    found = compare([a], [b], SCENES, confidence=0.95)
    by_hand = stats.ttest_1samp([2, 1, 0, 1], 0)
    assert found.difference == 0.2
    assert found.p_value == pytest.approx(by_hand.pvalue)
    low, high = by_hand.confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(low / 5), pytest.approx(high / 5))
    assert (found.n, found.scenes, found.seeds, found.seed_variance) == (20, 4, 1, 0)
    swapped = compare([b], [a], SCENES, confidence=0.95)
    assert (swapped.difference, swapped.p_value) == (-found.difference, found.p_value)
    assert found.p_at_most(0) == pytest.approx(found.p_value / 2)
    assert found.p_at_most(-0.1) < found.p_at_most(0) < found.p_at_most(0.2) == 0.5


def test_seeds_and_scenes_both_count() -> None:
    """Differences in clips of two trainings (rows) in three scenes of ten clips: 4 2 3 and 1 -1 0. Seeds differ by 3 in
    each scene, scenes by 1: sums 9, 0 and 5, 1, 3, no interaction."""
    a = np.ones((2, 30), bool)
    a[1, 10] = False  # a is worse by one clip in the second scene
    b = np.ones((2, 30), bool)
    for seed, scene, clips in ((0, 0, 4), (0, 1, 2), (0, 2, 3), (1, 0, 1)):
        b[seed, 10 * scene : 10 * scene + clips] = False
    found = compare(list(a), list(b), np.repeat([7, 8, 9], 10), confidence=0.95)
    assert found.difference == pytest.approx(9 / 60)
    assert found.scene_variance * 60**2 == pytest.approx((2**2 + 2**2 + 0) * 3 / 2)
    assert found.seed_variance * 60**2 == pytest.approx(2 * 4.5**2 * 2)
    total = 12 + 81
    assert found.degrees == pytest.approx(total**2 / (12**2 / 2 + 81**2 / 1))
    assert found.mcnemar_p is None
    alone = compare([a.mean(0) > 0.5], [b.mean(0) > 0.5], np.repeat([7, 8, 9], 10), confidence=0.95)
    assert alone.high - alone.low < found.high - found.low


def test_agreement_everywhere_is_no_proof() -> None:
    a = [1, 0, 1, 1] * 5
    found = compare([a], [a], np.repeat(np.arange(5), 4), confidence=0.95)
    assert (found.difference, found.p_value) == (0, 1)
    assert (found.low, found.high) == (pytest.approx(0.025 ** (1 / 5) - 1), pytest.approx(1 - 0.025 ** (1 / 5)))
    alike = compare([[1, 1, 1, 0] * 5], [[1, 1, 0, 0] * 5], np.repeat(np.arange(5), 4), confidence=0.95)
    assert alike.difference == 0.25 and alike.low < 0 < alike.p_value == pytest.approx(2 * 0.75**5)
    one_scene = compare([a], [[1] * 20], ["x"] * 20, confidence=0.95)
    assert (one_scene.low, one_scene.high, one_scene.p_value) == (-1, 1, 1)


def test_scenes_needed_are_those_that_find_the_difference() -> None:
    world = simulation.World(scenes=14)
    rng = np.random.default_rng(0)
    logit_G = world.scene_logits(rng)
    a, b = (world.trainings(rng, logit_G, seeds=1) for _ in range(2))
    found = compare(a, b, world.scene_N, confidence=0.95)
    needed = found.scenes_needed(0.05, confidence=0.95)
    assert needed is not None
    error = (found.scene_variance * 14 / needed) ** 0.5
    power = stats.nct.sf(stats.t.ppf(0.975, needed - 1), needed - 1, 0.05 / error)
    assert power == pytest.approx(0.8, abs=0.01)
    assert compare(a, a, world.scene_N, confidence=0.95).scenes_needed(0.05, confidence=0.95) == 2
    apart = compare([[1] * 168, [0] * 168], [[1] * 168] * 2, world.scene_N, confidence=0.95)
    assert apart.scenes_needed(0.05, confidence=0.95) is None  # the seeds differ too much


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="1 trainings and 2"):
        compare([[1]], [[1], [1]], ["x"], confidence=0.95)
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        compare([[1, 0]], [[1, 0]], ["x"], confidence=0.95)


def test_mcnemar_by_hand() -> None:
    a = [1] * 10 + [0] * 2 + [1] * 5
    b = [0] * 10 + [1] * 2 + [1] * 5
    # 12 clips differ, 10 of them for a: 2 * (C(12,0) + C(12,1) + C(12,2)) / 2^12
    assert mcnemar_p(a, b) == pytest.approx(2 * (1 + 12 + 66) / 4096)
    assert mcnemar_p(a, a) == 1.0
    assert compare([a], [b], list(range(17)), confidence=0.95).mcnemar_p == mcnemar_p(a, b)


def test_holm_by_hand() -> None:
    assert holm([0.03, 0.01, 0.04]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("spread", simulation.SEED_SPREADS)
def test_a_method_differs_from_itself_in_five_of_a_hundred_comparisons(spread: float) -> None:
    """5 % with a margin of 2 for the method and 1.4 (two standard errors) for 1000 simulations."""
    world = simulation.World(scenes=14, seed_spread=spread)
    assert 0.016 < simulation.share(lambda rng: simulation.differs(world, rng, seeds=5), 1000) < 0.084


def test_scenes_alone_are_not_enough() -> None:
    world = simulation.World(scenes=14)
    found = [simulation.others_differ(world, np.random.default_rng(number), seeds=5) for number in range(100)]
    assert np.mean(found, axis=0)[1] > 0.2


@pytest.mark.parametrize("scenes", [6, 20])
def test_the_best_of_equal_trials_is_not_applied(scenes: int) -> None:
    world = simulation.World(scenes=scenes)
    assert np.mean([simulation.applied(world, np.random.default_rng(n))[1] for n in range(150)]) <= 0.05


def test_promotions_in_a_row_do_not_lose_accuracy() -> None:
    lost = [
        simulation.promotions(simulation.World(scenes=14), np.random.default_rng(n), models=10, worse=0.1)
        for n in range(60)
    ]
    assert np.mean(lost) > 0
    assert np.mean(np.array(lost) < -0.02) <= 0.05


def test_a_worse_model_is_not_promoted_and_many_scenes_promote_an_equal_one() -> None:
    def share(scenes: int, gain: float) -> float:
        world = simulation.World(scenes=scenes)
        return simulation.share(lambda rng: simulation.passes(world, rng, gain=gain), 150)

    assert share(14, -0.25) <= 0.05  # five points
    assert share(14, -0.5) <= 0.01
    assert share(240, 0.0) > 0.4 > share(14, 0.0)
