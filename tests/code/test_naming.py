"""What runs are called: legible, and different where the settings are."""

import dataclasses
from pathlib import Path

import pytest

from darkaction.core.paths import Paths
from darkaction.params import Params
from darkaction.tracking.naming import origin_of, run_name


@pytest.fixture(autouse=True)
def no_experiment_of_dvc(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DVC_STAGE", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)


def named(stage: str = "train", *overrides: str, profile: str | None = "demo") -> str:
    return run_name(stage, Params.load(profile=profile, overrides=overrides))


def test_the_committed_state_has_nothing_but_its_method_and_seed() -> None:
    assert named() == "demo delta zero_dce r2plus1d-bert seed 0"
    assert named("pretrain", "pretrain.enabled=true") == (
        "pretraining demo zero_dce r2plus1d-bert pretrain.enabled=true seed 0"
    )
    assert named("train_enhancer") == "enhancement demo zero_dce seed 0"


@pytest.mark.parametrize(
    ("override", "word"),
    [
        ("focal.gamma=3", "focal.gamma=3"),
        ("optimizer.max_lr=0.0123456", "optimizer.max_lr=0.0123"),
        ("train.init_from=null", ""),
        ("sampling.strategy=constant", "constant"),
        ("model.head=average", "r2plus1d-average"),
        ("enhance.method=gamma", "gamma"),
        ("seed=7", "seed 7"),
        ("model.widths=[8, 16, 32, 64]", "model.widths=[8,16,32,64]"),
    ],
)
def test_what_differs_is_named(override: str, word: str) -> None:
    name = named("train", override)
    assert word in name and len(name) < 110
    assert (name != named()) == bool(word)


@pytest.mark.parametrize("profile", ["smoke", "paper", "arid-sample"])
def test_a_profile_is_named_instead_of_all_it_sets(profile: str) -> None:
    name = named("train", "focal.gamma=3.5", profile=profile)
    assert f" {profile} focal.gamma=3.5 seed" in name


def test_what_changes_no_training_is_not_named() -> None:
    assert named("train", "tune.trials=3", "train.num_workers=2", "registry.name=x", "pretrain.epochs=2") == named()
    assert named("train_enhancer", "focal.gamma=3", "train.epochs=3") == named("train_enhancer")
    assert named("train", "enlightengan.epochs=3") == named()


def test_many_differences_stay_short() -> None:
    keys = ("bert.layers=2", "focal.gamma=1", "train.epochs=3", "train.batch_size=4", "optimizer.warmup=0.3")
    assert "+2 more seed 0" in named("train", *keys)
    assert len(named("train", *keys)) < 150


def test_tries_children_and_experiments_of_dvc_can_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    params = Params.load(profile="demo")
    assert run_name("train", params, out=True).startswith("try: demo ")
    assert run_name("trial", dataclasses.replace(params, seed=2), label="trial 7") == (
        "trial 7: demo delta zero_dce r2plus1d-bert seed 2"
    )
    monkeypatch.setenv("DVC_EXP_NAME", "brave-idea")
    assert run_name("train", params).endswith("(brave-idea)")


def test_where_a_run_belongs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert origin_of("train", Paths(), is_child=False) == {"origin": "by hand"}
    assert origin_of("train", Paths(out=Path("/x")), is_child=False) == {"origin": "try", "out": "/x"}
    assert origin_of("trial", Paths(out=Path("/x")), is_child=True) == {"origin": "search"}
    assert origin_of("run", Paths(), is_child=True) == {"origin": "comparison"}
    assert origin_of("pretrain", Paths(), is_child=True) == {"origin": "comparison"}
    monkeypatch.setenv("DVC_STAGE", "train")
    assert origin_of("train", Paths(), is_child=False) == {"origin": "pipeline"}
