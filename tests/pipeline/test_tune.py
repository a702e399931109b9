"""src/tune.py as a person runs it: whole searches, stops and deaths, two launchers, storages, errors."""

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path

import optuna
import pandas as pd
import pytest
import torch
import yaml
from mlflow import MlflowClient
from optuna.trial import TrialState

import programs
import tune as tune_program
from darkaction.core import cli
from darkaction.core.errors import UserError
from darkaction.core.paths import Paths
from darkaction.evaluation.comparison import Comparison, compare
from darkaction.jobs.recognizer.smaller_batch import with_smaller_batch
from darkaction.params import Params
from darkaction.search import results, search, storage, studies
from darkaction.search.settings import SearchParams
from darkaction.search.study import Scored
from searches import Tune, busy_workers
from servers import Postgres, free_port

ROOT = Path(__file__).resolve().parents[2]
PLOTS = ("history.png", "parallel_coordinate.png", "slice.png", "learning_curves.png")


@pytest.fixture
def tune(search_project: Path, tmp_path: Path) -> Tune:
    return Tune(search_project, tmp_path)


@pytest.fixture(scope="module")
def searched(search_project: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tune, str]:
    """A whole search of eight trials, and what it printed."""
    tune = Tune(search_project, tmp_path_factory.mktemp("searched"))
    return tune, tune("--trials", "8", "--workers", "2")


def test_every_trial_of_the_budget_ends(searched: tuple[Tune, str]) -> None:
    tune, printed = searched
    trials = tune.trials()
    assert len(trials) == 8
    assert all(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials)
    assert "[8/8]" in printed


def test_the_first_trial_has_the_values_of_the_settings_and_all_are_within_bounds(searched: tuple[Tune, str]) -> None:
    trials = searched[0].trials()
    smoke = yaml.safe_load((ROOT / "profiles/smoke.yaml").read_text())
    assert trials[0].params["sampling.delta_max"] == smoke["sampling"]["delta_max"]
    assert all(t.params["sampling.delta_min"] <= t.params["sampling.delta_max"] for t in trials)


def test_the_record_has_one_parent_and_a_child_for_each_trial(searched: tuple[Tune, str]) -> None:
    tune, _ = searched
    (parent,) = tune.runs("tune")
    children = tune.runs("trial")
    assert len(children) == 8
    assert {run.info.status for run in [parent, *children]} == {"FINISHED"}
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    by_number = {int(run.data.tags["optuna.trial"]): run for run in children}
    for trial in tune.trials():
        run = by_number[trial.number]
        assert trial.user_attrs["mlflow_run"] == run.info.run_id
        assert run.data.tags["trial.state"] == trial.state.name.lower()
        assert run.data.tags["command"].startswith("python src/tune.py --profile smoke")
        assert float(run.data.params["focal.gamma"]) == pytest.approx(trial.params["focal.gamma"], rel=1e-3)
        if trial.state == TrialState.COMPLETE:
            assert run.data.metrics["validation.accuracy"] == trial.value


def test_the_results_say_that_nothing_can_beat_chance_on_six_clips_of_one_scene(searched: tuple[Tune, str]) -> None:
    tune, printed = searched
    best = json.loads((tune.project / "reports/tune/best.json").read_text())
    complete = [trial for trial in tune.trials() if trial.state == TrialState.COMPLETE]
    assert best["highest"]["validation_accuracy"] == pytest.approx(
        max(float(trial.value or 0) for trial in complete), abs=1e-6
    )
    assert best["best"] is None
    assert best["verdict"].startswith("no trial beats chance, 16.7%: the highest is trial ")
    assert best["verdict"] in printed
    assert "best: trial" not in printed
    assert tune.runs("tune")[0].data.tags["verdict"] == best["verdict"]
    assert best["trials"]["complete"] + best["trials"]["pruned"] == 8


def test_trials_and_plots_are_written_and_join_the_record(searched: tuple[Tune, str]) -> None:
    tune, _ = searched
    folder = tune.project / "reports/tune"
    (parent,) = tune.runs("tune")
    assert len(pd.read_csv(folder / "trials.csv")) == 8
    artifacts = {Path(file.path).name for file in MlflowClient(tune.store).list_artifacts(parent.info.run_id, "tune")}
    for name in PLOTS:
        assert (folder / name).stat().st_size > 5000
        assert name in artifacts


@pytest.mark.slow
def test_a_search_is_not_begun_twice_and_other_settings_are_another_one(searched: tuple[Tune, str]) -> None:
    tune, _ = searched
    assert tune.studies() == ["search-smoke"]
    assert "there is a study 'search-smoke'" in tune("--trials", "8", code=1)
    other = ["--set", "focal.gamma=1"]
    errors = tune("--resume", *other, code=1)
    assert "there is no study 'search-smoke-focal.gamma=1.0' in " in errors
    assert "there are: search-smoke (--profile smoke)" in errors
    errors = tune("--resume", *other, "--study", "search-smoke", code=1)
    assert "was made with focal.gamma = 2.0, and focal.gamma is 1.0" in errors
    assert "(it was made with: --profile smoke)" in errors


@pytest.mark.slow
def test_a_larger_budget_is_used_up(searched: tuple[Tune, str]) -> None:
    """The last test with this search: it adds a trial."""
    tune, _ = searched
    tune("--trials", "8", "--resume", "--workers", "1")
    assert len(tune.trials()) == 8
    tune("--trials", "9", "--resume", "--workers", "1")
    assert len(tune.trials()) == 9
    assert len(tune.runs("tune")) == 1


def test_optuna_dashboard_shows_the_study(searched: tuple[Tune, str]) -> None:
    tune, _ = searched
    port = free_port()
    program = str(Path(sys.executable).parent / "optuna-dashboard")
    dashboard = subprocess.Popen([program, tune.storage, "--port", str(port)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies", timeout=10) as answer:
                    studies = json.load(answer)["study_summaries"]
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.3)
    finally:
        dashboard.kill()
        dashboard.wait()
    assert [study["study_name"] for study in studies] == ["search-smoke"]


@pytest.mark.slow
def test_failed_trials_say_why_and_the_search_goes_on(tune: Tune) -> None:
    space = "tune.space=[{key: optimizer.max_lr, type: choice, choices: [0.02, 1.0e+30]}]"
    tune("--trials", "5", "--workers", "1", "--set", space, "--set", "optimizer.grad_clip=0", "--set", "train.epochs=3")
    trials = tune.trials()
    by_rate = {trial.params["optimizer.max_lr"]: trial for trial in trials}
    assert trials[0].state == TrialState.COMPLETE
    assert "the training diverged: loss nan" in by_rate[1e30].user_attrs["reason"]
    assert by_rate[1e30].state == TrialState.FAIL
    failed = [run for run in tune.runs("trial") if run.info.status == "FAILED"]
    assert len(failed) == sum(trial.state == TrialState.FAIL for trial in trials)
    artifacts = {file.path for file in MlflowClient(tune.store).list_artifacts(failed[0].info.run_id)}
    assert "traceback.txt" in artifacts
    assert failed[0].data.tags["trial.state"] == "failed"


@pytest.mark.slow
def test_several_seeds_a_trial(tune: Tune) -> None:
    settings = ["tune.seeds=3", "tune.pruner=wilcoxon", "tune.sampler=random"]
    tune("--trials", "2", "--workers", "2", *(part for text in settings for part in ("--set", text)))
    trials = tune.trials()
    for trial in trials:
        assert trial.state == TrialState.COMPLETE
        assert sorted(trial.intermediate_values) == [1, 2, 3]
        assert trial.value == pytest.approx(sum(trial.intermediate_values.values()) / 3)
        assert len(trial.user_attrs["right"]) == 3 * 6
    names = {name for run in tune.runs("trial") for name in run.data.metrics}
    assert {"seed_0.val_accuracy", "seed_1.val_accuracy", "seed_2.val_accuracy"} <= names


@pytest.mark.slow
def test_when_everything_fails_the_search_stops(tune: Tune) -> None:
    space = "tune.space=[{key: focal.gamma, type: float, low: 1.0, high: 3.0}]"
    everything = ["--set", space, "--set", "optimizer.max_lr=1e30", "--set", "optimizer.grad_clip=0"]
    errors = tune("--trials", "20", "--workers", "1", *everything, "--set", "train.epochs=3", code=1)
    assert "trials all failed; the last: the training diverged" in errors
    assert len([trial for trial in tune.trials() if trial.state == TrialState.FAIL]) < 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "tune.space=[{key: focal.gama, type: float, low: 0, high: 1}]"], "did you mean 'focal.gamma'"),
        (["--set", "focal.gama=1"], "unknown key 'focal.gama'"),
        (
            ["--storage", "postgresql://me:secret@127.0.0.1:1/x"],
            "--storage postgresql://127.0.0.1:1/x: every user of this machine can read a password on the command line",
        ),
        (["--storage", "postgresql://127.0.0.1:1/x"], "OPTUNA_STORAGE: postgresql://127.0.0.1:1/x: cannot be opened"),
        (["--storage", "grpc://127.0.0.1:1"], "OPTUNA_STORAGE: grpc://127.0.0.1:1: cannot be opened"),
        (["--storage", "sqlite:///x.db"], "SQLite does not bear several writers"),
        (["--resume", "--study", "nosuch"], "there is no study 'nosuch'"),
        (["--apply"], "configure.py --profile smoke; dvc repro; python src/tune.py; then --resume --apply"),
        (["--set", "split.validation=none"], "a search needs validation clips"),
    ],
)
def test_errors_come_before_anything_is_made(
    tmp_path: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "studies.log"
    monkeypatch.setattr(sys, "argv", ["tune.py", "--profile", "smoke", "--storage", str(file), *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.run(tune_program.main)
    errors = capsys.readouterr().err
    assert caught.value.code == 1
    assert message in errors
    assert "Traceback" not in errors
    assert "secret" not in errors
    assert not file.exists() or file.stat().st_size == 0


def test_the_storage_is_that_of_the_environment_unless_the_command_line_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPTUNA_STORAGE", raising=False)
    assert storage.address(None) == str(tmp_path / "runs/tune/studies.log")
    monkeypatch.setenv("OPTUNA_STORAGE", "postgresql://me:secret@host/x")
    assert storage.address(None) == "postgresql://me:secret@host/x"
    assert storage.address("other.log") == str(tmp_path / "other.log")


@pytest.mark.slow
def test_missing_cluster_is_an_error_before_any_trial(tune: Tune) -> None:
    errors = tune("--trials", "2", "--ray-address", "127.0.0.1:1", code=1)
    assert "--ray-address 127.0.0.1:1: no Ray cluster there" in errors
    assert "Traceback" not in errors
    assert {trial.state for trial in tune.trials()} == {TrialState.WAITING}


@pytest.mark.slow
def test_postgresql_and_the_grpc_proxy_in_front_of_it(tune: Tune, postgres: Postgres) -> None:
    """Two launchers, one of which reaches the database through Optuna's proxy, share a study."""
    port = free_port()
    url = postgres.uri.replace("postgresql://", "postgresql+psycopg://")
    program = f"import optuna; optuna.storages.run_grpc_proxy_server(optuna.storages.RDBStorage({url!r}), port={port})"
    proxy = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    try:
        # Trials long enough that the second launcher is up before the first has run them all.
        arguments = ["--trials", "8", "--workers", "1", "--set", "train.epochs=60", "--set", "tune.pruner=none"]
        tune.storage = f"grpc://127.0.0.1:{port}"
        first = tune.start(*arguments)
        while not busy_workers(tune.project):
            time.sleep(0.2)
            assert first.poll() is None, first.communicate()
        tune.storage = postgres.uri
        second = tune.start(*arguments, "--resume")
        printed = [process.communicate(timeout=900) for process in (first, second)]
        assert (first.returncode, second.returncode) == (0, 0), printed
        trials = optuna.load_study(study_name="search-smoke-train.epochs=60-tune.pruner=none", storage=url).get_trials()
    finally:
        proxy.kill()
        proxy.wait()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 8
    assert len({trial.user_attrs["launcher"]["id"] for trial in trials}) == 2


@pytest.mark.slow
def test_a_restart_of_the_database_holds_a_search_up(tune: Tune, postgres: Postgres) -> None:
    arguments = ["--trials", "4", "--workers", "1", "--set", "train.epochs=30", "--set", "tune.pruner=none"]
    tune.storage = postgres.uri
    process = tune.start(*arguments)
    while not busy_workers(tune.project):
        time.sleep(0.2)
        assert process.poll() is None, process.communicate()
    time.sleep(2)
    postgres.stop()
    time.sleep(8)
    postgres.start()
    out, errors = process.communicate(timeout=900)
    assert process.returncode == 0, out + errors
    assert "the storage is away, trying again" in errors
    url = postgres.uri.replace("postgresql://", "postgresql+psycopg://")
    trials = optuna.load_study(study_name="search-smoke-train.epochs=30-tune.pruner=none", storage=url).get_trials()
    assert [trial.state for trial in trials if "lost" not in trial.user_attrs] == [TrialState.COMPLETE] * 4


# --apply


CONFIRMING = """
from dataclasses import replace

from darkaction.jobs.recognizer.train import starting_weights
from darkaction.search import search, studies
from darkaction.search.confirmation import confirm
from darkaction.search.settings import SearchParams

params = SearchParams.load(profile="smoke", overrides=["tune.confirm_seeds=2"])
inputs = search.prepared(params)
job = search.job_template(params, inputs)
study = studies.join({storage!r}, {name!r}, params, data=job.clips)
job = replace(job, parent=study.token, inits=starting_weights(params, inputs.paths))
found = confirm(study.scored()[0], params, job, workers=1, ray_address=None)
print("compared:", found.seeds, "seeds,", found.n, "predictions")
"""
"""What `--apply` does with a trial that was better, which no trial of so small a search is."""


@pytest.mark.slow
def test_a_trial_is_confirmed_with_seeds_that_no_trial_had(searched: tuple[Tune, str]) -> None:
    tune, _ = searched
    [name] = [name for name in tune.studies() if name == "search-smoke"]
    script = tune.project / "src/confirming.py"
    script.write_text(CONFIRMING.format(storage=tune.storage, name=name))
    before = {run.info.run_id for run in tune.runs("trial")}
    printed = programs.end(programs.start(tune.project, script.name, store=tune.store), code=0)
    assert "2 other seeds each" in printed and "params.yaml, again: validation accuracy" in printed
    assert "compared: 2 seeds, 12 predictions" in printed
    again = [run for run in tune.runs("trial") if run.info.run_id not in before]
    assert {run.info.status for run in again} == {"FINISHED"} and len(again) == 2
    (parent,) = tune.runs("tune")
    assert {run.data.tags["mlflow.parentRunId"] for run in again} == {parent.info.run_id}
    assert {key.split(".")[0] for run in again for key in run.data.metrics if key.startswith("seed_")} == {
        "seed_0",
        "seed_1",
    }
    assert not any((tune.project / "runs/tune/confirmation").iterdir())


@pytest.fixture
def asked() -> list[int]:
    """The trials that were to be confirmed."""
    return []


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[int]) -> Callable[..., None]:
    """Applies a study of two trials that get so many of 48 validation clips in 8 scenes right."""
    clips = pd.DataFrame(
        {
            "clip_id": [f"{k:02d}" for k in range(48)],
            "label": [k // 8 for k in range(48)],
            "fold_0": "val",
            "scene": [k % 8 for k in range(48)],
        }
    )
    monkeypatch.setattr(results.data, "usable_clips", lambda paths, datasets: clips)
    monkeypatch.setattr(results, "ROOT", tmp_path)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())

    def apply(first: int, second: int, *, force: bool = False, again: int | None = None) -> None:
        """`again`: so many clips are right when the second is confirmed, as many with each of two seeds."""
        asked.clear()

        def confirm(highest: Scored) -> Comparison:
            asked.append(highest.number)
            trial, own = ([k < right for k in range(48)] for right in (again or second, first))
            return compare([trial] * 2, [own] * 2, clips["scene"], confidence=0.95)

        params = SearchParams.load(overrides=["tune.space=[{key: focal.gamma, type: float, low: 0.0, high: 5.0}]"])
        study = studies.create(str(tmp_path / f"{first}-{second}-{force}.log"), "s", params, data="d", arguments="")
        study.fill(2)
        for right in (first, second):
            claim = study.claim(2)
            assert claim is not None
            study.complete(claim.trial_id, right / 48, [k < right for k in range(48)])
        results.apply(study, params, Paths(), force=force, confirm=confirm)

    return apply


def test_apply_writes_what_is_better_beyond_noise(
    tmp_path: Path, finished: Callable[..., None], asked: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    finished(16, 40)
    assert asked == [1]
    printed = capsys.readouterr().out
    assert "validation accuracy 83.3% with its values, 33.3% with those of params.yaml: gain +50.0% [" in printed
    assert "48 predictions in 8 scenes; interval for the best of 2 trials" in printed
    assert re.search(r"^-  gamma: 2\.0\b.*\n\+  gamma: ", printed, re.MULTILINE)
    before, after = (ROOT / "params.yaml").read_text(), (tmp_path / "params.yaml").read_text()
    changed = [line for line in after.splitlines() if line not in before.splitlines()]
    assert len(changed) == 1
    assert SearchParams.load(tmp_path / "params.yaml").focal.gamma != 2.0


def test_apply_refuses_what_is_not_better_again(tmp_path: Path, finished: Callable[..., None]) -> None:
    with pytest.raises(
        UserError,
        match=r"trial 1 is not shown to be better than params\.yaml; trained again with 2 other seeds: \+2\.1% \[-",
    ):
        finished(16, 40, again=17)
    assert (tmp_path / "params.yaml").read_text() == (ROOT / "params.yaml").read_text()


def test_apply_refuses_noise_unless_forced(tmp_path: Path, finished: Callable[..., None], asked: list[int]) -> None:
    with pytest.raises(UserError, match=r"gain \+2\.1% \[.*within noise, so params\.yaml stays as it is"):
        finished(30, 31)
    with pytest.raises(
        UserError, match=r"no trial beats chance, 16\.7%: .* within noise, so params\.yaml stays as it is"
    ):
        finished(2, 8)
    assert (tmp_path / "params.yaml").read_text() == (ROOT / "params.yaml").read_text()
    finished(30, 31, force=True)
    assert asked == []
    assert (tmp_path / "params.yaml").read_text() != (ROOT / "params.yaml").read_text()


def test_apply_leaves_the_best_alone(
    tmp_path: Path, finished: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    finished(31, 30)
    assert "no trial was better than params.yaml: nothing to apply" in capsys.readouterr().out
    assert (tmp_path / "params.yaml").read_text() == (ROOT / "params.yaml").read_text()


# Memory


def test_batch_is_halved_once_when_memory_does_not_suffice() -> None:
    params = Params.load()
    tried, told = [], []

    def train(used: Params, *, limit: int) -> list[bool]:
        tried.append(used.train.batch_size)
        if used.train.batch_size > limit:
            torch.empty(2**50)  # torch's own error
        return [True]

    assert with_smaller_batch(partial(train, limit=4), params, told.append) == [True]
    assert tried == [8, 4] and told == [4]
    with pytest.raises(RuntimeError, match="allocate"):
        with_smaller_batch(partial(train, limit=2), params, told.append)
    assert tried == [8, 4, 8, 4]
    with pytest.raises(RuntimeError, match="other"):
        with_smaller_batch(lambda used: raise_other(), params, told.append)


def raise_other() -> list[bool]:
    raise RuntimeError("something other")


@pytest.mark.slow
def test_settings_of_the_pretraining_are_searched(tune: Tune) -> None:
    space = "tune.space=[{key: pretrain.domain_randomization.luma, type: choice, choices: [[8.5, 32.0], [60.0, 90.0]]}]"
    wanted = ["--set", space, "--set", "pretrain.enabled=true"]
    error = tune("--trials", "2", *wanted, code=1)
    assert "searches settings of pretrain, which needs pretrain.enabled: true and train.init_from: models/" in error
    tune("--trials", "2", "--workers", "1", *wanted, "--set", "train.init_from=models/pretraining")
    assert [trial.state for trial in tune.trials()] == [TrialState.COMPLETE] * 2
    children = tune.runs("trial")
    assert all(run.data.metrics["pretraining.train_loss"] > 0 for run in children)
    assert "[8.5, 32.0]" in {run.data.params["pretrain.domain_randomization.luma"] for run in children}


def test_clips_of_other_settings_are_not_searched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(stage: str, *_: object) -> list[str]:
        return ["split.strategy"] if stage == "prepare@demo" else []

    monkeypatch.setattr(search, "changed_since", changed)
    with pytest.raises(UserError, match=r"split\.strategy: not what stage prepare@demo ran with; dvc repro first"):
        search.prepared(SearchParams.load())
