"""src/tune.py when things die: workers, launchers, on purpose or not; and when two launchers work together."""

import contextlib
import random
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from optuna.trial import TrialState

from searches import Tune, busy_workers, final, ray_processes

pytestmark = pytest.mark.slow


@pytest.fixture
def tune(search_project: Path, tmp_path: Path) -> Tune:
    return Tune(search_project, tmp_path)


def kill_workers_then_launcher(tune: Tune, process: subprocess.Popen[str], *, workers: int) -> None:
    """Kills so many busy workers at random moments, the third of them by SIGTERM, and then the launcher."""
    rng = random.Random(0)
    kills = 0
    deadline = time.monotonic() + 900
    while kills < workers:
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(rng.uniform(1.0, 4.0))
        victims = busy_workers(tune.project)
        if victims:
            how = signal.SIGTERM if kills == 2 else signal.SIGKILL
            with contextlib.suppress(psutil.NoSuchProcess):  # its trial ended meanwhile
                rng.choice(victims).send_signal(how)
                kills += 1
    while not busy_workers(tune.project):
        time.sleep(0.1)
    process.kill()
    process.communicate()


def test_chaos(tune: Tune) -> None:
    """Workers killed five times and the launcher once, in 20 trials: all end, none twice."""
    arguments = ["--trials", "20", "--workers", "2", "--set", "train.epochs=30", "--set", "tune.pruner=none"]
    kill_workers_then_launcher(tune, tune.start(*arguments), workers=5)
    before = final(tune.trials())

    tune(*arguments, "--resume")
    trials = tune.trials()
    counted = final(trials)
    lost = [trial for trial in trials if "lost" in trial.user_attrs]
    assert all(trial.state.is_finished() for trial in trials)
    slots = [trial.user_attrs["slot"] for trial in counted]
    given_up = {t.user_attrs["slot"] for t in lost} - set(slots)
    assert sorted([*slots, *given_up]) == list(range(20))
    assert 3 <= len(lost) <= 7  # a kill may come when a trial has just told its end
    assert {trial.number for trial in before} <= {trial.number for trial in counted}
    assert all(trial.state == TrialState.COMPLETE for trial in counted)

    runs = {
        int(run.data.tags["optuna.trial"]): run.info.status
        for run in tune.runs("trial")
        if "optuna.trial" in run.data.tags
    }
    assert all(run.info.status != "RUNNING" for run in [*tune.runs("trial"), *tune.runs("tune")])
    assert all(runs[trial.number] == "FINISHED" for trial in counted)
    assert all(runs.get(trial.number, "KILLED") == "KILLED" for trial in lost)
    (parent,) = tune.runs("tune")
    assert parent.info.status == "FINISHED"


def test_two_launchers_share_budget_and_results(tune: Tune) -> None:
    arguments = ["--trials", "10", "--workers", "1", "--set", "train.epochs=60", "--set", "tune.pruner=none"]
    first = tune.start(*arguments)
    while not Path(tune.storage).exists() or not busy_workers(tune.project):
        time.sleep(0.2)
        assert first.poll() is None, first.communicate()
    second = tune.start(*arguments, "--resume")
    printed = [process.communicate(timeout=900) for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), printed
    trials = tune.trials()
    assert len(trials) == 10
    assert all(trial.state == TrialState.COMPLETE for trial in trials)
    assert len({trial.user_attrs["launcher"]["id"] for trial in trials}) == 2
    assert all("10 complete" in out for out, _ in printed)
    assert len(tune.runs("tune")) == 1
    assert len(tune.runs("trial")) == 10


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_stop_keeps_what_is_finished(tune: Tune, stop: signal.Signals) -> None:
    arguments = ["--workers", "1", "--set", "train.epochs=20", "--set", "tune.pruner=none"]
    process = tune.start(*arguments, "--trials", "40")
    while not Path(tune.storage).exists() or not final(tune.trials()):
        time.sleep(0.5)
        assert process.poll() is None, process.communicate()
    while not busy_workers(tune.project):
        time.sleep(0.05)
    process.send_signal(stop)
    out, errors = process.communicate(timeout=600)
    assert process.returncode == 128 + stop, out + errors
    assert "stopped" in errors
    trials = tune.trials()
    assert all(trial.state != TrialState.RUNNING for trial in trials)
    assert {trial.user_attrs.get("lost", "interrupted") for trial in trials} == {"interrupted"}
    assert {run.info.status for run in tune.runs("trial")} <= {"FINISHED", "KILLED"}
    assert [run.info.status for run in tune.runs("tune")] == ["KILLED"]
    done = len(final(trials))
    tune(*arguments, "--trials", str(done + 2), "--resume")
    assert len(final(tune.trials())) == done + 2
    assert not ray_processes(tune.project)
