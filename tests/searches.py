"""Searches in a copy of the project, for the tests that run src/tune.py."""

import contextlib
import subprocess
from pathlib import Path

import optuna
import psutil
from mlflow import MlflowClient
from mlflow.entities import Run
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

import programs


class Tune:
    """Runs of tune.py in a project, all on one storage and one MLflow store."""

    def __init__(self, project: Path, folder: Path) -> None:
        self.project, self.storage, self.store = project, str(folder / "studies.log"), f"sqlite:///{folder}/mlflow.db"

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return programs.start(self.project, "tune.py", "--storage", self.storage, *arguments, store=self.store)

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Runs to the end and returns what was printed."""
        return programs.end(self.start(*arguments), code=code)

    def studies(self) -> list[str]:
        """Their names."""
        return optuna.get_all_study_names(JournalStorage(JournalFileBackend(self.storage)))

    def trials(self, study: str | None = None) -> list[optuna.trial.FrozenTrial]:
        """The trials of that study, or of the only one there is; none where there is none yet."""
        names = [name for name in self.studies() if study in (None, name)]
        assert len(names) < 2, f"several studies: {names}"
        storage = JournalStorage(JournalFileBackend(self.storage))
        return [trial for name in names for trial in optuna.load_study(study_name=name, storage=storage).get_trials()]

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
            if "run_job" in process.cmdline()[0]:
                found.append(process)
    return found


def final(trials: list[optuna.trial.FrozenTrial]) -> list[optuna.trial.FrozenTrial]:
    """Those that count: not the ones given up, whose slot was filled again."""
    return [trial for trial in trials if trial.state.is_finished() and "lost" not in trial.user_attrs]
