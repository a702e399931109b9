"""Pictures of results as PNG, in one style. Every function takes plain tables or arrays and the path to write.

Figures are made without pyplot, so nothing is kept open and no display is needed.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from darkaction.evaluation.statistics import Interval

INK, PAPER, GRID = "#1f2933", "#ffffff", "#dde3e8"
BLUE, ORANGE, GREY = "#2f6f9f", "#d9722e", "#8795a1"
LINES = (BLUE, ORANGE)

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

DPI = 120

SAMPLE_FRAMES = 6
"""Frames of a clip shown in a strip."""


ROOMS_SHOWN = 8
"""Test clips shown with the training clip filmed in the most similar room."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A clip to show: its frames at `sample_positions`, each frames_NHWC uint8, raw (None where the raw video is not at
    hand) and as the network sees them, with the class probabilities (K,)."""

    clip_id: str
    label: str
    raw_NHWC: NDArray[np.uint8] | None
    enhanced_NHWC: NDArray[np.uint8]
    probabilities_K: NDArray[np.floating]


def confusion_matrix(counts_KK: NDArray[np.int64], classes: Sequence[str], path: Path) -> None:
    """Actual classes in rows, predicted ones in columns; colour is the fraction of the row, the number is clips."""
    totals_K1 = counts_KK.sum(1, keepdims=True)
    fraction_KK = counts_KK / np.maximum(totals_K1, 1)
    side = 2.6 + 0.55 * len(classes)
    with _figure(path, width=side + 0.6, height=side) as figure:
        axis = figure.subplots()
        image = axis.imshow(fraction_KK, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(counts_KK.shape):
            if counts_KK[row, column]:
                colour = PAPER if fraction_KK[row, column] > 0.55 else INK
                axis.text(column, row, str(counts_KK[row, column]), ha="center", va="center", color=colour)
        numbers = np.arange(len(classes))
        axis.set_xticks(numbers, classes, rotation=45, ha="right", rotation_mode="anchor")
        axis.set_yticks(numbers, [f"{name} ({total})" for name, total in zip(classes, totals_K1[:, 0], strict=True)])
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        axis.set(xlabel="predicted", ylabel="actual (clips)", title="Confusion matrix")
        bar = figure.colorbar(image, ax=axis, shrink=0.75, format=PercentFormatter(1), label="of the actual class")
        bar.outline.set_visible(False)


def per_class(table: pd.DataFrame, *, overall: float, confidence: float, path: Path) -> None:
    """Accuracy of each class with its interval, best first, and the overall accuracy as a line.

    Args:
        table: columns class, n, accuracy, low, high (metrics.per_class).
    """
    table = table.sort_values(["accuracy", "class"], ascending=[True, False])
    with _figure(path, width=7.5, height=1.5 + 0.42 * len(table)) as figure:
        axis = figure.subplots()
        places = np.arange(len(table))
        axis.barh(places, table["accuracy"], color=BLUE, height=0.62)
        axis.errorbar(table["accuracy"], places, xerr=_errors(table), fmt="none", ecolor=INK, elinewidth=1.2, capsize=3)
        axis.axvline(overall, color=ORANGE, linewidth=1.4, linestyle="--", label=f"all classes: {overall:.1%}")
        axis.set_yticks(places, [f"{name} ({n})" for name, n in zip(table["class"], table["n"], strict=True)])
        axis.set_title(f"Accuracy by class, with {confidence:.0%} intervals over scenes")
        axis.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)
        axis.tick_params(axis="y", length=0)
        axis.set_xlim(0, 1.02)
        axis.xaxis.set_major_formatter(PercentFormatter(1))
        axis.grid(axis="x")


def learning_curves(history_csv: Path, path: Path) -> None:
    """Loss, accuracy and learning rate over the epochs.

    Args:
        history_csv: columns epoch, train_loss, train_accuracy, learning_rate and, where there are validation clips,
            val_loss and val_accuracy.
    """
    history = pd.read_csv(history_csv)
    marker = "o" if len(history) < 3 else None  # a line of one point is invisible
    with _figure(path, width=11, height=3.4) as figure:
        loss, accuracy, rate = figure.subplots(1, 3)
        for part, name, colour in (("train", "training", BLUE), ("val", "validation", ORANGE)):
            if f"{part}_loss" in history:
                loss.plot(history["epoch"], history[f"{part}_loss"], color=colour, label=name, marker=marker)
                accuracy.plot(history["epoch"], history[f"{part}_accuracy"], color=colour, label=name, marker=marker)
        rate.plot(history["epoch"], history["learning_rate"], color=GREY, marker=marker)
        loss.set(title="Loss", ylim=(0, None))
        accuracy.set(title="Accuracy", ylim=(0, 1.02))
        accuracy.yaxis.set_major_formatter(PercentFormatter(1))
        rate.set(title="Learning rate", ylim=(0, None))
        rate.ticklabel_format(axis="y", scilimits=(-2, 3))
        loss.legend()
        for axis in (loss, accuracy, rate):
            axis.set_xlabel("epoch")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.grid()


def accuracy_by_draws(table: pd.DataFrame, *, path: Path) -> None:
    """Accuracy against the number of sampling draws averaged.

    Args:
        table: columns draws, accuracy (metrics.accuracy_by_draws).
    """
    with _figure(path, width=6, height=3.6) as figure:
        axis = figure.subplots()
        axis.plot(table["draws"], table["accuracy"], color=BLUE, marker="o")
        for draws, value in zip(table["draws"], table["accuracy"], strict=True):
            axis.annotate(f"{value:.1%}", (draws, value), (0, 7), textcoords="offset points", ha="center", fontsize=9)
        spread = max(float(table["accuracy"].max() - table["accuracy"].min()), 0.02)
        axis.set_ylim(table["accuracy"].min() - spread, table["accuracy"].max() + spread)
        axis.set(xlabel="sampling draws averaged", title="Accuracy by number of draws")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.yaxis.set_major_formatter(PercentFormatter(1))
        axis.margins(x=0.08)
        axis.grid(axis="y")


def reliability(before: pd.DataFrame, after: pd.DataFrame, *, errors: tuple[float, float], path: Path) -> None:
    """Accuracy against confidence; on the diagonal a network is as often right as it says.

    Args:
        before: columns low, high, confidence, accuracy, n (metrics.reliability), of the softmax.
        after: the same of the calibrated probabilities.
        errors: the calibration errors of the two.
        path: where to write.
    """
    with _figure(path, width=4.8, height=4.4) as figure:
        axis = figure.subplots()
        axis.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
        for table, error, name, colour in zip(
            (before, after), errors, ("softmax", "calibrated"), (GREY, BLUE), strict=True
        ):
            axis.plot(table["confidence"], table["accuracy"], color=colour, marker="o", label=f"{name}: {error:.1%}")
        for row in after.to_dict("records"):
            place = (row["confidence"], row["accuracy"])
            axis.annotate(f"n={row['n']}", place, (6, -10), textcoords="offset points", fontsize=8, color=GREY)
        axis.set(xlim=(0, 1.08), ylim=(0, 1.05), xlabel="probability of the predicted class", ylabel="accuracy")
        axis.set_title("Expected calibration error")
        axis.legend(frameon=False, loc="upper left")
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_formatter(PercentFormatter(1))
        axis.grid()


def accuracy_by_luma(table: pd.DataFrame, *, confidence: float, path: Path) -> None:
    """Accuracy against the mean luma of the raw clips, in groups from dark to bright.

    Args:
        table: columns luma, luma_from, luma_to, n, accuracy, low, high (metrics.accuracy_by_luma).
    """
    with _figure(path, width=6.5, height=3.8) as figure:
        axis = figure.subplots()
        places = np.arange(len(table))
        axis.bar(places, table["accuracy"], color=BLUE, width=0.62)
        axis.errorbar(places, table["accuracy"], yerr=_errors(table), fmt="none", ecolor=INK, elinewidth=1.2, capsize=3)
        groups = zip(table["luma_from"], table["luma_to"], table["n"], strict=True)
        axis.set_xticks(places, [f"{low:.0f} to {high:.0f}\nn={n}" for low, high, n in groups])
        axis.tick_params(axis="x", length=0)
        axis.set(xlabel="mean luma of the raw clip, of 255", ylim=(0, 1.04))
        axis.set_title(f"Accuracy by darkness, with {confidence:.0%} intervals over scenes")
        axis.yaxis.set_major_formatter(PercentFormatter(1))
        axis.grid(axis="y")


def samples(clips: Sequence[Sample], classes: Sequence[str], path: Path) -> None:
    """One row a clip: its frames raw and enhanced, and the class probabilities; a wrong prediction is orange."""
    if not clips:
        raise ValueError("no clips to show")
    with _figure(path, width=8.6, height=1.95 * len(clips)) as figure:
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


def leakage(
    report: Mapping[str, Mapping[str, Any]],
    rooms: Mapping[str, Interval],
    *,
    chance: float,
    used: str,
    path: Path,
) -> None:
    """Splits side by side: what the averaged frame alone names, and test clips with a near copy in training.

    Args:
        report: by split, with test_clips and near_duplicates.
        rooms: by split, the accuracy of the background-only baseline.
        chance: accuracy of guessing.
        used: the split in use.
        path: where to write.
    """
    names = list(report)
    labels = [f"{name}\n(in use)" if name == used else name for name in names]
    colours = [BLUE if name == used else GREY for name in names]
    with _figure(path, width=8.4, height=3.4) as figure:
        left, right = figure.subplots(1, 2)
        means = [rooms[name].mean for name in names]
        below = [rooms[name].mean - rooms[name].low for name in names]
        above = [rooms[name].high - rooms[name].mean for name in names]
        left.bar(labels, means, color=colours, width=0.55, yerr=[below, above], capsize=4, ecolor=INK)
        left.axhline(chance, color=ORANGE, label="guessing")
        left.legend(loc="upper left")
        left.set_title("Named by the averaged frame alone")
        left.set_ylim(0, 1.2)
        left.set_yticks(np.linspace(0, 1, 6))
        left.yaxis.set_major_formatter(PercentFormatter(1))
        near = [report[name]["near_duplicates"] / max(report[name]["test_clips"], 1) for name in names]
        bars = right.bar(labels, near, color=colours, width=0.55)
        right.bar_label(bars, [f"{report[name]['near_duplicates']} of {report[name]['test_clips']}" for name in names])
        right.set_title("Test clips with a near copy in training")
        right.set_ylim(0, 1)
        right.yaxis.set_major_formatter(PercentFormatter(1))


def nearest_rooms(table: pd.DataFrame, images: Mapping[str, NDArray[np.floating]], *, path: Path) -> None:
    """Test clips (above) and the training clips with the most similar time-averaged frame (below), brightened.

    Args:
        table: clip_id, label, nearest, predicted; clips evenly spaced in it are shown.
        images: the time-averaged frame_HWC of each clip id, 0 to 255.
        path: where to write.
    """
    chosen = table.iloc[np.unique(np.linspace(0, len(table) - 1, min(len(table), ROOMS_SHOWN)).astype(int))]
    with _figure(path, width=1.5 * len(chosen) + 0.4, height=2.9) as figure:
        axes = figure.subplots(2, len(chosen), squeeze=False)
        for column, row in enumerate(chosen.astype(str).to_dict("records")):
            colour = INK if row["label"] == row["predicted"] else ORANGE
            for axis, shown, label in zip(axes[:, column], ("clip_id", "nearest"), ("label", "predicted"), strict=True):
                picture_HWC = np.asarray(images[row[shown]], np.float32)
                axis.imshow(np.clip(picture_HWC / max(float(picture_HWC.max()), 1.0), 0, 1) ** 0.6)
                axis.set_title(row[shown].rpartition("/")[2], fontsize=7, fontweight="normal")
                axis.set_xlabel(row[label], fontsize=8, color=colour)
                axis.set_xticks([])
                axis.set_yticks([])
        axes[0, 0].set_ylabel("test clip", fontsize=8)
        axes[1, 0].set_ylabel("nearest in training", fontsize=8)


def sample_positions(num_frames: int) -> list[int]:
    """Numbers of SAMPLE_FRAMES frames at equal distances over a whole clip."""
    return [int((k + 0.5) / SAMPLE_FRAMES * num_frames) for k in range(SAMPLE_FRAMES)]


def _strip(frames_NHWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames side by side with a thin white line between them."""
    gap = max(1, frames_NHWC.shape[2] // 40)
    padded_NHWC = np.pad(frames_NHWC, ((0, 0), (0, 0), (0, gap), (0, 0)), constant_values=255)
    return np.concatenate(list(padded_NHWC), axis=1)[:, :-gap]


def _errors(table: pd.DataFrame) -> NDArray[np.float64]:
    """Lengths of the error bars below and above, (2, rows)."""
    below, above = table["accuracy"] - table["low"], table["high"] - table["accuracy"]
    lengths: NDArray[np.float64] = np.clip(np.stack([below.to_numpy(), above.to_numpy()]), 0, None)
    return lengths


@contextmanager
def _figure(path: Path, *, width: float, height: float) -> Iterator[Figure]:
    """A figure in the style of the project, `width` x `height` inches, saved as PNG when the block ends."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        figure.savefig(path, dpi=DPI, format="png", metadata={"Software": None})


def comparison(
    table: pd.DataFrame, *, reference: str, chance: float, confidence: float, title: str, path: Path
) -> None:
    """Systems side by side, each a bar with its interval and a ring where the paper's number is.

    Args:
        table: columns key, row (the name), accuracy, low, high (missing where not run) and published (percent).
        reference: key of the system that the others are compared with, in a colour of its own.
        chance: accuracy of guessing.
    """
    with _figure(path, width=8.2, height=1.5 + 0.36 * len(table)) as figure:
        axis = figure.subplots()
        places = np.arange(len(table))
        colours = [ORANGE if key == reference else BLUE for key in table["key"]]
        accuracy = table["accuracy"].astype(float)
        axis.barh(places, accuracy.fillna(0), color=colours, height=0.62)
        errors = np.stack([accuracy - table["low"].astype(float), table["high"].astype(float) - accuracy])
        axis.errorbar(accuracy, places, xerr=errors, fmt="none", ecolor=INK, elinewidth=1.2, capsize=3)
        published = table["published"].astype(float) / 100
        if published.notna().any():
            axis.plot(published, places, "o", markerfacecolor=PAPER, markeredgecolor=INK, label="the paper, on ARID")
        axis.axvline(chance, color=GREY, linestyle="--", linewidth=1, label="guessing")
        for place in places[accuracy.isna()]:
            axis.text(0.01, place, "not run", va="center", fontsize=9, color=GREY)
        axis.set_yticks(places, table["row"])
        axis.invert_yaxis()
        axis.tick_params(axis="y", length=0)
        axis.set(xlim=(0, 1), xlabel=f"test accuracy, with {confidence:.0%} intervals over seeds and scenes")
        axis.xaxis.set_major_formatter(PercentFormatter(1))
        axis.grid(axis="x")
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")


def curves(
    lines: Mapping[str, Sequence[tuple[int | None, Interval]]],
    *,
    chance: float,
    confidence: float,
    xlabel: str,
    title: str,
    path: Path,
) -> None:
    """Accuracy with its interval against a number, a line for each of up to three names; None, for all there are,
    stands last."""
    colours = (ORANGE, BLUE, GREY)[: len(lines)]
    numbers = sorted({number for points in lines.values() for number, _ in points if number is not None})
    places: dict[int | None, int] = {number: place for place, number in enumerate(numbers)}
    places[None] = len(numbers)
    with _figure(path, width=6.4, height=4.0) as figure:
        axis = figure.subplots()
        for shift, (colour, (name, points)) in enumerate(zip(colours, lines.items(), strict=True)):
            x = [places[number] + 0.06 * shift for number, _ in points]
            mean = [found.mean for _, found in points]
            errors = [[found.mean - found.low for _, found in points], [found.high - found.mean for _, found in points]]
            axis.errorbar(x, mean, yerr=errors, fmt="o-", color=colour, capsize=3, linewidth=1.8, label=name)
        axis.axhline(chance, color=GREY, linestyle="--", linewidth=1, label="guessing")
        axis.set_xticks(range(len(places)), [*(str(number) for number in numbers), "all"])
        axis.set(ylim=(0, 1), xlabel=xlabel, ylabel=f"test accuracy, {confidence:.0%} intervals")
        axis.yaxis.set_major_formatter(PercentFormatter(1))
        axis.grid(axis="y")
        axis.legend(loc="upper right", fontsize=9)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")


def frame_grid(columns: Mapping[str, Sequence[NDArray[np.uint8]]], names: Sequence[str], path: Path) -> None:
    """Frames in rows, each frame_HWC uint8 in several versions: {title of the column: one frame a row}."""
    with _figure(path, width=2.3 * len(columns), height=0.4 + 1.85 * len(names)) as figure:
        grid = figure.subplots(len(names), len(columns), squeeze=False)
        for column, (title, frames) in enumerate(columns.items()):
            for row, frame_HWC in enumerate(frames):
                axis = grid[row, column]
                axis.imshow(frame_HWC)
                axis.set_axis_off()
                if row == 0:
                    axis.set_title(title)
                if column == 0:
                    middle = frame_HWC.shape[0] / 2
                    axis.text(-4, middle, names[row], rotation=90, fontsize=8, color=GREY, ha="right", va="center")
