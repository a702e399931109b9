"""What searching costs and gains: workers, overhead a trial, pruning. Prints one table a question.

    python benchmarks/search_speed.py workers   two workers against one, and the trainings alone (5 minutes)
    python benchmarks/search_speed.py pruning   what pruned ones find in half of the epochs, three seeds (an hour)

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
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from darkaction.core import config
from darkaction.core.paths import ROOT, Paths
from darkaction.evaluation.comparison import compare
from darkaction.jobs.identity import index_settings
from darkaction.jobs.inputs import inputs_for
from darkaction.params import Params
from darkaction.search import studies
from darkaction.training import data

WORKERS = ("train.epochs=60", "tune.pruner=none", "train.precision=fp32")
"""Over the profile smoke: 18 training clips."""

PRUNING = ("sampling.num_frames=8", "model.widths=[8, 16, 32, 64]", "model.head=average", "train.epochs=24")
PRUNING += ("tune.min_epochs=1", "train.batch_size=16")
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


def direct(trainings: int) -> float:
    """Seconds of one training with its validation, without Optuna, Ray and MLflow: the mean after the first."""
    paths = inputs_for(Params.load(profile="smoke"), make=True).paths
    moved = {name: str(place) for name, place in paths.moved.items()}
    program = f"""
import sys, time, tempfile; sys.path.insert(0, "src")
from pathlib import Path
import torch; torch.set_num_threads(1)
from darkaction.core.paths import Paths
from darkaction.jobs.recognizer import recipe
from darkaction.jobs.identity import index_settings
from darkaction.jobs.recognizer.scoring import predict_part
from darkaction.params import Params
from darkaction.training import data
params = Params.load(profile="smoke", overrides={WORKERS!r})
paths = Paths(moved={{name: Path(place) for name, place in {moved!r}.items()}})
clips = data.usable_clips(paths, index_settings(params))
for number in range({trainings}):
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name); (folder / "fold_0").mkdir()
        recipe.train_fold(params, paths, clips, 0, folder / "fold_0", checkpoints=folder / "c", init=None,
                          max_steps=None, on_epoch=lambda epoch, row: None)
        predict_part(params, paths, clips, "val", recognizer=folder)
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


@dataclass(frozen=True)
class Best:
    """The best trial of a search that had ended when so many epochs were trained."""

    score: float
    right_N: list[bool]  # whether it names each validation clip rightly, sorted by id


def best_within(searches: Searches, name: str, table: pd.DataFrame, epochs: float) -> Best:
    """What the search `name` had found when its ended trials had taken at most so many epochs."""
    ended = table.sort_values("ended")
    complete = ended[(ended["steps"].cumsum() <= epochs) & (ended["state"] == "complete")]
    if complete.empty:
        sys.exit(f"{name}: no trial was complete within {epochs:.0f} epochs")
    best = complete.loc[complete["score"].idxmax()]
    trial = studies.find(str(searches.folder / f"{name}.log"), name).trials[int(best["number"])]
    return Best(score=float(best["score"]), right_N=[digit == "1" for digit in trial.user_attrs["right"]])


def pruning(searches: Searches) -> None:
    """The best score of a search without pruning, and what the same search with it finds in half of its epochs."""
    trials = 16
    params = Params.load()
    space = [entry for entry in config.as_nested(params)["tune"]["space"] if entry["key"] != "train.batch_size"]
    clips = data.select(data.usable_clips(Paths(), index_settings(params)), fold=0, part="val").sort_values("clip_id")
    print("| seed | best, unpruned | pruned, in half the epochs | difference, 95 % | p | pruned, in all | epochs |")
    print("|---|---|---|---|---|---|---|")
    gained, shares = [], []
    for seed in range(SEEDS):
        tables = {}
        for pruner in ("none", "hyperband"):
            settings = (*PRUNING, f"tune.space={json.dumps(space)}", f"tune.pruner={pruner}", f"seed={seed}")
            tables[pruner] = searches.run(f"{pruner}{seed}", *settings, trials=trials, workers=2)
        epochs = {pruner: int(table["steps"].sum()) for pruner, table in tables.items()}
        whole = best_within(searches, f"none{seed}", tables["none"], epochs["none"])
        half = best_within(searches, f"hyperband{seed}", tables["hyperband"], epochs["none"] / 2)
        pruned = best_within(searches, f"hyperband{seed}", tables["hyperband"], epochs["hyperband"])
        found = compare([half.right_N], [whole.right_N], clips["scene"].to_numpy(), confidence=0.95)
        gained.append(found.difference)
        shares.append(epochs["hyperband"] / epochs["none"])
        print(
            f"| {seed} | {whole.score:.1%} | {half.score:.1%} | {found.difference:+.1%} "
            f"[{found.low:+.1%}, {found.high:+.1%}] | {found.p_value:.2f} | {pruned.score:.1%} | {shares[-1]:.2f} |",
            flush=True,
        )
    print(f"\n{trials} trials; mean difference {np.mean(gained):+.1%}; all trials with pruning took "
          f"{np.mean(shares):.2f} of the epochs without")  # fmt: skip


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
