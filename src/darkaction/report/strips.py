"""What each sampling strategy takes of a clip (figure 5 of the paper). T slots of the network, N frames of the clip."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darkaction.core.paths import Paths
from darkaction.data.clips import ClipStore
from darkaction.data.video import Frames
from darkaction.params import Params
from darkaction.report import pictures
from darkaction.report.inputs import records
from darkaction.report.published import SAMPLING
from darkaction.training.sampling import BLANK, Sampler, generator
from darkaction.training.settings import Sampling

THUMBNAIL = 72
"""Pixels of a frame's width; where T is above FEW_SLOTS half of it, else the page grows too large."""

FEW_SLOTS = 32
QUALITY = 72
"""Of the JPEGs."""


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One frame as the network gets it; number and picture are None where it is blank."""

    number: int | None
    picture: str | None


@dataclass(frozen=True, kw_only=True)
class Strip:
    """One strategy on one clip: the slots of the first test draw, and the frames of every test draw on a timeline."""

    strategy: str
    published: float | None  # accuracy in percent, table 2 of the paper, on ARID
    slots: list[Slot]
    draws: list[list[float]]  # for each draw the places of its frames in the clip, in percent
    kept: int
    blank: int
    step: float  # frames from one kept frame to the next, on average
    first: int  # the first kept frame
    last: int


@dataclass(frozen=True, kw_only=True)
class SampledClip:
    """A clip with a strip for every strategy."""

    clip_id: str
    label: str
    frames: int
    aspect: float  # width over height of the raw video
    strips: list[Strip]


def shortest_and_longest(test: pd.DataFrame, sampler: Sampler, params: Params, paths: Paths) -> list[SampledClip]:
    """The shortest and the longest clip, with a strip for every strategy; of equal ones the first by name."""
    ordered = test.sort_values(["frames", "clip_id"])
    longest = ordered[ordered["frames"] == ordered["frames"].max()]
    chosen = pd.concat([ordered.head(1), longest.head(1)]).drop_duplicates("clip_id")
    return [sampled_clip(row, sampler, params, paths) for row in records(chosen)]


def sampled_clip(row: dict[str, Any], sampler: Sampler, params: Params, paths: Paths) -> SampledClip:
    """A clip of the store with what each strategy takes of it."""
    frames_NHWC = ClipStore(paths.read(Paths.clips(row["dataset"]))).load(row["clip_id"])
    return SampledClip(
        clip_id=row["clip_id"],
        label=row["label"],
        frames=len(frames_NHWC),
        aspect=row["width"] / row["height"],
        strips=draw_strips(
            frames_NHWC,
            sampler,
            get_args(Sampling.__annotations__["strategy"]),
            SAMPLING,
            clip_id=row["clip_id"],
            seed=params.seed,
            num_draws=params.sampling.test_draws,
        ),
    )


def draw_strips(
    frames_NHWC: Frames,
    sampler: Sampler,
    strategies: Sequence[str],
    published: Mapping[str, float],
    *,
    clip_id: str,
    seed: int,
    num_draws: int,
) -> list[Strip]:
    """The strips of one clip, drawn with the random numbers that `evaluate` draws with."""
    strips = []
    for strategy in strategies:
        own = dataclasses.replace(sampler, strategy=strategy)
        draws = [
            own.draw_test(len(frames_NHWC), generator(seed=seed, epoch=0, clip_id=clip_id, draw=draw), draw, num_draws)
            for draw in range(num_draws)
        ]
        strips.append(_strip(frames_NHWC, strategy, draws, published.get(strategy)))
    return strips


def _strip(frames_NHWC: Frames, strategy: str, draws: list[NDArray[np.int64]], published: float | None) -> Strip:
    indices_T, total = draws[0], len(frames_NHWC)
    width = THUMBNAIL if len(indices_T) <= FEW_SLOTS else THUMBNAIL // 2
    shown = indices_T[indices_T != BLANK]
    step = float(np.diff(shown).mean()) if len(shown) > 1 else float(total)
    return Strip(
        strategy=strategy,
        published=published,
        slots=[
            Slot(number=None, picture=None)
            if index == BLANK
            else Slot(number=index, picture=pictures.jpeg(frames_NHWC[index], width=width, quality=QUALITY))
            for index in indices_T.tolist()
        ],
        draws=[[round(100 * (index + 0.5) / total, 2) for index in draw.tolist() if index != BLANK] for draw in draws],
        kept=len(shown),
        blank=len(indices_T) - len(shown),
        step=step,
        first=int(shown[0]),
        last=int(shown[-1]),
    )
