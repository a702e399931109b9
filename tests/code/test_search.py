"""search: the space, the budget and its slots, trials given up, samplers and pruners, importances."""

import os
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from darkaction.core import config
from darkaction.core.errors import UserError
from darkaction.core.paths import ROOT
from darkaction.core.processes import machine
from darkaction.search.launchers import LAUNCHER_GONE
from darkaction.search.results import judge
from darkaction.search.settings import SearchParams
from darkaction.search.space import baseline, check_space, with_values
from darkaction.search.storage import RETRY_AFTER, connect, is_storage_away
from darkaction.search.studies import arguments_text, chosen, create, find, join, name_for
from darkaction.search.study import DIED, INTERRUPTED, TRIES, Scored, Search

GAMMA = "{key: focal.gamma, type: float, low: 0.0, high: 5.0}"
DELTA = "{key: sampling.delta_min, type: float, low: 0.0, high: 4.0}"
DEPENDENT = "{key: sampling.delta_max, type: float, low: sampling.delta_min, high: 16.0}"


def params_with(*entries: str, **tune: Any) -> SearchParams:
    overrides = [f"tune.{key}={value}" for key, value in tune.items()]
    if entries:
        overrides.append(f"tune.space=[{', '.join(entries)}]")
    return SearchParams.load(overrides=overrides)


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return str(tmp_path / "studies.log")


def run_all(study: Search, budget: int, score: Any = None) -> list[dict[str, Any]]:
    """Runs a budget without training; the values of each trial."""
    sampled = []
    study.fill(budget)
    while claim := study.claim(budget):
        sampled.append(claim.values)
        value = 0.5 if score is None else score(claim.values)
        study.complete(claim.trial_id, value, [True, False])
    return sampled


# The space


def test_committed_spaces_are_valid() -> None:
    for profile in (None, *config.profile_names()):
        check_space(SearchParams.load(profile=profile))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["{key: focal.gama, type: float, low: 0, high: 1}"], "focal.gama is no setting; did you mean 'focal.gamma'?"),
        (["{key: enhance.gamma, type: float, low: 1, high: 3}"], "enhance.gamma cannot be searched"),
        (["{key: sampling.test_draws, type: int, low: 1, high: 9}"], "is not searched: more draws always help"),
        ([GAMMA, GAMMA], "focal.gamma stands there twice"),
        ([DEPENDENT, DELTA], "sampling.delta_max needs sampling.delta_min, which must stand before it"),
        (["{key: focal.gamma, type: float, low: model.head, high: 5}"], "the bound 'model.head' is no setting with a"),
        (["{key: focal.gamma, type: float, low: 5, high: 3}"], "low is 5.0 and high 3.0; expected low <= high"),
        (["{key: bert.layers, type: int, low: 1.2, high: 1.8}"], "no whole number lies in [1.2, 1.8]"),
        (["{key: focal.gamma, type: float, low: 0, high: 3, log: true}"], "expected 0 < low <= high"),
        (["{key: train.epochs, type: float, low: 1, high: 90}"], "train.epochs is"),
        (["{key: bert.heads, type: choice, choices: [8, 7]}"], "not valid (bert.heads = 7)"),
        (["{key: model.head, type: choice, choices: [bert, lstm]}"], "not valid (model.head"),
        (["{key: sampling.delta_min, type: float, low: 0, high: 9}"], "delta_max is 6.0, below delta_min"),
        (["{key: focal.gamma, type: float, low: 3, high: 5}"], "focal.gamma: [3.0, 5.0] leaves out 2.0"),
        (["{key: focal.alpha, type: choice, choices: [balanced, 1.0]}"], '["balanced", 1.0] leaves out null'),
        (["{key: focal.gamma, type: float, low: 0, high: 5, when: {model.hed: [bert]}}"], "when names 'model.hed'"),
    ],
)
def test_bad_space_is_named(entries: Sequence[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        check_space(params_with(*entries))
    assert message in str(caught.value)


def test_conditions_and_bounds_hold_in_every_trial(storage: str) -> None:
    params = params_with(
        DELTA,
        DEPENDENT,
        "{key: model.head, type: choice, choices: [bert, average]}",
        "{key: bert.layers, type: int, low: 1, high: 3, when: {model.head: [bert]}}",
        "{key: model.widths, type: choice, choices: [[16, 32, 64, 128], [8, 16, 32, 64]]}",
    )
    check_space(params)
    study = create(storage, "s", params, data="d", arguments="")
    sampled = run_all(study, 30, lambda values: values["sampling.delta_max"] / 20)
    assert sampled[0] == baseline(params)
    assert all(values["sampling.delta_min"] <= values["sampling.delta_max"] <= 16 for values in sampled)
    assert all(("bert.layers" in values) == (values["model.head"] == "bert") for values in sampled)
    assert {tuple(values["model.widths"]) for values in sampled} == {(16, 32, 64, 128), (8, 16, 32, 64)}
    for values in sampled:
        with_values(params, values)
    # the setting whose range depends on another has its share, here nearly all of it
    importances = study.importances()
    assert max(importances, key=lambda key: importances[key]) == "sampling.delta_max"


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp", "qmc"])
def test_samplers_sample_and_repeat_with_the_seed(tmp_path: Path, sampler: str) -> None:
    params = params_with(GAMMA, DELTA, sampler=sampler)
    series = [
        run_all(
            create(str(tmp_path / name), "s", params, data="d", arguments=""),
            14,
            lambda values: values["focal.gamma"],
        )
        for name in ("a", "b")
    ]
    assert series[0] == series[1]
    assert len({values["focal.gamma"] for values in series[0]}) > 10  # gp comes back to what is best


@pytest.mark.parametrize(("pruner", "stops"), [("hyperband", True), ("median", True), ("none", False)])
def test_pruners_stop_what_is_worse(storage: str, pruner: str, stops: bool) -> None:
    params = params_with(GAMMA, pruner=pruner, min_epochs=1)
    study = create(storage, "s", params, data="d", arguments="")
    study.fill(12)
    steps = []
    for number in range(12):
        claim = study.claim(12)
        assert claim is not None
        for epoch in range(1, params.train.epochs + 1):
            if study.report(claim.trial_id, epoch, 0.9 - 0.05 * number):
                study.prune(claim.trial_id)
                break
        else:
            study.complete(claim.trial_id, 0.9 - 0.05 * number, [True])
        steps.append(epoch)
    assert (sum(steps) < 12 * params.train.epochs) == stops
    assert study.progress(12)["pruned"] == sum(count < params.train.epochs for count in steps)


def test_wilcoxon_prunes_by_seeds(storage: str) -> None:
    params = params_with(GAMMA, pruner="wilcoxon", seeds=8)
    study = create(storage, "s", params, data="d", arguments="")
    study.fill(2)
    best, worse = study.claim(2), study.claim(2)
    assert best is not None and worse is not None
    for seed in range(8):
        assert not study.report(best.trial_id, seed, 0.9)
    study.complete(best.trial_id, 0.9, [True] * 8)
    assert any(study.report(worse.trial_id, seed, 0.1 + 0.01 * seed) for seed in range(8))


def test_pruner_and_seeds_must_fit() -> None:
    with pytest.raises(UserError, match="pruner hyperband prunes by epochs, which goes with seeds 1"):
        params_with(seeds=3)
    with pytest.raises(UserError, match="pruner wilcoxon compares trials seed by seed"):
        params_with(pruner="wilcoxon")


# Studies


@pytest.mark.parametrize(
    ("profile", "overrides", "name"),
    [
        (None, [], "search"),
        ("smoke", [], "search-smoke"),
        ("smoke", ["focal.gamma=1", "train.epochs=3"], "search-smoke-focal.gamma=1.0-train.epochs=3"),
        ("smoke", ["train.epochs=3", "focal.gamma=1.0"], "search-smoke-focal.gamma=1.0-train.epochs=3"),
        (
            None,
            ["tune.trials=8", "evaluate.bootstrap_samples=10"],
            "search",
        ),  # what launchers of one study may differ in
        (None, ["tune.pruner=none", "focal.alpha=null"], "search-focal.alpha=null-tune.pruner=none"),
        (None, ["model.widths=[8, 8, 8, 16]"], "search-model.widths=012d0e70"),
        (None, ["bert={layers: 2}"], "search-bert.layers=2"),
    ],
)
def test_a_study_is_named_by_what_is_laid_over_params_yaml(
    profile: str | None, overrides: list[str], name: str
) -> None:
    assert name_for(profile, overrides, SearchParams.load(profile=profile, overrides=overrides)) == name


def test_names_of_many_settings_stay_short_and_differ() -> None:
    values = [[f"augmentation.{key}=0.{n}" for key in ("flip", "translation")] for n in (1, 2)]
    more = ["focal.gamma=1", "train.epochs=30", "train.batch_size=4", "optimizer.max_lr=0.001", "bert.dropout=0.1"]
    names = {name_for(None, o, SearchParams.load(overrides=o)) for o in ([*v, *more] for v in values)}
    assert len(names) == 2
    assert all(len(name) <= 100 and name.startswith("search-7-settings-") for name in names)


def test_a_study_of_the_plain_name_is_found_by_its_settings(storage: str) -> None:
    """All studies were called `search` once, whatever was laid over params.yaml."""
    given = ["focal.gamma=1", "tune.trials=8"]
    params = SearchParams.load(profile="smoke", overrides=given)
    own = "search-smoke-focal.gamma=1.0"
    assert chosen(storage, "smoke", given, params) == own
    create(storage, "search", SearchParams.load(), data="d", arguments="")
    assert chosen(storage, "smoke", given, params) == own


def test_a_study_of_the_plain_name_with_these_settings_goes_on(storage: str) -> None:
    params = SearchParams.load(profile="smoke")
    create(storage, "search", params, data="d", arguments="--profile smoke")
    assert chosen(storage, "smoke", [], params) == "search"
    assert chosen(storage, None, [], SearchParams.load()) == "search"
    create(storage, "search-smoke", params, data="d", arguments="--profile smoke")
    assert chosen(storage, "smoke", [], params) == "search-smoke"


def test_studies_are_listed_with_the_arguments_that_find_them(storage: str) -> None:
    params = SearchParams.load(profile="smoke")
    arguments = arguments_text("smoke", ["tune.space=[{key: focal.gamma, type: float, low: 0, high: 1}]"])
    create(storage, "a", params, data="d", arguments=arguments)
    optuna.create_study(study_name="b", storage=connect(storage))
    with pytest.raises(UserError) as caught:
        find(storage, "search")
    assert "; there are: a (--profile smoke --set 'tune.space=[{key: focal.gamma, type: float, " in str(caught.value)
    assert "; b (its arguments are not on record)" in str(caught.value)


def test_names_settings_and_data_are_checked(storage: str) -> None:
    params = params_with(GAMMA)
    create(storage, "s", params, data="d", arguments="")
    with pytest.raises(UserError, match=r"there is a study 's' in .*: --resume to go on with it"):
        create(storage, "s", params, data="d", arguments="")
    with pytest.raises(UserError, match=r"there is no study 't' in .*; there are: s \(no --profile, no --set\)$"):
        join(storage, "t", params, data="d")
    with pytest.raises(UserError, match=r"made with tune.space = .*, and tune.space is"):
        join(storage, "s", params_with(DELTA), data="d")
    with pytest.raises(UserError, match="made with data = d, and data is e"):
        join(storage, "s", params, data="e")
    other_budget = replace(params, tune=replace(params.tune, trials=99))
    assert join(storage, "s", other_budget, data="d").token == join(storage, "s", params, data="d").token


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:///x.db", "SQLite does not bear several writers"),
        ("postgresql://u:secret@127.0.0.1:1/x", "OPTUNA_STORAGE: postgresql://127.0.0.1:1/x: cannot be opened"),
        ("nosuchdb://x", "cannot be opened"),
        ("/proc/nothing/studies.log", "cannot be opened"),
    ],
)
def test_bad_storage_is_named(url: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        connect(url)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_damaged_journal_is_named(tmp_path: Path) -> None:
    path = tmp_path / "studies.log"
    path.write_text("no journal\nat all\n")
    with pytest.raises(UserError, match="cannot be opened"):
        connect(str(path))


# The budget


def test_two_launchers_never_run_the_same_trial(storage: str) -> None:
    params = params_with(GAMMA)
    first = create(storage, "s", params, data="d", arguments="")
    second = join(storage, "s", params, data="d")
    first.fill(5)
    second.fill(5)
    claims = [launcher.claim(5) for launcher in (first, second, first, second, first, second)]
    assert claims[5] is None
    assert sorted(claim.number for claim in claims if claim) == list(range(5))
    assert first.progress(5) == second.progress(5) == {"running": 5}


def test_slot_filled_twice_is_run_once(storage: str) -> None:
    params = params_with(GAMMA)
    study = create(storage, "s", params, data="d", arguments="")
    study.fill(2)
    study._study.enqueue_trial({}, user_attrs={"slot": 1})  # as by a launcher that looked at the same time
    assert len(run_all(study, 2)) == 2
    assert study.progress(2) == {"complete": 2}
    assert [trial.state.name for trial in study._study.trials] == ["COMPLETE", "COMPLETE", "FAIL"]


def test_a_lost_trial_is_repeated_once_with_its_values(storage: str) -> None:
    study = create(storage, "s", params_with(GAMMA), data="d", arguments="")
    study.fill(2)
    study.claim(2)
    sampled = []
    for _ in range(TRIES):
        claim = study.claim(2)
        assert claim is not None
        sampled.append(claim.values)
        study.mark_lost(claim.trial_id, DIED, "its worker died")
        study.fill(2)
    assert study.claim(2) is None
    assert sampled[0] == sampled[1]
    assert study.progress(2) == {"running": 1, "failed": 1}
    assert study.table()["retry_of"].dropna().tolist() == [1]


def test_a_stopped_trial_is_repeated_as_often_as_it_is_stopped(storage: str) -> None:
    study = create(storage, "s", params_with(GAMMA), data="d", arguments="")
    for _ in range(4):
        study.fill(1)
        claim = study.claim(1)
        assert claim is not None and claim.values == baseline(params_with(GAMMA))
        study.mark_lost(claim.trial_id, INTERRUPTED, "the search was stopped")
    assert study.progress(1) == {"waiting": 1}


def test_a_failed_trial_is_not_repeated(storage: str) -> None:
    study = create(storage, "s", params_with(GAMMA), data="d", arguments="")
    study.fill(1)
    claim = study.claim(1)
    assert claim is not None
    study.fail(claim.trial_id, "the training diverged")
    study.fill(1)
    assert study.claim(1) is None
    assert study.table()["reason"].tolist() == ["the training diverged"]


def test_an_end_that_comes_too_late_changes_nothing(storage: str) -> None:
    study = create(storage, "s", params_with(GAMMA), data="d", arguments="")
    study.fill(1)
    claim = study.claim(1)
    assert claim is not None
    study.mark_lost(claim.trial_id, DIED, "its launcher is gone")
    study.complete(claim.trial_id, 0.9, [True])
    study.mark_lost(claim.trial_id, DIED, "again")
    assert [trial.state for trial in study._study.trials] == [TrialState.FAIL]
    assert study.table()["reason"].tolist() == ["its launcher is gone"]


def launched_by(study: Search, **owner: Any) -> int:
    """A running trial of another launcher; its number."""
    study.fill(1)
    claim = study.claim(1)
    assert claim is not None
    study.note(claim.trial_id, launcher={"id": "other", "pid": 1, "started": 0.0, **owner})
    return claim.number


def test_launcher_of_this_machine_is_gone_when_its_process_is(storage: str) -> None:
    study = create(storage, "s", params_with(GAMMA), data="d", arguments="")
    number = launched_by(study, host=machine(), pid=os.getpid(), started=0.0)
    assert [trial.number for trial in study.reconcile()] == [number]
    study.fill(1)
    assert study.progress(1) == {"waiting": 1}


def test_launcher_of_another_machine_is_gone_when_it_is_silent(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    study = create(storage, "s", params_with(GAMMA), data="d", arguments="")
    number = launched_by(study, host="elsewhere")
    for heartbeat in range(12):  # it lives: its count changes
        study._study.set_user_attr("launcher.other", heartbeat)
        assert study.reconcile() == []
        clock[0] += LAUNCHER_GONE / 3
    for _ in range(2):
        assert study.reconcile() == []
        clock[0] += LAUNCHER_GONE / 3 + 1
    assert [trial.number for trial in study.reconcile()] == [number]


def test_silence_while_the_storage_was_away_is_none(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    study = create(storage, "s", params_with(GAMMA), data="d", arguments="")
    launched_by(study, host="elsewhere")
    study.reconcile()
    clock[0] += 10 * LAUNCHER_GONE  # the storage was away
    assert study.reconcile() == []


def test_first_trial_is_never_pruned(storage: str) -> None:
    study = create(storage, "s", params_with(GAMMA, pruner="median", min_epochs=1), data="d", arguments="")
    study.fill(8)
    first = study.claim(8)
    assert first is not None
    while claim := study.claim(8):
        study.report(claim.trial_id, 3, 0.9)
        study.complete(claim.trial_id, 0.9, [True])
    assert not study.report(first.trial_id, 3, 0.1)


def test_trials_of_a_launcher_that_leaves_are_open_again(storage: str) -> None:
    study = create(storage, "s", params_with(GAMMA), data="d", arguments="")
    study.fill(3)
    study.claim(3)
    other = join(storage, "s", params_with(GAMMA), data="d")
    other.claim(3)
    assert study.has_company()
    other.release("the search was stopped")
    assert not study.has_company()
    study.fill(3)
    assert study.progress(3) == {"running": 1, "waiting": 2}


def test_study_whose_maker_was_killed_is_made_whole(storage: str) -> None:
    optuna.create_study(study_name="s", storage=connect(storage), direction="maximize")
    with pytest.raises(UserError, match="not made by this program, or not whole"):
        join(storage, "s", params_with(GAMMA), data="d")
    assert len(run_all(create(storage, "s", params_with(GAMMA), data="d", arguments=""), 2)) == 2


def test_batch_size_that_fitted_is_the_result(storage: str) -> None:
    study = create(
        storage, "s", params_with("{key: train.batch_size, type: choice, choices: [8, 16]}"), data="d", arguments=""
    )
    study.fill(1)
    claim = study.claim(1)
    assert claim is not None and claim.values == {"train.batch_size": 8}
    study.note(claim.trial_id, batch_size_used=4)
    study.complete(claim.trial_id, 0.5, [True])
    assert study.scored()[0].values == {"train.batch_size": 4}


def test_storage_that_comes_back_is_waited_for(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    study = create(storage, "s", params_with(GAMMA), data="d", arguments="")
    naps: list[float] = []
    monkeypatch.setattr(time, "sleep", naps.append)
    real = study._study.get_trials
    broken = iter([True, True, False])

    def get_trials(**keywords: Any) -> list[optuna.trial.FrozenTrial]:
        if next(broken, False):
            raise ConnectionError("away")
        return real(**keywords)

    monkeypatch.setattr(study._study, "get_trials", get_trials)
    assert study.scored() == []
    assert naps == [RETRY_AFTER] * 2
    assert not is_storage_away(KeyError("no such study"))


def test_scores_and_first_trial(storage: str) -> None:
    study = create(storage, "s", params_with(GAMMA), data="d", arguments="")
    run_all(study, 6, lambda values: values["focal.gamma"] / 5)
    scored = study.scored()
    assert [entry.score for entry in scored] == sorted((entry.score for entry in scored), reverse=True)
    first = study.first()
    assert first is not None and first.values == {"focal.gamma": 2.0}
    assert scored[0].right == [True, False]


def test_plots_are_drawn(storage: str, tmp_path: Path) -> None:
    study = create(storage, "s", params_with(GAMMA, DELTA, DEPENDENT), data="d", arguments="")
    study.fill(8)
    while claim := study.claim(8):
        study.report(claim.trial_id, 0, 0.1)
        study.complete(claim.trial_id, claim.values["focal.gamma"], [True])
    study.draw(tmp_path)
    names = {"history", "parallel_coordinate", "slice", "importances", "learning_curves"}
    assert {path.stem for path in tmp_path.glob("*.png")} == names


def test_only_search_imports_optuna_and_only_workers_ray() -> None:
    sources = ROOT / "src" / "darkaction"
    for package, home in (("optuna", "search"), ("ray", "jobs")):
        users = {path for path in sources.parent.rglob("*.py") if f"import {package}" in path.read_text()}
        users = {path.relative_to(sources).parts[0] for path in users}
        assert users == {home}, package
    assert optuna.__version__


# What was found


def scored(number: int, right: int) -> Scored:
    """A trial that has so many of 48 clips right."""
    return Scored(number=number, score=right / 48, values={}, right=[k < right for k in range(48)])


@pytest.mark.parametrize(
    ("highest", "first", "doubt"),
    [
        (scored(3, 40), scored(0, 16), None),
        (scored(3, 9), scored(0, 4), r"no trial beats chance, 16\.7%: the highest is trial 3 with 18\.8% \["),
        (scored(0, 40), scored(0, 40), r"no trial beats params\.yaml: the first, which has its values, is the highest"),
        (scored(3, 31), scored(0, 30), r"no trial beats params\.yaml: .*gain \+2\.1% \[.*: within noise"),
        (scored(3, 40), None, "did not end well, so there is nothing to compare with: the highest is trial 3"),
    ],
)
def test_a_trial_is_the_best_only_beyond_noise(highest: Scored, first: Scored | None, doubt: str | None) -> None:
    found = judge(
        highest,
        first,
        compared=4,
        labels_N=[k // 8 for k in range(48)],
        scenes_N=[str(k % 8) for k in range(48)],
        bootstrap_samples=500,
        confidence=0.95,
        seed=0,
    ).doubt
    assert (found is None) if doubt is None else re.search(doubt, str(found))
