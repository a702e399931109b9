"""What searching costs and gains: workers, overhead a trial, pruning. Prints one table a question.

    python benchmarks/search_speed.py workers     two workers against one, and the trainings alone (5 minutes)
    python benchmarks/search_speed.py pruning     pruned against unpruned searches, three seeds (an hour)

Trainings are real, small and single-threaded; the second needs the clips of `dvc repro`. Studies and runs go to a
temporary folder, or to --keep DIR, whose finished searches are not run again.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

ROOT = Path(__file__).resolve().parents[1]
WORKERS = ("train.epochs=60", "tune.pruner=none", "train.precision=fp32")
"""Over the profile smoke: 18 training clips."""

PRUNING = ("sampling.num_frames=8", "model.widths=[8, 16, 32, 64]", "model.head=average", "train.precision=fp32")
PRUNING += ("train.epochs=24", "tune.min_epochs=1", "train.batch_size=16")
"""Over params.yaml, on the clips of `dvc repro`: a network that learns in a few epochs. The batch size is not searched:
small ones take twice the time."""

SPACE = "tune.space=[{key: focal.gamma, type: float, low: 0.0, high: 5.0}]"
SEEDS = 3


class Searches:
    """Searches on a storage and an MLflow store of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, name: str, *overrides: str, trials: int, workers: int) -> pd.DataFrame:
        """Runs a search, unless that was done before; the table of its trials."""
        result, storage = self.folder / name / "trials.csv", self.folder / f"{name}.log"
        if result.exists():
            return pd.read_csv(result, parse_dates=["started", "ended"])
        storage.unlink(missing_ok=True)
        command = [sys.executable, "src/tune.py", "--study", name, "--storage", str(storage)]
        command += ["--out", str(self.folder / name), "--trials", str(trials), "--workers", str(workers)]
        command += [part for text in overrides for part in ("--set", text)]
        command += ["--profile", "smoke"] if overrides[: len(WORKERS)] == WORKERS else []
        environment = {
            **os.environ,
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.folder}/mlflow.db",
            "OMP_NUM_THREADS": "1",
        }
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr[-3000:])
        return pd.read_csv(result, parse_dates=["started", "ended"])


def clips_of_smoke() -> Path:
    """Where a search with the profile smoke has made its clips; the newest such place."""
    return max((ROOT / "runs/tune/clips").glob("*/done"), key=lambda path: path.stat().st_mtime).parent


def direct(trainings: int) -> float:
    """Seconds of one training with its validation, without Optuna, Ray and MLflow: the mean after the first."""
    program = f"""
import sys, time, tempfile; sys.path.insert(0, "src")
from pathlib import Path
import torch; torch.set_num_threads(1)
from darkaction import config
from darkaction.evaluation.score import predict_part
from darkaction.layout import Layout
from darkaction.training import data, recipe
params = config.load(profile="smoke", overrides={WORKERS!r})
places = Layout(out=Path({str(clips_of_smoke())!r}))
clips = data.usable_clips(places, params.datasets)
for number in range({trainings}):
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name); (folder / "fold_0").mkdir()
        recipe.train_fold(params, places, clips, 0, folder / "fold_0", checkpoints=folder / "c", init=None,
                          max_steps=None, on_epoch=lambda epoch, row: None)
        predict_part(params, places, clips, "val", recognizer=folder)
    print("seconds", time.monotonic() - started)
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return float(np.mean([float(text) for text in re.findall(r"seconds ([\d.]+)", done.stdout)][1:]))


def workers(searches: Searches) -> None:
    """Throughput of two workers against one, and what a trial costs beside its training."""
    trials = 8
    searches.run("clips", *WORKERS, SPACE, "train.epochs=1", trials=1, workers=1)
    alone = direct(3)
    per_trial = {}
    for count in (1, 2):
        table = searches.run(f"workers{count}", *WORKERS, SPACE, trials=trials, workers=count)
        ended = table["ended"].sort_values()
        # the first trial of each worker loads torch and the clips: counted from its end
        per_trial[count] = (ended.iloc[-1] - ended.iloc[count - 1]).total_seconds() / (trials - count)
    print("| | seconds a trial | trials per time, one worker = 1 |\n|---|---|---|")
    print(f"| the training alone | {alone:.1f} | |")
    for count, seconds in per_trial.items():
        print(f"| {count} worker{'s' * (count > 1)} | {seconds:.1f} | {per_trial[1] / seconds:.2f} |")
    print(f"\noverhead of Optuna, Ray and MLflow with one worker: {per_trial[1] - alone:.1f} s a trial")


def pruning(searches: Searches) -> None:
    """Epochs and best score of the same search with and without pruning."""
    trials = 16
    space = yaml.safe_load((ROOT / "params.yaml").read_text())["tune"]["space"]
    space = [entry for entry in space if entry["key"] != "train.batch_size"]
    rows = []
    for seed in range(SEEDS):
        for pruner in ("none", "hyperband"):
            name = f"{pruner}{seed}"
            settings = (*PRUNING, f"tune.space={json.dumps(space)}", f"tune.pruner={pruner}", f"seed={seed}")
            table = searches.run(name, *settings, trials=trials, workers=2)
            best = json.loads((searches.folder / name / "best.json").read_text())["best"]
            rows.append(
                {
                    "seed": seed,
                    "pruner": pruner,
                    "epochs": int(table["steps"].sum()),
                    "pruned": int((table["state"] == "pruned").sum()),
                    "best": best["validation_accuracy"],
                }
            )
            print(rows[-1], file=sys.stderr)
    table = pd.DataFrame(rows).pivot(index="seed", columns="pruner")
    print("| seed | best, unpruned | best, pruned | epochs, pruned / unpruned |\n|---|---|---|---|")
    for seed, row in table.iterrows():
        share = row["epochs", "hyperband"] / row["epochs", "none"]
        print(f"| {seed} | {row['best', 'none']:.1%} | {row['best', 'hyperband']:.1%} | {share:.2f} |")
    gained = table["best", "hyperband"] - table["best", "none"]
    share = table["epochs", "hyperband"].sum() / table["epochs", "none"].sum()
    print(f"\nmean difference of the best {gained.mean():+.1%} (seeds: {', '.join(f'{g:+.1%}' for g in gained)}); "
          f"epochs {share:.2f}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["workers", "pruning"])
    parser.add_argument("--keep", type=Path, metavar="DIR", help="for the searches; finished ones there are taken")
    arguments = parser.parse_args()
    question = {"workers": workers, "pruning": pruning}[arguments.what]
    if arguments.keep is not None:
        arguments.keep.mkdir(parents=True, exist_ok=True)
        question(Searches(arguments.keep.absolute()))
        return
    with tempfile.TemporaryDirectory() as folder:
        question(Searches(Path(folder)))


if __name__ == "__main__":
    main()
