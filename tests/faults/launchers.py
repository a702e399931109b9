"""Commands that start processes of their own: searches, comparisons and `dvc repro`, killed as a whole."""

import contextlib
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import psutil

import programs
from faults.pipeline import STAGES, Outcome, digests
from searches import Tune

TRIALS = "4"

DATES = {"GIT_AUTHOR_DATE": "2000-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2000-01-01T00:00:00Z"}


@dataclass
class Projects:
    """Copies of the project in which commands run, and what they gave undisturbed.

    Args:
        folder: where the copies are made.
    """

    folder: Path
    undisturbed: dict[str, tuple[object, float]] = field(default_factory=dict)

    def kill(self, name: str, rng: random.Random) -> Outcome:
        """Kills a command's launcher at a random moment, runs it again and compares with the undisturbed result."""
        make = {"search": self._search, "comparison": self._comparison, "repro": self._repro}[name]
        if name not in self.undisturbed:
            run, result = make()
            seconds = _to_end(run())
            self.undisturbed[name] = result(), seconds
        expected, seconds = self.undisturbed[name]
        run, result = make()
        process = run()
        moment = rng.uniform(0.1, 0.95) * seconds
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=moment)
        _kill_launcher(process)
        started = time.monotonic()
        try:
            _to_end(run())
        except RuntimeError as error:
            return Outcome(False, time.monotonic() - started, str(error)[-200:])
        found = result()
        note = (
            "" if found == expected else f"another result, killed after {moment:.0f} s: {_differing(found, expected)}"
        )
        return Outcome(not note, time.monotonic() - started, note)

    def _search(self) -> "tuple[Callable[[], subprocess.Popen[str]], Callable[[], object]]":
        """A search with one worker. One that goes on samples other settings than it would have, so its result is which
        trials count, and the score of the first, whose settings are those of params.yaml."""
        project = self._copy("search")
        tune = Tune(project, project)

        def run() -> "subprocess.Popen[str]":
            again = ["--resume"] if Path(tune.storage).exists() and tune.studies() else []
            return tune.start("--trials", TRIALS, "--workers", "1", "--set", "tune.pruner=none", *again)

        def result() -> object:
            counted = [trial for trial in tune.trials() if "lost" not in trial.user_attrs]
            counted.sort(key=lambda trial: int(trial.user_attrs["slot"]))
            return [(trial.user_attrs["slot"], trial.state.name) for trial in counted], counted[0].value

        return run, result

    def _comparison(self) -> "tuple[Callable[[], subprocess.Popen[str]], Callable[[], object]]":
        """One method of a table and its reference; its result: the accuracies of every run."""
        project = self._copy("comparison")

        def run() -> "subprocess.Popen[str]":
            store = f"sqlite:///{project}/mlflow.db"
            arguments = ("--workers", "1", "--methods", "tgap", "--seeds", "2")
            return programs.start(project, "reproduce_tables.py", *arguments, store=store)

        def result() -> object:
            with (project / "reports/tables/runs.csv").open(newline="") as file:
                rows = [{k: v for k, v in row.items() if k in RESULTS} for row in csv.DictReader(file)]
            return sorted(json.dumps(row, sort_keys=True) for row in rows)

        return run, result

    def _repro(self) -> "tuple[Callable[[], subprocess.Popen[str]], Callable[[], object]]":
        """`dvc repro` of the whole pipeline; its result: the bytes of every output."""
        project = self.folder / "repro"
        shutil.rmtree(project, ignore_errors=True)
        project.mkdir(parents=True)
        with mock.patch.dict(os.environ, DATES):  # the commit, which the page of the run shows, is always the same
            programs.clone_project(project)
        (project / "dvc.lock").unlink()
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        environment.pop("MLFLOW_TRACKING_URI", None)
        configure = [sys.executable, "src/configure.py", "--profile", "smoke"]
        subprocess.run(configure, cwd=project, env=environment, check=True, capture_output=True)

        def run() -> "subprocess.Popen[str]":
            return subprocess.Popen(
                [sys.executable, "-m", "dvc", "repro"],
                cwd=project,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=(project / "repro.log").open("w"),
                text=True,
                start_new_session=True,
            )

        return run, lambda: digests(project, [name for outputs in STAGES.values() for name in outputs])

    def _copy(self, name: str) -> Path:
        project = self.folder / name
        shutil.rmtree(project, ignore_errors=True)
        project.mkdir(parents=True)
        programs.copy_project(project)
        return project


RESULTS = ("method", "seed", "settings", "data", "code", "accuracy", "val_accuracy", "predicted")
"""Columns of runs.csv that do not depend on the time of day or the load of the machine."""


def _differing(found: object, expected: object) -> str:
    """The first outputs that differ, where there are names."""
    if not (isinstance(found, dict) and isinstance(expected, dict)):
        return str(found)[:200]
    names = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    return ", ".join(names[:6])


def _to_end(process: "subprocess.Popen[str]") -> float:
    """The seconds until a command has ended well.

    Raises:
        RuntimeError: with the end of what it printed.
    """
    started = time.monotonic()
    printed = process.communicate(timeout=900)
    if process.returncode:
        raise RuntimeError(f"ended with {process.returncode}: {(printed[1] or '').strip()[-300:]}")
    return time.monotonic() - started


def _kill_launcher(process: "subprocess.Popen[str]") -> None:
    """Kills the command alone, not its workers, and waits until these have ended by themselves."""
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    process.send_signal(signal.SIGKILL)
    process.communicate()
    _, alive = psutil.wait_procs(family, timeout=60)
    for member in alive:
        with contextlib.suppress(psutil.Error):
            member.kill()
