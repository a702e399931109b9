"""A picture of what the enhancement does."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from darkaction.data.video import Frames
from darkaction.enhancement import Enhancer
from darkaction.enhancement.checks import light

ROWS, COLUMNS = 3, 2
FRAMES = ROWS * COLUMNS
"""Frames on a contact sheet."""


def write_contact_sheet(path: Path, enhance: Enhancer, frames: Sequence[Frames]) -> None:
    """Draws up to FRAMES frames (each frame_HWC uint8) raw | enhanced, with their luma and contrast, as PNG."""
    figure = Figure(figsize=(11, 8.2), layout="constrained")
    axes = figure.subplots(ROWS, 2 * COLUMNS, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for i, frame in enumerate(frames[:FRAMES]):
        raw_NHWC = frame[np.newaxis]
        pair = {"raw": raw_NHWC, "enhanced": enhance(raw_NHWC)}
        for axis, (name, shown_NHWC) in zip(axes[2 * i : 2 * i + 2], pair.items(), strict=True):
            measured = light(shown_NHWC)
            axis.imshow(shown_NHWC[0])
            axis.set_title(f"{name}: luma {measured.luma:.0f}, contrast {measured.contrast:.0f}", fontsize=9)
    figure.suptitle("Training frames, raw and enhanced (mean and standard deviation of luma, of 255)")
    FigureCanvasAgg(figure).print_png(path)
