"""The record of finished cells: a line each in reports/tables/cells.csv, in git, so that none is computed twice and a
comparison may be completed over several runs and machines."""

import ast
import csv
import fcntl
import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from darkaction.errors import UserError

CODE = (
    "augmentation.py",
    "clips.py",
    "enhancement",
    "evaluation/predict.py",
    "flow.py",
    "models",
    "sampling.py",
    "training",
    "video.py",
)
"""The parts of the package that decide what a cell scores."""

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
"""A class number in one character, in `predicted`."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One finished training. settings, data and code together identify it, with the seed.

    predicted: for each test clip, sorted by id, the number of the class named, as a character of DIGITS.
    val_accuracy: of validation clips; None where there are none.
    gflop: of a clip going through the network once, two a multiplication.
    clip_seconds: that it takes, on one thread or GPU.
    frame_seconds: that the enhancement of one raw frame takes.
    """

    row: str
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
        """What identifies the cell, but for the code."""
        return self.settings, self.data, self.seed


def encode(predicted_N: NDArray[np.int64]) -> str:
    """Class numbers as text. Raises ValueError for a class beyond the 36th."""
    if predicted_N.max() >= len(DIGITS):
        raise ValueError(f"class number {predicted_N.max()}: more than {len(DIGITS)} classes")
    return "".join(DIGITS[number] for number in predicted_N)


def decode(predicted: str) -> NDArray[np.int64]:
    """The class numbers in a text of `encode`."""
    return np.array([DIGITS.index(character) for character in predicted], dtype=np.int64)


def append(path: Path, cell: Cell) -> None:
    """Adds a line; several processes of one machine may do so at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", newline="") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        text = file.read()
        if text and not text.endswith("\n"):  # a line that was cut off when a machine stopped
            file.truncate(len(text[: text.rfind("\n") + 1].encode()))
        writer = csv.DictWriter(file, [field.name for field in fields(Cell)], lineterminator="\n")
        if not text.strip():
            writer.writeheader()
        writer.writerow({name: _text(value) for name, value in asdict(cell).items()})


def read(path: Path) -> list[Cell]:
    """The cells on record, in the order they ended.

    Raises:
        UserError: naming the line that is none.
    """
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [_cell(path, number, row) for number, row in enumerate(rows, start=2)]


def latest(cells: Iterable[Cell], *, code: str) -> dict[tuple[str, str, int], Cell]:
    """The cell to go by for each key: the last one of this version of the code, or else the last one."""
    chosen: dict[tuple[str, str, int], Cell] = {}
    for cell in cells:
        if cell.key not in chosen or cell.code == code or chosen[cell.key].code != code:
            chosen[cell.key] = cell
    return chosen


def own_code() -> str:
    """Identifies the code that decides what a cell scores."""
    return code_of(CODE)


@cache
def code_of(parts: tuple[str, ...]) -> str:
    """Identifies parts of the package by what they do: comments, docstrings and layout do not count."""
    package = Path(__file__).resolve().parents[1]
    files = sorted(path for name in parts for path in _python_files(package / name))
    digest = hashlib.sha256()
    for path in files:
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                node.body = [part for part in body if not _is_text(part)]  # type: ignore[attr-defined]
        digest.update(f"{path.relative_to(package).as_posix()} {ast.dump(tree)}".encode())
    return digest.hexdigest()[:16]


def _python_files(path: Path) -> list[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _cell(path: Path, number: int, row: dict[str, str]) -> Cell:
    try:
        whole = {name: int(row[name]) for name in ("seed", "n", "scenes", "parameters")}
        decimal = ("accuracy", "low", "high", "gflop", "clip_seconds", "frame_seconds", "train_seconds")
        numbers = {name: float(row[name]) for name in decimal}
        val_accuracy = float(row["val_accuracy"]) if row["val_accuracy"] else None
        names = ("row", "dataset", "profile", "settings", "data", "code", "device", "run_id", "ended", "predicted")
        return Cell(**whole, **numbers, val_accuracy=val_accuracy, **{name: row[name] for name in names})  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: line {number} is no cell ({error!r}); remove it") from None
