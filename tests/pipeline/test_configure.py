"""src/configure.py and profiles/: edits that keep the file, switches without history."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from darkaction.core import config
from darkaction.core.errors import UserError
from darkaction.core.params_file import align, configure, edit, render, split_comment
from darkaction.core.paths import ROOT
from darkaction.params import Params, require_valid

PARAMS = ROOT / "params.yaml"
PROFILES = [name for name in config.profile_names() if "datasets" in config.read_profile(name)]
OVERLAYS = [name for name in config.profile_names() if name not in PROFILES]
"""Profiles that say nothing of data, for commands that take --profile over whatever dataset is in use."""


def committed() -> str:
    """params.yaml as the profile demo leaves it, whatever it holds now."""
    return edit_with(PARAMS.read_text(), "demo")


def edit_with(text: str, profile: str) -> str:
    before = yaml.safe_load(text)
    after = config.merge(before, config.read_profile(profile), origin=profile)
    changes = {tuple(key.split(".")): value for key, value in leaves(after).items()}
    return edit(text, changes=changes, origin="params.yaml")


def leaves(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(committed())
    return path


def apply(path: Path, *, profile: str | None = None, overrides: tuple[str, ...] = (), write: bool = True) -> str:
    return configure(path, profile=profile, overrides=overrides, write=write, check=require_valid)


def test_the_profiles_are_there() -> None:
    assert PROFILES == ["arid-sample", "demo", "paper", "smoke", "weights"]
    assert OVERLAYS == ["arid-sample-long", "tables-cpu"]


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("profile", PROFILES)
def test_an_overlay_goes_over_every_profile_and_is_undone_by_it(overlay: str, profile: str) -> None:
    below = config.merge(config.read_yaml(PARAMS), config.read_profile(profile), origin=profile)
    config.build(Params, config.merge(below, config.read_profile(overlay), origin=overlay), origin=overlay)
    assert set(leaves(config.read_profile(overlay))) <= set(leaves(config.read_profile(profile)))


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_sets_every_key_that_any_sets(profile: str) -> None:
    union = set().union(*(leaves(config.read_profile(name)) for name in PROFILES))
    missing = union - set(leaves(config.read_profile(profile)))
    assert not missing, (
        f"profiles/{profile}.yaml lacks {sorted(missing)}: switching to it would depend on what was before"
    )


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_valid(profile: str) -> None:
    Params.load(profile=profile)


def test_params_yaml_is_a_profile_and_demo_in_the_repository() -> None:
    """Another profile is set during `make smoke`, and by who works with real clips."""
    now = config.read_yaml(PARAMS)
    held = [name for name in PROFILES if config.merge(now, config.read_profile(name), origin=name) == now]
    assert held, "bring profiles/demo.yaml up to date"
    if "demo" in held:
        assert committed() == PARAMS.read_text(), "a line of params.yaml is not laid out as configure.py would"


@pytest.mark.parametrize("profile", [name for name in PROFILES if name != "demo"])
def test_demo_restores_the_file_to_the_byte(params: Path, profile: str) -> None:
    before = params.read_bytes()
    assert apply(params, profile=profile) != ""
    assert params.read_bytes() != before
    apply(params, profile="demo")
    assert params.read_bytes() == before


def test_the_way_to_a_profile_does_not_matter(params: Path) -> None:
    apply(params, profile="paper")
    direct = params.read_bytes()
    for name in ("smoke", "arid-sample", "demo", "arid-sample", "paper"):
        apply(params, profile=name)
    assert params.read_bytes() == direct


def test_comments_stay(params: Path) -> None:
    comments = [split_comment(line)[1] for line in params.read_text().splitlines()]
    apply(params, profile="paper", overrides=("focal.alpha=[1, 2, 3, 4, 5, 6]", "enhance.gamma=3"))
    assert [split_comment(line)[1] for line in params.read_text().splitlines()] == comments
    assert sum(comment != "" for comment in comments) > 50


def test_a_dataset_of_ones_own_joins_the_switches(params: Path) -> None:
    before = Params.load(params).enhance.apply
    configure(params, profile=None, overrides=["enhance.apply.mine=false"], write=True, check=require_valid)
    assert Params.load(params).enhance.apply == {**before, "mine": False}
    assert "hmdb51: true, mine: false}   # false: only resized" in params.read_text()


def test_difference_is_printed_and_names_what_changed(params: Path) -> None:
    difference = apply(params, overrides=("focal.gamma=4.5",))
    changed = [line for line in difference.splitlines() if line[0] in "+-" and not line.startswith(("+++", "---"))]
    assert [line.split(":")[0] for line in changed] == ["-  gamma", "+  gamma"]
    assert changed[1].startswith("+  gamma: 4.5")
    assert apply(params, overrides=("focal.gamma=4.5",)) == ""


def test_dry_run_writes_nothing(params: Path) -> None:
    before = params.read_bytes()
    assert "300" in apply(params, profile="paper", write=False)
    assert params.read_bytes() == before


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("focal.gamm=1", "did you mean 'focal.gamma'"),
        ("focal.gamma=-1", "focal.gamma is -1: should be greater than or equal to 0"),
        ("datasets=[demo_lit]", "datasets lists 'demo_lit', which synthesize.domains"),
    ],
)
def test_wrong_setting_leaves_the_file_alone(params: Path, override: str, message: str) -> None:
    before = params.read_bytes()
    with pytest.raises(UserError, match=r".") as caught:
        apply(params, overrides=("train.epochs=3", override))
    assert message in str(caught.value)
    assert params.read_bytes() == before
    assert os.listdir(params.parent) == ["params.yaml"]


def test_value_on_several_lines_is_refused(tmp_path: Path) -> None:
    text = "a:\n  b: [1,\n    2]\n"
    with pytest.raises(UserError, match=r"write the value of a\.b on one line"):
        edit(text, changes={("a", "b"): [3]}, origin="params.yaml")


def test_list_of_lines_stays_one() -> None:
    text = "a:\n  # why\n  b:\n    - {x: 1}\n    - {x: 2, y: null}\n\nc: 1\n"
    after = edit(text, changes={("a", "b"): [{"x": 3}, {"x": [4, 5]}, {"x": 6}], ("c",): 2}, origin="params.yaml")
    assert after == "a:\n  # why\n  b:\n    - {x: 3}\n    - {x: [4, 5]}\n    - {x: 6}\n\nc: 2\n"


@pytest.mark.parametrize(
    ("line", "changes", "expected"),
    [
        ("a: 1   # why\n", {("a",): 2}, "a: 2                        # why\n"),
        ("a:   # why\n", {("a",): 2}, "a: 2                        # why\n"),
        ("a: null\n", {("a",): "x: y # z"}, "a: 'x: y # z'\n"),
        ("a: 'p # q'   # why\n", {("a",): None}, "a: null                     # why\n"),
        ("a: {b: 1, c: 2}\n", {("a", "b"): 0.5, ("a", "c"): [1, 2]}, "a: {b: 0.5, c: [1, 2]}\n"),
        ("a: 1\nb: 2 # x\n", {("a",): 3}, "a: 3\nb: 2 # x\n"),
    ],
)
def test_edit(line: str, changes: dict[tuple[str, ...], Any], expected: str) -> None:
    assert edit(line, changes=changes, origin="params.yaml") == expected


def test_comment_behind_a_long_value_moves_out_and_back() -> None:
    short, long = "a: 1".ljust(28) + "# why", "a: " + "x" * 40 + "   # why"
    assert align(long) == long
    assert align(long.replace("x" * 40, "1")) == short


@pytest.mark.parametrize("value", [1, 0.5, 0.00001, 1e22, True, None, "x", "null", "1", [], [1, 2.5], ["a b"], "a#b"])
def test_rendered_values_read_back(value: Any) -> None:
    text = render(value)
    assert "\n" not in text
    assert yaml.safe_load(text) == value


def test_command_line(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, ROOT / "src/configure.py", *arguments], capture_output=True, text=True, cwd=tmp_path
        )

    shown = run("--profile", "paper", "--dry-run")
    assert shown.returncode == 0
    assert "+  epochs: 300" in shown.stdout
    wrong = run("--set", "focal.gamm=1")
    assert wrong.returncode == 1
    assert wrong.stderr == "error: --set focal.gamm=1: unknown key 'focal.gamm'; did you mean 'focal.gamma'?\n"
    assert run().returncode == 2


def test_paper_marks_what_the_paper_does_not_give() -> None:
    text = (ROOT / "profiles/paper.yaml").read_text()
    ours = {line.split(":")[0].strip() for line in text.splitlines() if "# ours" in line and ":" in line}
    assert {"max_lr", "weight_decay", "gamma", "alpha", "rotation", "translation", "grad_clip", "bn_momentum"} <= ours
    assert not {"epochs", "num_frames", "delta_max", "max_rate", "test_draws", "layers", "images"} & ours
