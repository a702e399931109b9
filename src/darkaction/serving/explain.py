"""Why a model names an action: a picture of the video's frames, as filmed and under heat, above a line of time."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray

from darkaction.core.errors import UserError
from darkaction.data.video import Frames, iter_frames
from darkaction.enhancement.apply import enhance_and_resize
from darkaction.evaluation.style import BLUE, GREY, ORANGE, percent, png_figure
from darkaction.models.explanation import Explanation, explain, overlay
from darkaction.serving.answers import Prediction
from darkaction.serving.predictor import Predictor
from darkaction.training.sampling import BLANK, generator

SHOWN = 8
"""Frames in the picture, at equal distances."""

WIDTH, GAP = 240, 4
"""Pixels of each, of which some are white."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The frames of a video that a network is shown of the whole of it, T of them."""

    numbers_T: NDArray[np.int64]
    small_THWC: Frames  # enhanced, as the network sees them
    raw: dict[int, Frames]  # by place in T, those in the picture
    enhanced: dict[int, Frames]


def write_explanation(predictor: Predictor, video: Path, prediction: Prediction, target: Path) -> None:
    """Writes the picture of the most probable class, a PNG file: heat and attention are means over the networks.

    The video is shown whole, without blank frames, unlike in the draws whose mean is the answer.

    Raises:
        UserError: for a model of optical flow, or of a network that keeps no places.
    """
    seen = look(predictor, iter_frames(video), prediction.frames)
    draw(
        seen,
        explanation_of(predictor, seen, int(prediction.probabilities_K.argmax())),
        title=f"{video.name}: {prediction.label} {prediction.probabilities_K.max():.0%}",
        fps=prediction.fps,
        target=target,
    )


def explanation_of(predictor: Predictor, seen: Seen, answer: int) -> Explanation:
    """Of the class number `answer`; means over the networks.

    Raises:
        UserError: as `explain`.
    """
    clip_1CTHW = torch.from_numpy(seen.small_THWC.transpose(3, 0, 1, 2).copy())[None]
    answer_1 = torch.tensor([answer])
    found = [explain(net, clip_1CTHW.to(place), answer_1.to(place))[0] for net, place in predictor.networks_alike()]
    attention = [own.attention_T for own in found if own.attention_T is not None]
    return Explanation(
        heat_THW=np.mean([own.heat_THW for own in found], axis=0),
        attention_T=np.mean(attention, axis=0) if attention else None,
    )


def look(predictor: Predictor, frames: Iterable[Frames], num_frames: int) -> Seen:
    """Goes through the frames_HWC of a video once and keeps what is needed.

    Raises:
        UserError: for a model of optical flow.
    """
    card = predictor.card
    if card.model.input == "rgb_flow":
        raise UserError("--explain: this model also sees optical flow; a model of colours or movement can be explained")
    whole = dataclasses.replace(card.sampler(), strategy="length_adjusted")
    numbers_T = whole.draw_test(num_frames, generator(seed=0, epoch=0, clip_id="", draw=0), 0, 1)
    numbers_T = numbers_T[numbers_T != BLANK]
    places = np.unique(np.linspace(0, len(numbers_T) - 1, SHOWN).round().astype(int)).tolist()
    small: dict[int, Frames] = {}
    raw: dict[int, Frames] = {}
    enhanced: dict[int, Frames] = {}
    wanted = set(numbers_T.tolist())
    for number, frame_HWC in enumerate(frames):
        if number not in wanted:
            continue
        small[number] = enhance_and_resize(
            frame_HWC[None], predictor.enhancer, height=card.enhance.height, width=card.enhance.width
        )[0]
        for place in places:
            if numbers_T[place] == number:
                raw[place], enhanced[place] = _sized(frame_HWC), _sized(predictor.enhancer(frame_HWC[None])[0])
    return Seen(
        numbers_T=numbers_T,
        small_THWC=np.stack([small[number] for number in numbers_T.tolist()]),
        raw=raw,
        enhanced=enhanced,
    )


def _sized(frame_HWC: Frames) -> Frames:
    """A frame WIDTH pixels wide with its white right border."""
    height, width = frame_HWC.shape[:2]
    size = (WIDTH, max(1, round(height * WIDTH / width)))
    sized_HWC = np.asarray(cv2.resize(frame_HWC, size, interpolation=cv2.INTER_AREA), np.uint8)
    sized_HWC[:, -GAP:] = 255
    return sized_HWC


def draw(seen: Seen, found: Explanation, *, title: str, fps: float, target: Path) -> None:
    """Frames as filmed, frames under their heat, and how heat and attention are spread over time."""
    raw_HWC = np.concatenate(list(seen.raw.values()), axis=1)
    hot_HWC = np.concatenate([overlay(seen.enhanced[t], found.heat_THW[t]) for t in seen.enhanced], axis=1)
    tall = raw_HWC.shape[0] / raw_HWC.shape[1]
    with png_figure(target, width=11.0, height=11.0 * 2 * tall + 2.2) as figure:
        above, middle, below = figure.subplots(3, 1, height_ratios=(11 * tall, 11 * tall, 1.5))
        for axis, strip_HWC in ((above, raw_HWC), (middle, hot_HWC)):
            axis.imshow(strip_HWC, interpolation="antialiased")
            axis.set_axis_off()
        above.set_title(title)
        _draw_time(below, seen, found, fps)


def _draw_time(axis: Axes, seen: Seen, found: Explanation, fps: float) -> None:
    unit = "seconds" if fps > 0 else "frames"
    time_T = seen.numbers_T / (fps if fps > 0 else 1)
    heat_T = found.heat_THW.mean((1, 2))
    axis.plot(time_T, heat_T / max(heat_T.sum(), 1e-12), color=ORANGE, label="heat")
    if found.attention_T is not None:
        axis.plot(time_T, found.attention_T, color=BLUE, label="BERT's attention")
    axis.axhline(1 / len(time_T), color=GREY, linewidth=0.8, linestyle=":", label="even")
    for place in seen.raw:
        axis.axvline(time_T[place], color=GREY, linewidth=0.4)
    axis.set(xlabel=unit, ylabel="share", ylim=(0, None), xlim=(time_T[0], max(time_T[-1], time_T[0] + 1e-6)))
    percent(axis.yaxis, decimals=None)
    axis.legend(ncols=3, loc="upper right", fontsize=8)
