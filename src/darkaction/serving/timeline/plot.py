"""The picture of a timeline: which action is how probable when."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MultipleLocator

from darkaction.evaluation.style import COLOURS, GREY, INK, percent, png_figure
from darkaction.serving.timeline.segments import UNSURE, Segment, Timeline
from darkaction.serving.timeline.windows import clock

MINUTES_FROM = 180
"""Seconds of a video above which the axis has minutes."""

STEPS = (30, 60, 120, 300, 600, 900, 1800, 3600)
"""Seconds between the numbers of such an axis."""


def plot(path: Path, timeline: Timeline, title: str, unsure_below: float) -> None:
    """The probability of every class that is an answer somewhere, or the most probable one; the others are grey."""
    segments = timeline.segments(unsure_below)
    width = 1.8 if len(timeline.probabilities_MK) <= 100 else 1
    named = {segment.label for segment in segments}
    with png_figure(path, width=10, height=4.5) as figure:
        answers, axes = figure.subplots(2, 1, sharex=True, height_ratios=(1, 7))
        for k, name in enumerate(timeline.classes):
            values_M = timeline.probabilities_MK[:, k]
            if name in named:
                axes.stairs(values_M, timeline.edges, baseline=None, color=colour(k), linewidth=width, label=name)
            else:
                axes.stairs(values_M, timeline.edges, baseline=None, color=GREY, linewidth=0.6)
        axes.axhline(
            1 / len(timeline.classes),
            color=INK,
            linestyle=":",
            linewidth=1,
            label=f"chance ({1 / len(timeline.classes):.0%})",
        )
        axes.axhline(unsure_below, color=INK, linestyle="--", linewidth=1, label=f"{UNSURE} below")
        axes.set(xlim=(0, timeline.edges[-1]), ylim=(0, 1), ylabel="probability", xlabel="time in seconds")
        if (end := timeline.edges[-1]) > MINUTES_FROM:
            axes.xaxis.set_major_locator(MultipleLocator(next((step for step in STEPS if end <= 8 * step), STEPS[-1])))
            axes.xaxis.set_major_formatter(lambda seconds, _: clock(seconds)[:-2])
            axes.set_xlabel("time in minutes:seconds")
        percent(axes.yaxis)
        if len(named) < len(timeline.classes):
            axes.plot([], [], color=GREY, linewidth=0.6, label="other actions")
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
        answers.set_title(title)
        _plot_answers(answers, timeline, segments)


def _plot_answers(axes: Axes, timeline: Timeline, segments: list[Segment]) -> None:
    """A bar with the answers."""
    for segment in segments:
        known = segment.answer != UNSURE
        shade = colour(timeline.classes.index(segment.label)) if known else "#e4e8eb"
        axes.barh(
            0, segment.end - segment.start, left=segment.start, height=1, color=shade, edgecolor="white", linewidth=0.5
        )
        if (segment.end - segment.start) / timeline.edges[-1] > 0.012 * len(segment.answer):
            middle = (segment.start + segment.end) / 2
            axes.text(middle, 0, segment.answer, ha="center", va="center", color="white" if known else INK, fontsize=9)
    axes.axis("off")


def colour(k: int) -> str:
    """Of class k in the model's order, as #rrggbb; after the last one the first again."""
    return COLOURS[k % len(COLOURS)]
