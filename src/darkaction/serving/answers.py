"""What a model says about videos: probabilities, the answer that follows from them, and the table of several videos."""

import csv
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darkaction.serving.timeline.segments import UNSURE, Timeline
from darkaction.serving.timeline.windows import Windows, clock

UNSURE_BELOW = 0.5
"""Probability under which the answer is UNSURE: calibrated probabilities below it are more often wrong than right."""

Row = dict[str, Any]
"""One video: `video` and either `error`, or the keys that `row_of` gives."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is asked for: see the options of src/predict.py."""

    windows: Windows
    unsure_below: float
    top: int  # classes to print
    as_json: bool
    csv: Path | None
    save: Path | None
    timeline: list[Path]
    explain: Path | None


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a model says about one video. D sampling draws, K classes."""

    classes: list[str]
    probabilities_K: NDArray[np.float64]  # averaged over draws and folds, calibrated
    draws_DK: NDArray[np.float64]  # the same for each draw
    frames: int
    fps: float  # 0 where the video does not tell
    outside: list[str]  # in which properties the video differs from every training clip
    timeline: Timeline  # of a video in one piece: a single moment

    @property
    def long(self) -> bool:
        """Whether the video was seen in several windows; the probabilities are then the mean over these."""
        return self.timeline.windows > 1

    @property
    def spread_K(self) -> NDArray[np.float64]:
        """Standard deviation over the draws: how much the chosen frames matter. It is not the error of the answer."""
        spread_K: NDArray[np.float64] = self.draws_DK.std(0)
        return spread_K

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.classes[int(self.probabilities_K.argmax())]

    def answer(self, unsure_below: float) -> str:
        """The most probable class, or UNSURE where its probability is below `unsure_below`."""
        return self.label if self.probabilities_K.max() >= unsure_below else UNSURE

    def top(self, count: int) -> list[tuple[str, float, float]]:
        """(class, probability, spread) of the most probable classes, the best first."""
        order = np.argsort(-self.probabilities_K, kind="stable")[:count]
        return [(self.classes[k], float(self.probabilities_K[k]), float(self.spread_K[k])) for k in order]

    def text(self, video: Path, count: int, unsure_below: float) -> str:
        """The answer and the `count` most probable classes, or the timeline of a long video, for a terminal."""
        outside = [f"  unlike every training clip: {phrase}" for phrase in self.outside]
        if self.long:
            line = self.timeline
            cut = f"{line.windows} windows of {line.seconds:.3g} s, one every {line.stride:.3g} s"
            first = f"{video} ({self.frames} frames, {clock(line.edges[-1])}): {cut}"
            return "\n".join([first, *line.text(unsure_below), *outside])
        lines = [f"{video} ({self.frames} frames): {self.answer(unsure_below)}"]
        for label, probability, spread in self.top(count):
            lines.append(f"  {label:<12} {probability:6.1%} +- {spread:.1%} over {len(self.draws_DK)} draws of frames")
        return "\n".join(lines + outside)


def row_of(video: Path, prediction: Prediction, unsure_below: float) -> Row:
    """The row of one video; for a long one also the segments of its timeline."""
    row = {
        "video": str(video),
        "answer": prediction.answer(unsure_below),
        "label": prediction.label,
        "frames": prediction.frames,
        "probabilities": dict(zip(prediction.classes, prediction.probabilities_K.tolist(), strict=True)),
        "outside_training": prediction.outside,
    }
    return row | {"segments": prediction.timeline.rows(unsure_below)} if prediction.long else row


def write_rows(rows: list[Row], classes: list[str], *, as_json: bool, as_text: bool, path: Path | None) -> None:
    """JSON to standard output, a table to `path` or, where nothing else was printed, to standard output; the accuracy,
    if there is one, to standard error.

    Args:
        as_text: the answer was printed as text already.
    """
    if as_json:
        print(json.dumps(rows, indent=2))
    if path is not None or not (as_text or as_json):
        write_csv(rows, classes, path)
    if accuracy := accuracy_in_folders(rows, classes):
        print(accuracy, file=sys.stderr)


def accuracy_in_folders(rows: Iterable[Row], classes: list[str]) -> str:
    """Top-1 accuracy over the videos that lie in a folder named like a class; empty for fewer than two."""
    folders = [(Path(row["video"]).resolve().parent.name.lower(), row) for row in rows]
    known = [(folder, row) for folder, row in folders if folder in classes and "label" in row]
    if len(known) < 2:
        return ""
    right = np.array([folder == row["label"] for folder, row in known])
    sure = np.array([row["answer"] != UNSURE for _, row in known])
    text = f"{right.mean():.1%} top-1 of the {len(known)} videos that lie in a folder named like one of the"
    text += f" {len(classes)} classes (chance {1 / len(classes):.1%})"
    if sure.any() and not sure.all():
        text += f"; {right[sure].mean():.1%} of the {sure.sum()} with an answer, {UNSURE} of the others"
    return text


def write_csv(rows: Iterable[Row], classes: list[str], path: Path | None) -> None:
    """video, answer, label, frames, p_<class> ..., outside_training, error; to `path`, or standard output."""
    plain = ("video", "answer", "label", "frames", "error")
    columns = [*plain[:-1], *(f"p_{name}" for name in classes), "outside_training", "error"]
    # Names that are no UTF-8 are written escaped.
    with open(path or 1, "w", newline="", closefd=path is not None, errors="backslashreplace") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            values = {f"p_{name}": f"{value:.6f}" for name, value in row.get("probabilities", {}).items()}
            values["outside_training"] = "; ".join(row.get("outside_training", []))
            writer.writerow({key: row[key] for key in plain if key in row} | values)
