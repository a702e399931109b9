"""Compares two models by their predictions on the same clips: python src/compare.py A.csv B.csv

    dvc get . reports/predictions.csv --rev HEAD~1 --out /tmp/before.csv
    python src/compare.py reports/predictions.csv /tmp/before.csv

Prints the accuracy of both, their difference with an interval over scenes, the p-value of the paired test over scenes,
and that of McNemar's exact test over clips.
"""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd

from darkaction.core import cli
from darkaction.core.errors import UserError
from darkaction.evaluation.statistics import accuracy_interval, compare
from darkaction.params import Params

COLUMNS = ["clip_id", "label", "scene", "predicted"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("a", type=Path, metavar="A.csv", help="a predictions.csv")
    parser.add_argument("b", type=Path, metavar="B.csv", help="another one, of the same clips")
    arguments = parser.parse_args()
    params = Params.load()
    settings: Any = {
        "bootstrap_samples": params.evaluate.bootstrap_samples,
        "confidence": params.evaluate.confidence,
        "seed": params.seed,
    }
    a, b = read(arguments.a), read(arguments.b)
    if not a[["label", "scene"]].equals(b[["label", "scene"]]):
        raise UserError(f"{arguments.a} and {arguments.b} are not of the same clips")
    right = [(table["predicted"] == table["label"]).to_numpy() for table in (a, b)]
    scene_N = a["scene"].to_numpy(dtype=str)
    for path, correct_N in zip((arguments.a, arguments.b), right, strict=True):
        print(f"{path}: {accuracy_interval(correct_N, scene_N, **settings)}")
    found = compare(right[0], right[1], scene_N, **settings)
    print(
        f"difference: {found.difference:+.1%} [{found.low:+.1%}, {found.high:+.1%}], p = {found.p_value:.4f} over "
        f"scenes, McNemar p = {found.mcnemar_p:.4f} over clips"
    )


def read(path: Path) -> pd.DataFrame:
    """A predictions.csv, its clips in order.

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
    return table[COLUMNS].sort_values("clip_id").set_index("clip_id")


if __name__ == "__main__":
    cli.run(main)
