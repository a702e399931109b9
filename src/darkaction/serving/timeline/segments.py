"""Which action there is when, from the probabilities of windows.

Legend of names: W windows, M moments, K classes.
"""

import csv
import io
import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darkaction.core.errors import UserError
from darkaction.core.folders import write_whole
from darkaction.serving.timeline.windows import Cut, clock, rate

UNSURE = "unsure"
"""The answer where no class is probable enough."""

FORMATS = (".csv", ".json", ".png")


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Neighbouring moments with the same answer; the probabilities are their mean, weighted by duration."""

    start: float  # seconds
    end: float
    answer: str  # a class, or UNSURE
    label: str  # the most probable class
    probability: float  # of `label`
    probabilities_K: NDArray[np.float64]

    @property
    def text(self) -> str:
        """The answer with its probability."""
        said = f"{self.label} {self.probability:.0%}"
        return said if self.answer == self.label else f"{self.answer} ({said})"


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Probabilities over time: at each moment the mean over the windows that hold it."""

    classes: list[str]
    edges: NDArray[np.float64]  # (M + 1,) seconds
    probabilities_MK: NDArray[np.float64]
    windows: int
    seconds: float  # of a window
    stride: float

    @classmethod
    def of(cls, classes: list[str], cut: Cut, probabilities_WK: NDArray[np.float64], fps: float) -> "Timeline":
        """From the probabilities of windows: a moment lasts a step, and counts the windows that hold its middle."""
        borders = np.arange(0, cut.num_frames, cut.step)
        if len(borders) > 1 and cut.num_frames - borders[-1] < cut.step / 2:  # what is left goes to the moment before
            borders = borders[:-1]
        borders = np.append(borders, cut.num_frames)
        middles_M = (borders[:-1] + borders[1:]) // 2
        begun_M = np.searchsorted(cut.starts_W, middles_M, side="right")
        over_M = np.searchsorted(cut.starts_W + cut.length, middles_M, side="right")
        sums = np.concatenate([np.zeros((1, len(classes))), probabilities_WK.cumsum(0)])
        return cls(
            classes=classes,
            edges=borders / rate(fps),
            probabilities_MK=(sums[begun_M] - sums[over_M]) / (begun_M - over_M)[:, None],
            windows=len(cut.starts_W),
            seconds=cut.length / rate(fps),
            stride=cut.step / rate(fps),
        )

    def segments(self, unsure_below: float) -> list[Segment]:
        """In order, without gaps."""
        answers_M = np.where(self.probabilities_MK.max(1) >= unsure_below, self.probabilities_MK.argmax(1), -1)
        borders = np.flatnonzero(np.diff(answers_M, prepend=-2, append=-2))
        found = []
        for first, after in pairwise(borders.tolist()):
            mean_K = np.average(
                self.probabilities_MK[first:after], axis=0, weights=np.diff(self.edges[first : after + 1])
            )
            best = int(mean_K.argmax()) if answers_M[first] == -1 else int(answers_M[first])
            label = self.classes[best]
            found.append(
                Segment(
                    start=float(self.edges[first]),
                    end=float(self.edges[after]),
                    answer=UNSURE if answers_M[first] == -1 else label,
                    label=label,
                    probability=float(mean_K[best]),
                    probabilities_K=mean_K,
                )
            )
        return found

    def rows(self, unsure_below: float) -> list[dict[str, Any]]:
        """Of a table: start, end (seconds), answer, label, probability, probabilities."""
        return [
            {
                "start": round(segment.start, 3),
                "end": round(segment.end, 3),
                "answer": segment.answer,
                "label": segment.label,
                "probability": round(segment.probability, 6),
                "probabilities": dict(zip(self.classes, segment.probabilities_K.round(6).tolist(), strict=True)),
            }
            for segment in self.segments(unsure_below)
        ]

    def text(self, unsure_below: float) -> list[str]:
        """Lines for a terminal."""
        return [
            f"  {clock(segment.start):>9} - {clock(segment.end):>9}  {segment.text}"
            for segment in self.segments(unsure_below)
        ]

    def write(self, path: Path, title: str, unsure_below: float) -> None:
        """A table of the segments, or as PNG a picture of the probabilities: see FORMATS."""
        if path.suffix.lower() == ".png":
            from darkaction.serving.timeline.plot import plot  # takes a second to import

            plot(path, self, title, unsure_below)
            return
        rows = self.rows(unsure_below)
        if path.suffix.lower() == ".json":
            write_whole(path, json.dumps(rows, indent=2) + "\n")
            return
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(["start", "end", "answer", "label", "probability", *(f"p_{name}" for name in self.classes)])
        for row in rows:
            *plain, probabilities = row.values()
            writer.writerow([*plain, *probabilities.values()])
        write_whole(path, table.getvalue())


def check_targets(paths: list[Path]) -> None:
    """Raises a UserError, before a long prediction, when one of the files of --timeline cannot be written."""
    for path in paths:
        if path.suffix.lower() not in FORMATS:
            raise UserError(f"--timeline {path}: expected a file ending in {', '.join(FORMATS)}")
        if not path.parent.is_dir():
            raise UserError(f"--timeline {path}: there is no folder {path.parent}")
