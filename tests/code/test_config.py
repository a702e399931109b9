"""The way of a setting: what load() accepts, and what it says about the rest."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from darkaction.core import config
from darkaction.core.errors import UserError
from darkaction.core.paths import ROOT
from darkaction.params import Params


@pytest.fixture
def values() -> dict[str, Any]:
    """The plain values of params.yaml."""
    return config.read_yaml(ROOT / "params.yaml")


def error_of(*overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        Params.load(overrides=overrides)
    return str(caught.value)


def test_params_yaml_is_valid_and_frozen() -> None:
    params = Params.load()
    assert params.focal.gamma >= 0
    with pytest.raises(AttributeError):
        params.focal.gamma = 3.0  # type: ignore[misc]


def test_flatten_gives_every_leaf_its_dotted_name(values: dict[str, Any]) -> None:
    flat = config.flatten(Params.load())
    assert flat["focal.gamma"] == values["focal"]["gamma"]
    assert flat["zero_dce.weights.tv"] == values["zero_dce"]["weights"]["tv"]
    assert flat["datasets"] == values["datasets"]
    assert not any(isinstance(value, dict) for value in flat.values())


@pytest.mark.parametrize(
    ("override", "key", "expected"),
    [
        ("focal.gamma=3", "focal.gamma", 3.0),
        ("zero_dce.lr=1e-4", "zero_dce.lr", 0.0001),
        ("zero_dce.lr=1.5E-5", "zero_dce.lr", 0.000015),
        ("optimizer.max_lr=.5", "optimizer.max_lr", 0.5),
        ("focal.alpha=balanced", "focal.alpha", "balanced"),
        ("focal.alpha=0.25", "focal.alpha", 0.25),
        ("focal.alpha=[1, 2, 3, 4, 5, 1e-1]", "focal.alpha", [1, 2, 3, 4, 5, 0.1]),
        ("focal.alpha=null", "focal.alpha", None),
        ("train.init_from=runs:/1e5", "train.init_from", "runs:/1e5"),
        ("zero_dce.weights.tv=7", "zero_dce.weights.tv", 7.0),
        ("model.layers=[3, 4, 6, 3]", "model.layers", [3, 4, 6, 3]),
    ],
)
def test_override_is_read_as_yaml(override: str, key: str, expected: Any) -> None:
    value = config.flatten(Params.load(overrides=[override]))[key]
    assert value == expected
    assert not isinstance(expected, float) or isinstance(value, float)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("focal.gamm=1", "--set focal.gamm=1: unknown key 'focal.gamm'; did you mean 'focal.gamma'?"),
        ("trian.epochs=1", "unknown key 'trian.epochs'; did you mean 'train.epochs'"),
        ("focal=3", "--set focal=3: focal is a section; set one of ['alpha', 'gamma'] in it"),
        ("focal.gamma.x=3", 'params.yaml: focal.gamma is {"x": 3}: should be a number'),
        ("focal.gamma", "--set focal.gamma: expected key=value, for example --set focal.gamma=3"),
        ("focal.gamma=[1", "--set focal.gamma=[1: line 1, column 3: not valid YAML"),
        ("train.epochs=1.5", "params.yaml: train.epochs is 1.5: should be an integer"),
        ("train.epochs='3'", 'params.yaml: train.epochs is "3": should be an integer'),
        ("train.epochs=true", "params.yaml: train.epochs is true: should be an integer"),
        ("train.epochs=null", "params.yaml: train.epochs is null: should be an integer"),
        ("train.epochs=0", "params.yaml: train.epochs is 0: should be greater than or equal to 1"),
        ("model.mran=1", "params.yaml: model.mran is 1: should be a boolean"),
        ("bert.normalize=times", "params.yaml: bert.normalize is \"times\": should be 'token', 'time' or 'none'"),
        ("zero_dce.lr=.nan", "params.yaml: zero_dce.lr is"),
        ("zero_dce.lr=.inf", "params.yaml: zero_dce.lr is"),
        ("zero_dce.lr=0", "params.yaml: zero_dce.lr is 0: should be greater than 0"),
        ("datasets=demo", 'params.yaml: datasets is "demo": should be a list'),
        ("datasets=[]", "params.yaml: datasets is []: should have at least 1 item, not 0"),
        ("data.classes=[Run, sit]", 'params.yaml: data.classes.0 is "Run": should match pattern'),
        ("model.layers=[1, 2]", "params.yaml: model.layers is [1, 2]: should have at least 4 items, not 2"),
        ("model.layers=[1, 2, 0, 1]", "params.yaml: model.layers.2 is 0: should be greater than or equal to 1"),
        ("split.strategy=sceen", "params.yaml: split.strategy is \"sceen\": should be 'scene', 'random' or 'official'"),
    ],
)
def test_wrong_setting_is_one_line_that_names_it(override: str, message: str) -> None:
    text = error_of(override)
    assert text.startswith(message) or message in text
    assert "\n" not in text


def test_value_of_none_of_several_kinds_is_one_line() -> None:
    assert error_of("focal.alpha=foo") == (
        "params.yaml: focal.alpha is \"foo\": should be a number, or be a list, or be 'balanced'"
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["datasets=[arid, arid]"], "datasets names an entry twice: ['arid', 'arid']"),
        (["data.classes=[run, sit, run]"], "data.classes names an entry twice"),
        (["synthesize.domains=[]"], "datasets lists 'demo', which synthesize.domains [] lacks"),
        (["focal.alpha=[1, 2]"], "focal.alpha has 2 values for 6 classes; give one each"),
        (["model.head=bert", "bert.heads=7"], "bert.heads is 7, which does not divide the feature width"),
        (
            ["train.checkpoint=best", "split.validation=none"],
            "train.checkpoint is 'best', which needs validation clips",
        ),
        (
            ["train.early_stopping=3", "split.validation=none"],
            "train.early_stopping is 3, which needs validation clips",
        ),
        (["sampling.delta_min=2", "sampling.delta_max=1"], "delta_max is 1.0, below delta_min 2.0"),
    ],
)
def test_settings_that_contradict_each_other(overrides: list[str], message: str) -> None:
    assert message in error_of(*overrides)


def test_every_wrong_key_is_reported_at_once(values: dict[str, Any]) -> None:
    del values["focal"]["gamma"], values["seed"]
    values["bert"]["head"] = 8
    values["trian"] = {}
    values["optimizer"] = None
    with pytest.raises(UserError) as caught:
        config.build(Params, values, origin="params.yaml")
    assert set(str(caught.value).splitlines()) == {
        "params.yaml: missing key 'focal.gamma'",
        "params.yaml: missing key 'seed'",
        "params.yaml: unknown key 'bert.head'; did you mean 'bert.heads'?",
        "params.yaml: unknown key 'trian'; did you mean 'train'?",
        "params.yaml: optimizer is null: should be a section",
    }


def test_overrides_come_after_the_profile_and_in_order() -> None:
    profile = config.read_profile("paper")
    assert Params.load(profile="paper").train.epochs == profile["train"]["epochs"] == 300
    both = Params.load(profile="paper", overrides=["train.epochs=2", "train.epochs=4"])
    assert both.train.epochs == 4
    assert both.sampling.num_frames == 64


def test_merge_keeps_what_the_overlay_leaves_out_and_changes_no_input() -> None:
    base = {"a": {"b": 1, "c": 2}, "d": [1]}
    merged = config.merge(base, {"a": {"c": 3}}, origin="x")
    assert merged == {"a": {"b": 1, "c": 3}, "d": [1]}
    assert base == {"a": {"b": 1, "c": 2}, "d": [1]}


def test_unknown_profile_names_those_there_are() -> None:
    with pytest.raises(UserError, match=r"no profile 'papr'; there are: arid-sample, arid-sample-long, demo, paper"):
        Params.load(profile="papr")


@pytest.mark.parametrize("content", ["a: [1", "- 1\n- 2\n", ""])
def test_file_that_is_no_mapping(tmp_path: Path, content: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(content)
    with pytest.raises(
        UserError, match=r"params\.yaml: (line 1, column 6: not valid YAML|holds (a list|nothing), expected a mapping)"
    ):
        Params.load(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing\.yaml: no such file"):
        Params.load(tmp_path / "nothing.yaml")


def test_one_for_one_point_zero(values: dict[str, Any]) -> None:
    values["focal"]["gamma"] = 2
    assert config.build(Params, values, origin="x").focal.gamma == 2.0
    assert yaml.safe_load("2") == 2  # an int in YAML, a float in Params
    assert isinstance(config.build(Params, values, origin="x").focal.gamma, float)


def test_a_dataset_of_ones_own_may_be_named() -> None:
    with pytest.raises(
        UserError, match=r"datasets lists 'mine': set enhance\.apply\.mine to true \(enhanced\) or false"
    ):
        Params.load(overrides=["datasets=[mine]"])
    params = Params.load(overrides=["datasets=[mine]", "enhance.apply.mine=false"])
    assert params.enhance.apply["mine"] is False and params.enhance.apply["demo"] is True
    with pytest.raises(UserError, match=r"enhance\.apply\.mine"):
        Params.load(overrides=["enhance.apply.mine=perhaps"])


def test_settings_are_read_without_the_libraries_that_use_them() -> None:
    """A usage error and --help take no longer than reading params.yaml does."""
    heavy = "cv2, lightning, matplotlib, mlflow, optuna, pandas, ray, scipy, sklearn, torch"
    program = f"import sys, darkaction.params; print(set('{heavy}'.split(', ')) & set(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stdout + done.stderr


@pytest.mark.parametrize("former", [key for key in Params.FORMER if not key.endswith(".")])
def test_a_key_of_an_earlier_version_is_an_error_that_says_what_became_of_it(tmp_path: Path, former: str) -> None:
    said = f"unknown key '{former}' of an earlier version: {re.escape(Params.FORMER[former])}"
    with pytest.raises(UserError, match=f"^--set {former}=1: {said}"):
        Params.load(overrides=[f"{former}=1"])
    values = config.read_yaml(ROOT / "params.yaml")
    section: dict[str, Any] = values
    *parts, name = former.split(".")
    for part in parts:
        section = section[part]
    section[name] = 1
    own = tmp_path / "params.yaml"
    own.write_text(yaml.safe_dump(values))
    with pytest.raises(UserError, match=rf"^params\.yaml: {said}"):
        Params.load(own)


def test_what_became_of_a_former_key_is_a_setting_or_nothing() -> None:
    known = config.flatten(Params.load())
    for former, said in Params.FORMER.items():
        if said.startswith("it is "):
            name = said.removeprefix("it is ")
            assert name in known or f"{former.rpartition('.')[0]}.{name}" in known, former
