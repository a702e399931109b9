"""What a search has found, and whether that is more than luck."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from darkaction.evaluation.statistics import Comparison, Interval, accuracy_interval, compare
from darkaction.search.study import Scored

MOST_RESAMPLES = 20
"""Times evaluate.bootstrap_samples, for the far percentiles that an interval for many trials asks for."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The highest trial of a search against chance, and against the first, which has the values of params.yaml."""

    highest: Scored
    first: Scored | None
    compared: int  # trials that the highest was chosen from
    chance: float  # what always naming the most frequent class gets of the validation clips
    interval: Interval  # of the highest
    gain: Comparison | None  # of the highest over the first

    @property
    def doubt(self) -> str | None:
        """Why the highest trial is not to be called the best; None when it is."""
        found = self.interval
        own = f"trial {self.highest.number} with {found.mean:.1%} [{found.low:.1%}, {found.high:.1%}]"
        if found.low <= self.chance:
            return f"no trial beats chance, {self.chance:.1%}: the highest is {own}, within noise"
        if self.first is None or self.gain is None:
            return (
                f"the trial with the values of params.yaml did not end well, so there is nothing to compare with: "
                f"the highest is {own}"
            )
        if self.highest.number == self.first.number:
            return f"no trial beats params.yaml: the first, which has its values, is the highest, {own}"
        if self.gain.low <= 0:
            return f"no trial beats params.yaml: the highest is {own}; {self.evidence}: within noise"
        return None

    @property
    def evidence(self) -> str:
        """The comparison with params.yaml in words; empty without one."""
        if self.first is None or self.gain is None:
            return ""
        return (
            f"validation accuracy {self.highest.score:.1%} with its values, {self.first.score:.1%} with those of "
            f"params.yaml: gain {self.gain.difference:+.1%} [{self.gain.low:+.1%}, {self.gain.high:+.1%}] "
            f"({self.gain.n} predictions in {self.gain.scenes} scenes; interval for the best of {self.compared} trials)"
        )


def judge(
    highest: Scored,
    first: Scored | None,
    *,
    compared: int,
    labels_N: ArrayLike,
    scenes_N: Sequence[str],
    bootstrap_samples: int,
    confidence: float,
    seed: int,
) -> Verdict:
    """Compares the highest trial with chance and with the first one, on the same validation clips.

    The best of many is partly luck, so both intervals hold for all trials at once: their error is divided by the number
    of trials (Bonferroni).

    Args:
        compared: trials that the highest was chosen from.
        labels_N: (N,) class of each prediction in `Scored.right`.
        scenes_N: (N,) its scene.
        bootstrap_samples: how many, for one trial alone.
        confidence: of the intervals, for example 0.95.
        seed: of the resampling.
    """
    others = max(1, compared - 1)
    settings = {"bootstrap_samples": bootstrap_samples * min(others, MOST_RESAMPLES), "seed": seed}
    error = 1 - confidence
    _, counts_K = np.unique(np.asarray(labels_N), return_counts=True)
    return Verdict(
        highest=highest,
        first=first,
        compared=compared,
        chance=float(counts_K.max() / counts_K.sum()),
        interval=accuracy_interval(highest.right, scenes_N, confidence=1 - error / max(1, compared), **settings),
        gain=None
        if first is None
        else compare(highest.right, first.right, scenes_N, confidence=1 - error / others, **settings),
    )
