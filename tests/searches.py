"""Searches in a copy of the project, for the tests that run src/tune.py."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import optuna
import psutil
from mlflow import MlflowClient
from mlflow.entities import Run
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

ROOT = Path(__file__).resolve().parents[1]


def copy_project(folder: Path) -> None:
    """What a search needs of the project; the clips for the smoke profile are made by the first search."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in names:
        if name.startswith(("src/", "profiles/", "deploy/", "experiments/", "params.yaml", "dvc.yaml")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
            (folder / name).chmod((ROOT / name).stat().st_mode)
    (folder / ".venv/bin").mkdir(parents=True)
    python = folder / ".venv/bin/python"
    python.write_text(f'#!/usr/bin/env bash\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)


class Tune:
    """Runs of tune.py in a project, all on one storage and one MLflow store."""

    def __init__(self, project: Path, folder: Path) -> None:
        self.project, self.storage, self.store = project, str(folder / "studies.log"), f"sqlite:///{folder}/mlflow.db"

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "src/tune.py", "--profile", "smoke", "--storage", self.storage, *arguments]
        # One thread each: the threads of small trainings that share cores with other tests mostly wait for each other.
        environment = {**os.environ, "MLFLOW_TRACKING_URI": self.store, "OMP_NUM_THREADS": "1"}
        for name in ("MLFLOW_RUN_ID", "DVC_STAGE", "DVC_EXP_NAME"):
            environment.pop(name, None)
        return subprocess.Popen(
            command,
            cwd=self.project,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Runs to the end and returns what was printed."""
        process = self.start(*arguments)
        out, errors = process.communicate(timeout=900)
        assert process.returncode == code, out + errors[-4000:]
        return out if code == 0 else errors

    def trials(self, study: str = "search") -> list[optuna.trial.FrozenTrial]:
        """The trials; none where there is no study yet."""
        storage = JournalStorage(JournalFileBackend(self.storage))
        try:
            return optuna.load_study(study_name=study, storage=storage).get_trials()
        except KeyError:
            return []

    def runs(self, stage: str) -> list[Run]:
        client = MlflowClient(self.store)
        experiment = client.get_experiment_by_name("darkaction-search")
        assert experiment is not None
        return list(client.search_runs([experiment.experiment_id], f"tags.stage = '{stage}'", max_results=1000))


def launchers(project: Path) -> list[psutil.Process]:
    """Searches that run in `project`, which a failed test has left."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cwd() == str(project) and "src/tune.py" in process.cmdline():
                found.append(process)
    return found


def ray_processes(project: Path) -> list[psutil.Process]:
    """Ray's workers of searches in `project`."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        try:
            if (
                process.info["cmdline"]
                and process.info["cmdline"][0].startswith("ray::")
                and in_project(process, project)
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found


def in_project(process: psutil.Process, project: Path) -> bool:
    return process.environ().get("PYTHONPATH", "").startswith(str(project))


def busy_workers(project: Path) -> list[psutil.Process]:
    """Those that run a trial."""
    found = []
    for process in ray_processes(project):
        with contextlib.suppress(psutil.Error):  # gone meanwhile
            if "run_trial" in process.cmdline()[0]:
                found.append(process)
    return found


def final(trials: list[optuna.trial.FrozenTrial]) -> list[optuna.trial.FrozenTrial]:
    """Those that count: not the ones given up, whose slot was filled again."""
    return [trial for trial in trials if trial.state.is_finished() and "lost" not in trial.user_attrs]
