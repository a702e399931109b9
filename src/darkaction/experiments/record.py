"""The record of finished runs: a line each in reports/tables/runs.csv, in git, so that none is computed twice and a
comparison may be completed over several runs and machines."""

import contextlib
import csv
import fcntl
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from darkaction.core.errors import UserError

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""A class number in one character, in `predicted`."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One finished training. settings, data and code together identify it, with the seed.

    predicted: for each test clip, sorted by id, the number of the class named, as a character of DIGITS.
    val_accuracy: of validation clips; None where there are none.
    gflop: of a clip going through the network once, two a multiplication.
    clip_seconds: that it takes, on one thread or GPU.
    frame_seconds: that the enhancement of one raw frame takes.
    """

    method: str
    dataset: str
    profile: str
    seed: int
    settings: str
    data: str
    code: str
    accuracy: float
    low: float
    high: float
    n: int
    scenes: int
    val_accuracy: float | None
    parameters: int
    gflop: float
    clip_seconds: float
    frame_seconds: float
    train_seconds: float
    device: str
    run_id: str
    ended: str
    predicted: str

    @property
    def key(self) -> tuple[str, str, int]:
        """What identifies the run, but for the code."""
        return self.settings, self.data, self.seed


def encode(predicted_N: NDArray[np.int64]) -> str:
    """Class numbers as text. Raises ValueError for a class beyond the last of DIGITS."""
    if predicted_N.max() >= len(DIGITS):
        raise ValueError(f"class number {predicted_N.max()}: more than {len(DIGITS)} classes")
    return "".join(DIGITS[number] for number in predicted_N)


def decode(predicted: str) -> NDArray[np.int64]:
    """The class numbers in a text of `encode`."""
    return np.array([DIGITS.index(character) for character in predicted], dtype=np.int64)


def append(path: Path, run: Run) -> None:
    """Adds a line; several processes of one machine may do so at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", newline="") as file:
        with contextlib.suppress(OSError):  # not every file system has locks
            fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        text = file.read()
        if text and not text.endswith("\n"):  # a line that was cut off when a machine stopped
            file.truncate(len(text[: text.rfind("\n") + 1].encode()))
        writer = csv.DictWriter(file, [field.name for field in fields(Run)], lineterminator="\n")
        if not text.strip():
            writer.writeheader()
        writer.writerow({name: _text(value) for name, value in asdict(run).items()})


def read(path: Path) -> list[Run]:
    """The runs on record, in the order they ended. A last line that was cut off, when a machine stopped, is left out;
    `append` takes its place.

    Raises:
        UserError: naming the line that is none.
    """
    if not path.exists():
        return []
    text = path.read_text()
    lines = csv.DictReader(text[: text.rfind("\n") + 1].splitlines())
    return [_run(path, number, line) for number, line in enumerate(lines, start=2)]


def latest(runs: Iterable[Run], *, code: str) -> dict[tuple[str, str, int], Run]:
    """The run to go by for each key: the last one of this version of the code, or else the last one."""
    chosen: dict[tuple[str, str, int], Run] = {}
    for run in runs:
        if run.key not in chosen or run.code == code or chosen[run.key].code != code:
            chosen[run.key] = run
    return chosen


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _run(path: Path, number: int, line: dict[str, str]) -> Run:
    try:
        whole = {name: int(line[name]) for name in ("seed", "n", "scenes", "parameters")}
        decimal = ("accuracy", "low", "high", "gflop", "clip_seconds", "frame_seconds", "train_seconds")
        numbers = {name: float(line[name]) for name in decimal}
        val_accuracy = float(line["val_accuracy"]) if line["val_accuracy"] else None
        names = ("method", "dataset", "profile", "settings", "data", "code", "device", "run_id", "ended", "predicted")
        return Run(**whole, **numbers, val_accuracy=val_accuracy, **{name: line[name] for name in names})  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: line {number} is no run ({error!r}); remove it") from None
