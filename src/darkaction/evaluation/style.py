"""The looks of the project's figures: colours, type, whiskers, percentages, and PNG files.

Figures are made without pyplot, so nothing is kept open and no display is needed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

INK, PAPER, GRID = "#1f2933", "#ffffff", "#dde3e8"
BLUE, ORANGE, GREY = "#2f6f9f", "#d9722e", "#8795a1"
COLOURS = (
    ORANGE, BLUE, "#3a8f5c", "#8a5aa8", "#b8942a", "#c2566f", "#3aa0a0", "#6b6b2f", "#9c6b4f", "#4f5fae", "#1d2a6b",
)  # fmt: skip
"""Of the lines of a chart, in their order: as many as the generator has actions."""

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}

WHISKER: dict[str, Any] = {"fmt": "none", "ecolor": INK, "elinewidth": 1.2, "capsize": 3}
"""Of an interval, for `errorbar`."""

DPI = 120


def interval_lengths(table: pd.DataFrame) -> NDArray[np.float64]:
    """How far the interval reaches below and above: columns accuracy, low, high -> (2, rows)."""
    below, above = table["accuracy"] - table["low"], table["high"] - table["accuracy"]
    lengths: NDArray[np.float64] = np.clip(np.stack([below.to_numpy(), above.to_numpy()]), 0, None)
    return lengths


def percent(axis: Axis, *, decimals: int | None = 0) -> None:
    """Fractions along `axis` as percentages."""
    axis.set_major_formatter(PercentFormatter(1, decimals=decimals))


@contextmanager
def png_figure(path: Path, *, width: float, height: float) -> Iterator[Figure]:
    """A figure in the style of the project, `width` x `height` inches, saved as PNG when the block ends."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        figure.savefig(path, dpi=DPI, format="png", metadata={"Software": None})
