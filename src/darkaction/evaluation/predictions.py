"""Two models compared by their predictions on the same clips."""

from pathlib import Path

import pandas as pd

from darkaction.core.errors import UserError
from darkaction.evaluation.comparison import Comparison, compare
from darkaction.evaluation.settings import Evaluate
from darkaction.evaluation.statistics import accuracy_interval

COLUMNS = ["clip_id", "label", "scene", "predicted"]


def read_predictions(path: Path) -> pd.DataFrame:
    """A predictions.csv: COLUMNS as text, the clips in order.

    Raises:
        UserError: when it is missing or lacks a column.
    """
    try:
        table = pd.read_csv(path, dtype=str)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not a table ({reason}); expected a predictions.csv of evaluate") from None
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise UserError(f"{path}: lacks the columns {', '.join(missing)}; expected a predictions.csv of evaluate")
    return table[COLUMNS].sort_values("clip_id", ignore_index=True)


def same_clips(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    """Whether two tables of predictions are of the same clips."""
    names = ["clip_id", "label", "scene"]
    return a[names].equals(b[names])


def compare_predictions(a: pd.DataFrame, b: pd.DataFrame, *, confidence: float) -> Comparison:
    """The accuracy of `a` minus that of `b` on the same clips, given these two trainings."""
    return compare(
        [(a["predicted"] == a["label"]).to_numpy()],
        [(b["predicted"] == b["label"]).to_numpy()],
        a["scene"].to_numpy(dtype=str),
        confidence=confidence,
    )


def compare_files(a: Path, b: Path, evaluate: Evaluate, *, seed: int) -> str:
    """The accuracy of two files of predictions, their difference and both tests, as three lines.

    Raises:
        UserError: when a file cannot be used, or they are not of the same clips.
    """
    tables = {path: read_predictions(path) for path in (a, b)}
    if not same_clips(tables[a], tables[b]):
        raise UserError(f"{a} and {b} are not of the same clips")
    lines = []
    for path in (a, b):
        correct_N = (tables[path]["predicted"] == tables[path]["label"]).to_numpy()
        interval = accuracy_interval(
            correct_N,
            tables[path]["scene"].to_numpy(dtype=str),
            bootstrap_samples=evaluate.bootstrap_samples,
            confidence=evaluate.confidence,
            seed=seed,
        )
        lines.append(f"{path}: {interval}")
    found = compare_predictions(tables[a], tables[b], confidence=evaluate.confidence)
    lines.append(
        f"difference, given these two trainings: {found.difference:+.1%} [{found.low:+.1%}, {found.high:+.1%}], "
        f"p = {found.p_value:.4f} over scenes, McNemar p = {found.mcnemar_p:.4f} over clips"
    )
    return "\n".join(lines)
