"""Charts as inline SVG whose text is text and whose colours follow the page, in the light as in the dark.

Small and narrow, so that they stay legible on a phone; the page puts several side by side. Equal input gives equal
bytes.
"""

import io
import re
from collections.abc import Callable, Mapping
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from darkaction.evaluation.style import BLUE, GREY, GRID, INK, ORANGE, STYLE

PAGE_COLOURS = {
    INK: "var(--ink)",
    GREY: "var(--muted)",
    GRID: "var(--line)",
    BLUE: "var(--blue)",
    ORANGE: "var(--orange)",
}
"""The project's colours and the names under which the page's style sheet has them."""

SVG_STYLE: dict[Any, Any] = STYLE | {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "darkaction",
}

CURVE_POINTS = 160


def frame_lengths(lengths: Mapping[str, NDArray[np.integer]]) -> Markup:
    """Figure 4 of the paper: how many frames the clips of each class have, one curve a class, with the median.

    Args:
        lengths: class -> frames of each clip.
    """
    longest = max(int(values.max()) for values in lengths.values())
    x = np.linspace(0, 1.08 * longest, CURVE_POINTS)
    curves = {name: density(values, x) for name, values in lengths.items()}
    tallest = max(float(curve.max()) for curve in curves.values())
    label = "Distribution of the number of frames for each class"

    def draw(axis: Axes) -> None:
        for row, (name, curve) in enumerate(reversed(curves.items())):
            top = row + 1.1 * curve / tallest
            axis.fill_between(x, row, top, color=BLUE, alpha=0.28, linewidth=0, zorder=2 * (len(curves) - row))
            axis.plot(x, top, color=BLUE, linewidth=1.2, zorder=2 * (len(curves) - row) + 1)
            median = float(np.median(lengths[name]))
            axis.plot([median, median], [row, row + 0.45], color=ORANGE, linewidth=2, zorder=99)
            axis.annotate(f"{median:.0f}", (x[-1], row), (0, 3), textcoords="offset points", ha="right", color=ORANGE)
        axis.set_yticks(range(len(curves)), list(reversed(curves)))
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
        axis.set(xlabel="frames of the clip", xlim=(0, x[-1]), ylim=(-0.05, len(curves) + 0.2))
        axis.grid(axis="x")

    return chart("lengths", draw, label=label, width=4.9, height=0.75 + 0.42 * len(lengths))


def density(values: NDArray[np.integer], x: NDArray[np.floating]) -> NDArray[np.float64]:
    """Gaussian kernel density of `values` at the points `x`, Silverman's bandwidth, at least 1.5 points wide."""
    spread = min(float(values.std()), float(np.subtract(*np.percentile(values, [75, 25]))) / 1.34)
    bandwidth = max(0.9 * spread * len(values) ** -0.2, 1.5 * float(x[1] - x[0]))
    kernels_NX = np.exp(-0.5 * ((x - values[:, np.newaxis]) / bandwidth) ** 2)
    result: NDArray[np.float64] = kernels_NX.mean(0) / (bandwidth * np.sqrt(2 * np.pi))
    return result


def attention(name: str, weights_AS: NDArray[np.floating], *, strongest: float) -> Markup:
    """What each head's CLS query gives to CLS itself and to every time step, as strength of colour.

    Args:
        name: the class.
        weights_AS: rows of sum 1; the first column is CLS.
        strongest: the weight in full colour, the same for all classes.
    """
    heads, keys = weights_AS.shape
    label = f"Attention of each head over time for the class {name}"

    def draw(axis: Axes) -> None:
        edges = np.r_[0.0, 1.0, np.arange(keys - 1) + 2.4]  # a gap between CLS and the time steps
        starts = np.r_[0.0, np.arange(keys - 1) + 1.4]
        for head, row_S in enumerate(weights_AS):
            for start, weight in zip(starts, row_S.tolist(), strict=True):
                alpha = round(min(1.0, weight / strongest), 2)
                axis.bar(start, 0.92, width=0.94, bottom=head, align="edge", color=BLUE, alpha=alpha, linewidth=0)
        axis.set(xlim=(0, edges[-1]), ylim=(heads, 0), title=name)
        axis.set_xticks([starts[0] + 0.5, starts[1] + 0.5, starts[-1] + 0.5], ["CLS", "start", "end"], fontsize=8)
        axis.set_yticks(np.arange(heads) + 0.46, [str(head + 1) for head in range(heads)], fontsize=8)
        axis.set_ylabel("head", fontsize=8)
        axis.tick_params(length=0, pad=2)
        axis.spines[:].set_visible(False)

    return chart(f"attention-{name}", draw, label=label, width=2.35, height=0.72 + 0.165 * heads)


def chart(name: str, draw: Callable[[Axes], None], *, label: str, width: float, height: float) -> Markup:
    """What `draw` draws, as SVG of `width` x `height` inches. `name` is unique on the page."""
    written = io.StringIO()
    with matplotlib.rc_context(SVG_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.subplots())
        figure.savefig(written, format="svg", metadata={"Date": None})
    return for_page(written.getvalue(), name=name, label=label)


def for_page(svg: str, *, name: str, label: str) -> Markup:
    """Matplotlib's SVG without its prologue, with the page's colours, ids of its own, and the size left to the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<g|<path) id="[^"]*(?:_\d+)"', r"\1", svg)  # names of parts, to which nothing refers
    name = re.sub(r"\W", "-", name)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace('href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    for colour, variable in PAGE_COLOURS.items():
        svg = svg.replace(colour, variable)
    found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert found is not None, "matplotlib wrote no viewBox"
    size = f'style="width: {float(found[1]) * 4 / 3:.0f}px"'  # from points, 4/3 of a pixel, to pixels
    start = f'<svg viewBox="{found[0][9:-1]}" {size} role="img" aria-label="{escape(label)}">'
    return Markup(start + svg[svg.index(">") + 1 :])  # nosec  # matplotlib escapes its texts
