"""How often the project's decisions are wrong where the truth is known: simulated methods, trainings and scenes.

    python benchmarks/false_positives.py               2000 simulations of each case, some minutes
    python benchmarks/false_positives.py --runs 400    fewer

A clip is classified correctly with a probability whose logit is the sum of the method's, the scene's, the training's
(its seed) and the method's in this scene. Three decisions are simulated with the functions that make them:

- a table calls two methods different (p < 0.05), where both are the same method. Beside it the crossed bootstrap, and
  what resampling scenes alone gives;
- `tune.py --apply` writes the best of 20 equal trials;
- ten models in a row ask for promotion, each a little worse than the one before.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from darkaction.core import cli
from darkaction.evaluation.comparison import compare
from darkaction.serving.registry import judge_comparison
from darkaction.tracking.settings import Registry

SEED_SPREADS = (0.0, 0.2, 0.4, 0.8)
"""Standard deviations of a training's logit; the project's own trainings show 0.3 to 0.5."""

SCENE_SPREAD, LOGIT = 1.0, 0.8
"""Standard deviation between scenes, and the mean: about 67 % accuracy."""

TRIALS = 20
CRITERION = Registry(name="simulation", margin=0.02, significance_level=0.05)

Correct = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class World:
    """Scenes with as many clips each, and how much trainings and methods differ in them."""

    scenes: int
    clips: int = 12
    seed_spread: float = 0.4
    method_spread: float = 0.0  # of one method's logit from scene to scene

    @property
    def scene_N(self) -> NDArray[np.int64]:
        return np.repeat(np.arange(self.scenes), self.clips)

    def scene_logits(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """(G,) what all methods share."""
        return rng.normal(LOGIT, SCENE_SPREAD, self.scenes)

    def trainings(
        self, rng: np.random.Generator, scene_logit_G: NDArray[np.float64], *, seeds: int, gain: float = 0.0
    ) -> list[Correct]:
        """Right or wrong, `seeds` arrays of (N,), of a method whose logit is higher by `gain`."""
        own_G = scene_logit_G + gain + rng.normal(0, self.method_spread, self.scenes)
        logit_SG = own_G + rng.normal(0, self.seed_spread, (seeds, 1))
        chance_SN = 1 / (1 + np.exp(-np.repeat(logit_SG, self.clips, axis=1)))
        return list(rng.random(chance_SN.shape) < chance_SN)


def twice(world: World, rng: np.random.Generator, *, seeds: int) -> tuple[list[Correct], list[Correct]]:
    """One method as if it were two."""
    scene_logit_G = world.scene_logits(rng)
    return (
        world.trainings(rng, scene_logit_G, seeds=seeds),
        world.trainings(rng, scene_logit_G, seeds=seeds),
    )


def differs(world: World, rng: np.random.Generator, *, seeds: int) -> bool:
    """Whether a comparison calls a method different from itself."""
    a, b = twice(world, rng, seeds=seeds)
    return compare(a, b, world.scene_N, confidence=0.95).p_value < 0.05


def others_differ(world: World, rng: np.random.Generator, *, seeds: int) -> tuple[bool, bool]:
    """Whether the crossed bootstrap, and a test over scenes alone, call a method different from itself."""
    a, b = twice(world, rng, seeds=seeds)
    difference_SG = (np.array(a, float) - np.array(b, float)).reshape(seeds, world.scenes, -1).mean(2)
    return (
        _crossed_bootstrap(difference_SG, rng),
        bool(stats.ttest_1samp(difference_SG.mean(0), 0).pvalue < 0.05),
    )


def _crossed_bootstrap(difference_SG: NDArray[np.float64], rng: np.random.Generator, resamples: int = 400) -> bool:
    """Whether 0 is outside the interval of the mean that resamples seeds and scenes independently."""
    seeds, scenes = difference_SG.shape
    weight_RS = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples)
    weight_RG = rng.multinomial(scenes, np.full(scenes, 1 / scenes), size=resamples)
    means_R = ((weight_RS @ difference_SG) * weight_RG).sum(1) / (seeds * scenes)
    return bool(abs(difference_SG.mean()) > stats.t.ppf(0.975, scenes - 1) * means_R.std())


def applied(world: World, rng: np.random.Generator, *, confirm_seeds: int = 5) -> tuple[bool, bool]:
    """Whether the highest of TRIALS equal trials is called better than the first, and whether it is still when both are
    trained again, tested in other scenes."""
    scene_logit_G = world.scene_logits(rng)
    trials = [world.trainings(rng, scene_logit_G, seeds=1) for _ in range(TRIALS)]
    highest = max(range(TRIALS), key=lambda number: trials[number][0].mean())
    if highest == 0:
        return False, False
    gain = compare(trials[highest], trials[0], world.scene_N, confidence=1 - 0.05 / (TRIALS - 1))
    if gain.low <= 0:
        return False, False
    others_G = world.scene_logits(rng)
    again = [world.trainings(rng, others_G, seeds=confirm_seeds) for _ in range(2)]
    return True, compare(again[0], again[1], world.scene_N, confidence=0.95).low > 0


def promotions(world: World, rng: np.random.Generator, *, models: int, worse: float) -> float:
    """What ten promotions in a row cost: the last champion's expected accuracy less the first's. Each candidate's logit
    is `worse` than the champion's at that time; all are tested on the same clips."""
    scene_logit_G = world.scene_logits(rng)
    first = champion = rng.normal(0, world.seed_spread)
    held = _tested(world, rng, scene_logit_G + champion)
    for _ in range(models):
        candidate = champion - worse + rng.normal(0, world.seed_spread)
        tested = _tested(world, rng, scene_logit_G + candidate)
        if judge_comparison(compare([tested], [held], world.scene_N, confidence=0.9), CRITERION)[0]:
            champion, held = candidate, tested
    accuracies = [float((1 / (1 + np.exp(-(scene_logit_G + logit)))).mean()) for logit in (champion, first)]
    return accuracies[0] - accuracies[1]


def passes(world: World, rng: np.random.Generator, *, gain: float) -> bool:
    """Whether a model passes whose logit is higher than the champion's by `gain`."""
    scene_logit_G = world.scene_logits(rng)
    candidate, champion = (_tested(world, rng, scene_logit_G + logit) for logit in (gain, 0.0))
    return judge_comparison(compare([candidate], [champion], world.scene_N, confidence=0.9), CRITERION)[0]


def _tested(world: World, rng: np.random.Generator, logit_G: NDArray[np.float64]) -> Correct:
    chance_N = 1 / (1 + np.exp(-np.repeat(logit_G, world.clips)))
    return np.asarray(rng.random(len(chance_N)) < chance_N)


def share(function: Callable[[np.random.Generator], bool], runs: int) -> float:
    """Of `runs` simulations, each with a generator of its own."""
    return float(np.mean([function(np.random.default_rng(number)) for number in range(runs)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=cli.positive, default=2000, metavar="N", help="simulations of each case")
    runs = parser.parse_args().runs
    print("one method against itself, 12 clips a scene: called different at p < 0.05")
    print("| scenes | seeds | seed sd | compare | crossed bootstrap | scenes alone |\n|---|---|---|---|---|---|")
    for scenes, seeds in ((14, 5), (14, 3), (6, 5), (30, 5)):
        for spread in SEED_SPREADS:
            world = World(scenes=scenes, seed_spread=spread)
            own = share(lambda rng, w=world, s=seeds: differs(w, rng, seeds=s), runs)
            others = np.mean([others_differ(world, np.random.default_rng(n), seeds=seeds) for n in range(runs)], axis=0)
            shares = [f"{value:.1%}" for value in (own, *others)]
            print(f"| {scenes} | {seeds} | {spread} | {' | '.join(shares)} |", flush=True)
    print(f"\nthe best of {TRIALS} equal trials, 12 clips a scene")
    print("| scenes | seed sd | called better | applied after the confirmation |\n|---|---|---|---|")
    for scenes in (6, 20):
        for spread in SEED_SPREADS:
            world = World(scenes=scenes, seed_spread=spread)
            found_T2 = np.array([applied(world, np.random.default_rng(number)) for number in range(runs)])
            print(f"| {scenes} | {spread} | {found_T2[:, 0].mean():.1%} | {found_T2[:, 1].mean():.1%} |", flush=True)
    print(f"\npromotion with a margin of {100 * CRITERION.margin:g} points: share of models that pass")
    print("| scenes | 10 points worse | 5 worse | 2 worse | equal | 5 better |\n|---|---|---|---|---|---|")
    for scenes in (14, 60, 240):
        world = World(scenes=scenes)
        gains = [points / 0.19 for points in (-0.10, -0.05, -0.02, 0.0, 0.05)]  # 1 in the logit is 19 points here
        shares = [f"{share(lambda rng, w=world, g=gain: passes(w, rng, gain=g), runs):.1%}" for gain in gains]
        print(f"| {scenes} | {' | '.join(shares)} |", flush=True)
    print("\nten models ask for promotion in a row: accuracy of the last champion less the first's")
    print("| scenes | each worse by | mean | share that lost more than 2 points |\n|---|---|---|---|")
    for scenes in (14, 60):
        for worse in (0.0, 0.1):
            world = World(scenes=scenes)
            lost = [promotions(world, np.random.default_rng(n), models=10, worse=worse) for n in range(runs)]
            print(f"| {scenes} | {worse * 0.19:.1%} | {np.mean(lost):+.1%} | {np.mean(np.array(lost) < -0.02):.1%} |")


if __name__ == "__main__":
    cli.run(main)
