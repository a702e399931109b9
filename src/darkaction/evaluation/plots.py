"""Pictures of results as PNG, in one style. Every function takes plain tables or arrays and the path to write; what
draws on an axis serves the report too."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from darkaction.evaluation.statistics import FEW_SCENES, Interval
from darkaction.evaluation.style import (
    BLUE,
    COLOURS,
    GREY,
    INK,
    ORANGE,
    PAPER,
    WHISKER,
    interval_lengths,
    percent,
    png_figure,
)

ROOMS_SHOWN = 8
"""Test clips shown with the training clip filmed in the most similar room."""


def confusion_matrix(counts_KK: NDArray[np.int64], classes: Sequence[str], path: Path) -> None:
    """Actual classes in rows, predicted ones in columns; colour is the fraction of the row, the number is clips."""
    totals_K1 = counts_KK.sum(1, keepdims=True)
    fraction_KK = counts_KK / np.maximum(totals_K1, 1)
    side = 2.6 + 0.55 * len(classes)
    with png_figure(path, width=side + 0.6, height=side) as figure:
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
        table: columns class, n, scenes, accuracy, low, high (metrics.per_class). Of fewer than FEW_SCENES scenes no
            interval is drawn: it would be too narrow.
    """
    table = table.sort_values(["accuracy", "class"], ascending=[True, False])
    with png_figure(path, width=7.5, height=1.5 + 0.42 * len(table)) as figure:
        axis = figure.subplots()
        places = np.arange(len(table))
        axis.barh(places, table["accuracy"], color=BLUE, height=0.62)
        few = (table["scenes"] < FEW_SCENES).to_numpy()
        axis.errorbar(table["accuracy"][~few], places[~few], xerr=interval_lengths(table[~few]), **WHISKER)
        axis.axvline(overall, color=ORANGE, linewidth=1.4, linestyle="--", label=f"all classes: {overall:.1%}")
        notes = np.where(few, ", few scenes", "")
        names = [f"{name} ({n}{note})" for name, n, note in zip(table["class"], table["n"], notes, strict=True)]
        axis.set_yticks(places, names)
        axis.set_title(f"Accuracy by class, {confidence:.0%} intervals")
        axis.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)
        axis.tick_params(axis="y", length=0)
        axis.set_xlim(0, 1.02)
        percent(axis.xaxis)
        axis.grid(axis="x")


def learning_curves(history_csv: Path, path: Path) -> None:
    """Loss, accuracy and learning rate over the epochs.

    Args:
        history_csv: columns epoch, train_loss, train_accuracy, learning_rate and, where there are validation clips,
            val_loss and val_accuracy.
    """
    history = pd.read_csv(history_csv)
    marker = "o" if len(history) < 3 else None  # a line of one point is invisible
    with png_figure(path, width=11, height=3.4) as figure:
        loss, accuracy, rate = figure.subplots(1, 3)
        for part, name, colour in (("train", "training", BLUE), ("val", "validation", ORANGE)):
            if f"{part}_loss" in history:
                loss.plot(history["epoch"], history[f"{part}_loss"], color=colour, label=name, marker=marker)
                accuracy.plot(history["epoch"], history[f"{part}_accuracy"], color=colour, label=name, marker=marker)
        rate.plot(history["epoch"], history["learning_rate"], color=GREY, marker=marker)
        loss.set(title="Loss", ylim=(0, None))
        accuracy.set(title="Accuracy", ylim=(0, 1.02))
        percent(accuracy.yaxis)
        rate.set(title="Learning rate", ylim=(0, None))
        rate.ticklabel_format(axis="y", scilimits=(-2, 3))
        loss.legend()
        for axis in (loss, accuracy, rate):
            axis.set_xlabel("epoch")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.grid()


def accuracy_by_draws(table: pd.DataFrame, *, path: Path) -> None:
    """Accuracy against the number of sampling draws averaged; `table` of metrics.accuracy_by_draws."""
    with png_figure(path, width=6, height=3.6) as figure:
        axis = figure.subplots()
        axis.set_title("Accuracy by number of draws")
        draws_curve(axis, table)


def draws_curve(axis: Axes, table: pd.DataFrame) -> None:
    """Top-1 accuracy against the number of draws, each point with its value; columns draws, accuracy."""
    axis.plot(table["draws"], table["accuracy"], color=BLUE, marker="o")
    for draws, value in zip(table["draws"], table["accuracy"], strict=True):
        axis.annotate(f"{value:.1%}", (draws, value), (0, 6), textcoords="offset points", ha="center", fontsize="small")
    low, high = float(table["accuracy"].min()), float(table["accuracy"].max())
    axis.set_ylim(max(0.0, low - 0.04), min(1.03, high + 0.04))
    axis.set_xlabel("sampling draws averaged")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.yaxis.set_major_locator(MaxNLocator(nbins=5, min_n_ticks=2))
    percent(axis.yaxis, decimals=None)
    axis.margins(x=0.12)
    axis.grid(axis="y")


def reliability(before: pd.DataFrame, after: pd.DataFrame, *, errors: tuple[float, float], path: Path) -> None:
    """Accuracy against confidence, with the number of clips of each point.

    Args:
        before: columns low, high, confidence, accuracy, n (metrics.reliability), of the softmax.
        after: the same of the calibrated probabilities.
        errors: the calibration errors of the two.
        path: where to write.
    """
    with png_figure(path, width=4.8, height=4.4) as figure:
        axis = figure.subplots()
        reliability_curves(axis, before, after, names=[f"softmax: {errors[0]:.1%}", f"calibrated: {errors[1]:.1%}"])
        for row in after.to_dict("records"):
            place = (row["confidence"], row["accuracy"])
            axis.annotate(f"n={row['n']}", place, (6, -10), textcoords="offset points", fontsize=8, color=GREY)
        axis.set(ylabel="top-1 accuracy", title="Expected calibration error")


def reliability_curves(axis: Axes, before: pd.DataFrame, after: pd.DataFrame, *, names: Sequence[str]) -> None:
    """Accuracy against the probability of the predicted class, as the softmax gives it and calibrated: on the diagonal
    a network is as often right as it says. Columns confidence, accuracy."""
    axis.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
    for table, name, colour in zip((before, after), names, (GREY, BLUE), strict=True):
        axis.plot(table["confidence"], table["accuracy"], color=colour, marker="o", label=name)
    axis.set(xlim=(0, 1.08), ylim=(0, 1.05), xlabel="probability of the predicted class")
    axis.legend(loc="upper left", fontsize="small")
    percent(axis.xaxis)
    percent(axis.yaxis)
    axis.grid()


def accuracy_by_luma(table: pd.DataFrame, *, confidence: float, path: Path) -> None:
    """Accuracy of clips in groups from dark to bright; `table` of metrics.accuracy_by_luma."""
    with png_figure(path, width=6.5, height=3.8) as figure:
        axis = figure.subplots()
        axis.set_title(f"Accuracy by darkness, with {confidence:.0%} intervals over scenes")
        luma_bars(axis, table)


def luma_bars(axis: Axes, table: pd.DataFrame) -> None:
    """Accuracy of each group with its interval; columns luma_from, luma_to, n, accuracy, low, high."""
    places = np.arange(len(table))
    axis.bar(places, table["accuracy"], color=BLUE, width=0.62)
    axis.errorbar(places, table["accuracy"], yerr=interval_lengths(table), **WHISKER)
    groups = zip(table["luma_from"], table["luma_to"], table["n"], strict=True)
    axis.set_xticks(places, [f"{low:.0f}–{high:.0f}\nn={n}" for low, high, n in groups], fontsize="small")
    axis.tick_params(axis="x", length=0)
    axis.set(xlabel="mean luma of the raw clip, of 255", ylim=(0, 1.04))
    percent(axis.yaxis)
    axis.grid(axis="y")


def leakage(
    report: Mapping[str, Mapping[str, Any]],
    rooms: Mapping[str, Interval],
    *,
    chance: float,
    used: str,
    path: Path,
) -> None:
    """Splits side by side: accuracy of the mean-frame 1-NN baseline, and test clips with a near duplicate in training.

    Args:
        report: by split, with test_clips and near_duplicates.
        rooms: by split, the accuracy of the baseline.
        chance: accuracy of chance.
        used: the split in use.
        path: where to write.
    """
    names = list(report)
    labels = [f"{name}\n(in use)" if name == used else name for name in names]
    colours = [BLUE if name == used else GREY for name in names]
    with png_figure(path, width=8.4, height=3.4) as figure:
        left, right = figure.subplots(1, 2)
        found = pd.DataFrame([vars(rooms[name]) for name in names]).rename(columns={"mean": "accuracy"})
        left.bar(labels, found["accuracy"], color=colours, width=0.55)
        left.errorbar(labels, found["accuracy"], yerr=interval_lengths(found), **WHISKER)
        left.axhline(chance, color=ORANGE, label="chance")
        left.legend(loc="upper left")
        left.set_title("Accuracy of mean-frame 1-NN")
        left.set_ylim(0, 1.2)
        left.set_yticks(np.linspace(0, 1, 6))
        near = [report[name]["near_duplicates"] / max(report[name]["test_clips"], 1) for name in names]
        bars = right.bar(labels, near, color=colours, width=0.55)
        right.bar_label(bars, [f"{report[name]['near_duplicates']} of {report[name]['test_clips']}" for name in names])
        right.set_title("Near duplicates in training")
        right.set_ylim(0, 1)
        percent(left.yaxis)
        percent(right.yaxis)


def nearest_rooms(table: pd.DataFrame, images: Mapping[str, NDArray[np.floating]], *, path: Path) -> None:
    """Test clips (above) and the training clips with the most similar mean frame (below), brightened.

    Args:
        table: clip_id, label, nearest, predicted; clips evenly spaced in it are shown.
        images: the mean frame_HWC of each clip id, 0 to 255.
        path: where to write.
    """
    chosen = table.iloc[np.unique(np.linspace(0, len(table) - 1, min(len(table), ROOMS_SHOWN)).astype(int))]
    with png_figure(path, width=1.5 * len(chosen) + 0.4, height=2.9) as figure:
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


def comparison(
    table: pd.DataFrame, *, reference: str, chance: float, confidence: float, title: str, path: Path
) -> None:
    """Systems side by side, each a bar with its interval and a ring where the paper's number is.

    Args:
        table: columns key, row (the name), accuracy, low, high (missing where not run) and published (percent).
        reference: key of the system that the others are compared with, in a colour of its own.
        chance: top-1 accuracy of chance.
    """
    with png_figure(path, width=8.2, height=1.5 + 0.36 * len(table)) as figure:
        axis = figure.subplots()
        places = np.arange(len(table))
        colours = [ORANGE if key == reference else BLUE for key in table["key"]]
        accuracy = table["accuracy"].astype(float)
        axis.barh(places, accuracy.fillna(0), color=colours, height=0.62)
        errors = np.stack([accuracy - table["low"].astype(float), table["high"].astype(float) - accuracy])
        axis.errorbar(accuracy, places, xerr=errors, **WHISKER)
        published = table["published"].astype(float) / 100
        if published.notna().any():
            axis.plot(published, places, "o", markerfacecolor=PAPER, markeredgecolor=INK, label="the paper, on ARID")
        axis.axvline(chance, color=GREY, linestyle="--", linewidth=1, label="chance")
        for place in places[accuracy.isna()]:
            axis.text(0.01, place, "not run", va="center", fontsize=9, color=GREY)
        axis.set_yticks(places, table["row"])
        axis.invert_yaxis()
        axis.tick_params(axis="y", length=0)
        axis.set(xlim=(0, 1), xlabel=f"test accuracy, with {confidence:.0%} intervals over seeds and scenes")
        percent(axis.xaxis)
        axis.grid(axis="x")
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")


def curves(
    lines: Mapping[str, Mapping[str, Interval]],
    places: Sequence[str],
    *,
    chance: float,
    confidence: float,
    xlabel: str,
    title: str,
    path: Path,
) -> None:
    """Accuracy with its interval at some places, a line for each of up to as many names as there are colours.

    Args:
        lines: name -> place -> accuracy; a line may lack places.
        places: in their order.
    """
    with png_figure(path, width=7.8, height=4.0) as figure:
        axis = figure.subplots()
        for shift, (colour, (name, points)) in enumerate(zip(COLOURS[: len(lines)], lines.items(), strict=True)):
            shown = [(number, points[place]) for number, place in enumerate(places) if place in points]
            x = [number + 0.06 * (shift - (len(lines) - 1) / 2) for number, _ in shown]
            mean = [found.mean for _, found in shown]
            errors = [[found.mean - found.low for _, found in shown], [found.high - found.mean for _, found in shown]]
            axis.errorbar(x, mean, yerr=errors, fmt="o-", color=colour, capsize=3, linewidth=1.8, label=name)
        axis.axhline(chance, color=GREY, linestyle="--", linewidth=1, label="chance")
        axis.set_xticks(range(len(places)), [textwrap.fill(place, 15) for place in places])
        axis.set(ylim=(0, 1), xlabel=xlabel, ylabel=f"test accuracy, {confidence:.0%} intervals")
        percent(axis.yaxis)
        axis.grid(axis="y")
        figure.legend(loc="outside right center", fontsize=9)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")


def frame_grid(columns: Mapping[str, Sequence[NDArray[np.uint8]]], names: Sequence[str], path: Path) -> None:
    """Frames in rows, each frame_HWC uint8 in several versions: {title of the column: one frame a row}."""
    with png_figure(path, width=2.3 * len(columns), height=0.4 + 1.85 * len(names)) as figure:
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
