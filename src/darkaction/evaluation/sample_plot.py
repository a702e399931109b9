"""A picture of some clips: their frames, raw and enhanced, and what the network says of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from darkaction.evaluation.style import BLUE, GREY, GRID, ORANGE, png_figure

SAMPLE_FRAMES = 6
"""Frames of a clip shown in a strip."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A clip to show: its frames at `sample_positions`, each frames_NHWC uint8, raw (None where the raw video is not at
    hand) and as the network sees them, with the class probabilities (K,)."""

    clip_id: str
    label: str
    raw_NHWC: NDArray[np.uint8] | None
    enhanced_NHWC: NDArray[np.uint8]
    probabilities_K: NDArray[np.floating]


def sample_positions(num_frames: int) -> list[int]:
    """Numbers of SAMPLE_FRAMES frames at equal distances over a whole clip."""
    return [int((k + 0.5) / SAMPLE_FRAMES * num_frames) for k in range(SAMPLE_FRAMES)]


def samples(clips: Sequence[Sample], classes: Sequence[str], path: Path) -> None:
    """One row a clip: its frames raw and enhanced, and the class probabilities; a wrong prediction is orange."""
    if not clips:
        raise ValueError("no clips to show")
    with png_figure(path, width=8.6, height=1.95 * len(clips)) as figure:
        rows = figure.subfigures(len(clips), 1, squeeze=False, hspace=0.02)[:, 0]
        for part, clip in zip(rows, clips, strict=True):
            strip, bars = part.subplots(1, 2, width_ratios=(4.2, 1))
            _draw_strip(strip, clip)
            _draw_bars(bars, clip, classes)


def _draw_strip(axis: Axes, clip: Sample) -> None:
    """Raw frames over enhanced ones, each strip 1 wide; the enhanced get back the shape the raw ones had before they
    were resized for the network."""
    enhanced_HWC = _strip(clip.enhanced_NHWC)
    bands = {"enhanced": enhanced_HWC}
    if clip.raw_NHWC is not None:
        bands = {"raw": _strip(clip.raw_NHWC), **bands}
    first_HWC = next(iter(bands.values()))
    tall = first_HWC.shape[0] / first_HWC.shape[1]
    for top, (name, band_HWC) in zip(-1.04 * tall * np.arange(len(bands)), bands.items(), strict=True):
        axis.imshow(band_HWC, extent=(0, 1, top - tall, top), interpolation="antialiased")
        axis.text(-0.01, top - tall / 2, name, rotation=90, ha="right", va="center", fontsize=9, color=GREY)
    axis.set(xlim=(0, 1), ylim=(-1.04 * tall * len(bands), 0), aspect="equal")
    axis.set_anchor("NE")
    axis.set_axis_off()
    axis.set_title(clip.clip_id, fontsize=9, fontweight="normal", color=GREY, pad=4)


def _draw_bars(axis: Axes, clip: Sample, classes: Sequence[str]) -> None:
    predicted = int(clip.probabilities_K.argmax())
    right = classes[predicted] == clip.label
    colours = [GRID] * len(classes)
    colours[predicted] = BLUE if right else ORANGE
    axis.barh(range(len(classes)), clip.probabilities_K, color=colours, height=0.75)
    axis.set_yticks(range(len(classes)), classes, fontsize=8)
    for tick, name in zip(axis.get_yticklabels(), classes, strict=True):
        tick.set_fontweight("bold" if name == clip.label else "normal")
    axis.invert_yaxis()
    axis.set(xlim=(0, 1), xticks=[])
    axis.tick_params(length=0)
    axis.spines["bottom"].set_visible(False)
    verdict = f"{classes[predicted]} {clip.probabilities_K[predicted]:.0%}"
    text = verdict if right else f"{verdict}, is {clip.label}"
    axis.set_title(text, loc="right", fontsize=9.5, color=BLUE if right else ORANGE, pad=4)


def _strip(frames_NHWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames side by side with a thin white line between them."""
    gap = max(1, frames_NHWC.shape[2] // 40)
    padded_NHWC = np.pad(frames_NHWC, ((0, 0), (0, 0), (0, gap), (0, 0)), constant_values=255)
    return np.concatenate(list(padded_NHWC), axis=1)[:, :-gap]
