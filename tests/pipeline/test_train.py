"""src/train.py in several processes."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from safetensors.torch import save_file

from conftest import ROOT
from darkaction.core.paths import Paths
from darkaction.core.processes import only_one
from darkaction.jobs.recognizer import train as stage
from darkaction.params import Params
from darkaction.training import weights


@pytest.mark.slow
def test_two_processes_train_one_model(smoke_out: Path, tmp_path: Path) -> None:
    """As on two GPUs, each with half of every batch; the first alone prints, records and publishes."""
    for name in ("data", "models"):
        shutil.copytree(smoke_out / name, tmp_path / name)
    shutil.rmtree(tmp_path / Paths.RECOGNIZER)
    store = f"sqlite:///{tmp_path}/mlflow.db"
    settings = ("--set", "train.devices=2", "--set", "train.epochs=2")
    done = subprocess.run(
        [sys.executable, "src/train.py", "--profile", "smoke", *settings, "--out", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "MLFLOW_TRACKING_URI": store, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "MEMBER: 2/2" in done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines() if line.startswith("epoch ")] == [
        ["epoch", "1/2"],
        ["epoch", "2/2"],
    ]
    weights.load(tmp_path / Paths.RECOGNIZER / "fold_0" / weights.WEIGHTS)
    assert [path.name for path in (tmp_path / "models").glob(".*")] == []
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("darkaction-recognizer")
    assert experiment is not None
    [run] = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED" and "sha256.fold_0" in run.data.tags


@pytest.mark.slow
@pytest.mark.parametrize(("name", "task"), [("train", "a training"), ("pretrain", "a pretraining")])
def test_the_second_of_two_trainings_in_one_place_says_who_is_there(smoke_out: Path, name: str, task: str) -> None:
    lock = smoke_out / Paths.CHECKPOINTS / {"train": "recognizer.lock", "pretrain": "pretraining.lock"}[name]
    with only_one(lock, task=task):
        done = subprocess.run(
            [
                sys.executable,
                f"src/{name}.py",
                "--profile",
                "smoke",
                "--set",
                "pretrain.enabled=true",
                "--out",
                str(smoke_out),
            ],
            cwd=ROOT,
            env={**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{smoke_out}/mlflow.db"},
            capture_output=True,
            text=True,
        )
    here = f"(process {os.getpid()} on {socket.gethostname()})"
    assert (done.returncode, done.stderr) == (
        1,
        f"error: {lock.parent}: {task} is at work here {here}; wait for its end\n",
    )


def test_a_fold_that_was_trained_before_a_stop_stays_unless_it_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[int] = []

    def train_fold(_: object, __: object, ___: object, fold: int, folder: Path, **____: object) -> None:
        made.append(fold)
        save_file({"w": torch.zeros(8)}, folder / weights.WEIGHTS)

    def train_folds() -> None:
        params = Params.load(profile="smoke", overrides=["split.folds=2"])
        stage.train_folds(params, Paths(), pd.DataFrame(), tmp_path, [[None], [None]], record=lambda *_: None)

    monkeypatch.setattr(stage.recipe, "train_fold", train_fold)
    train_folds()
    train_folds()
    assert made == [0, 1]
    damaged = tmp_path / "fold_1" / weights.WEIGHTS
    os.truncate(damaged, damaged.stat().st_size - 1)
    train_folds()
    assert made == [0, 1, 1]
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith(f"{damaged}: not a safetensors file, or damaged: ") and said.endswith("; trained again")
