"""A picture of what the enhancement does."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from darkaction.enhancement.training import light
from darkaction.video import Frames

ROWS, COLUMNS = 3, 2
FRAMES = ROWS * COLUMNS
"""Frames on a contact sheet."""


def write_contact_sheet(path: Path, raw_NHWC: Frames, enhanced_NHWC: Frames) -> None:
    """Draws frames raw | enhanced in pairs, each with its mean luma and contrast, as PNG."""
    figure = Figure(figsize=(11, 8.2), layout="constrained")
    axes = figure.subplots(ROWS, 2 * COLUMNS, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for i, pair in enumerate(zip(raw_NHWC[:FRAMES], enhanced_NHWC[:FRAMES], strict=True)):
        for axis, name, frame in zip(axes[2 * i : 2 * i + 2], ("raw", "enhanced"), pair, strict=True):
            measured = light(frame[np.newaxis])
            axis.imshow(frame, vmin=0, vmax=255)
            axis.set_title(f"{name}: luma {measured.luma:.0f}, contrast {measured.contrast:.0f}", fontsize=9)
    figure.suptitle("Training frames, raw and enhanced (mean and standard deviation of luma, of 255)")
    FigureCanvasAgg(figure).print_png(path)
