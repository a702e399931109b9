"""Trains and evaluates the recognizer with several seeds, and a network that sees one frame: -> reports/seeds.json

    python src/seeds.py [--seeds 3]

The data, split and enhancer stay as they are; the seed changes the initial weights, the order of clips, sampling and
augmentation. The interval speaks of other seeds and other scenes. Needs the clips of `dvc repro`; on two cores each
seed takes as long as the stages train and evaluate. Trainings go to runs/seeds and, like every training, to MLflow.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from darkaction.core import cli
from darkaction.core.errors import UserError
from darkaction.core.paths import ROOT
from darkaction.evaluation.statistics import Interval, seeds_interval
from darkaction.params import Params

RUNS = ROOT / "runs" / "seeds"
ONE_FRAME = ("sampling.num_frames=1", "model.temporal_strides=[1, 1, 1, 1]")
"""A network that sees one frame of each clip in each draw: what it scores, the exam does not ask of time."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0 (default 3)")
    arguments = parser.parse_args()
    if arguments.seeds < 1:
        raise UserError(f"--seeds {arguments.seeds}: give at least 1")
    params = Params.load()
    trained = [run(f"seed_{seed}", f"seed={seed}") for seed in range(arguments.seeds)]
    one_frame = run("one_frame", *ONE_FRAME)
    report = summarize(params, trained, one_frame)
    path = ROOT / "reports" / "seeds.json"
    path.write_text(json.dumps(report, indent=2) + "\n")
    print_table(report)


def run(name: str, *overrides: str) -> Path:
    """Trains and evaluates with the given settings laid over params.yaml; the folder of the results."""
    out = RUNS / name
    settings = [part for override in overrides for part in ("--set", override)]
    for script in ("train.py", "evaluate.py"):
        command = [sys.executable, str(ROOT / "src" / script), *settings, "--out", str(out)]
        done = subprocess.run(command, cwd=ROOT, check=False)
        if done.returncode != 0:
            raise UserError(f"{script} {' '.join(overrides)} failed with exit code {done.returncode}")
    return out


def summarize(params: Params, trained: list[Path], one_frame: Path) -> dict[str, Any]:
    """Accuracy over all seeds with its interval, with shuffled frames, and of the one-frame network."""
    tables = [pd.read_csv(out / "reports" / "predictions.csv", dtype={"scene": str}) for out in trained]
    single = pd.read_csv(one_frame / "reports" / "predictions.csv", dtype={"scene": str})
    return {
        "confidence": params.evaluate.confidence,
        "test": {**interval_over(params, tables, "predicted"), "seeds": len(trained)},
        "each": [round(float((table["label"] == table["predicted"]).mean()), 6) for table in tables],
        "shuffled": interval_over(params, tables, "predicted_shuffled"),
        "one_frame": interval_over(params, [single], "predicted"),
    }


def interval_over(params: Params, tables: list[pd.DataFrame], column: str) -> dict[str, float | int]:
    """Accuracy of what stands in `column`, over all tables, with its interval."""
    return rounded(
        seeds_interval(
            [(table["label"] == table[column]).to_numpy() for table in tables],
            [table["scene"].to_numpy() for table in tables],
            bootstrap_samples=params.evaluate.bootstrap_samples,
            confidence=params.evaluate.confidence,
            seed=params.seed,
        )
    )


def rounded(interval: Interval) -> dict[str, float | int]:
    """As in reports/details.json."""
    return {
        "accuracy": round(interval.mean, 6),
        "low": round(interval.low, 6),
        "high": round(interval.high, 6),
        "n": interval.n,
        "scenes": interval.scenes,
    }


def print_table(report: dict[str, Any]) -> None:
    """The table of the README."""
    each = ", ".join(f"{value:.1%}" for value in report["each"])
    names = {
        "test": f"R-BERT, delta sampling, Zero-DCE, {len(report['each'])} seeds ({each})",
        "shuffled": "the same, frames in random order",
        "one_frame": "one frame instead of a sequence",
    }
    print(f"\n| network | test accuracy | {report['confidence']:.0%} interval |\n|---|---|---|")
    for key, name in names.items():
        row = report[key]
        print(f"| {name} | {row['accuracy']:.1%} | {row['low']:.1%} to {row['high']:.1%} |")


if __name__ == "__main__":
    cli.run(main)
