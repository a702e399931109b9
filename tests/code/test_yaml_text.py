"""YAML is read by one function: what DVC refuses is refused here too, in every file a person writes."""

from collections.abc import Callable
from pathlib import Path

import pytest
from dvc.exceptions import DvcException
from dvc.utils.serialize import parse_yaml

from darkaction.core import config, provenance
from darkaction.core.errors import UserError
from darkaction.core.params_file import configure
from darkaction.core.paths import ROOT
from darkaction.core.yaml_text import parse
from darkaction.experiments import plan
from darkaction.params import Params, require_valid

PARAMS = (ROOT / "params.yaml").read_text()
TWICE = "seed: 0\nfocal:\n  gamma: 2.0\n  alpha: null\n  gamma: 3.0\n"

BROKEN = {
    TWICE: "line 5: key 'focal.gamma' is repeated, first in line 3",
    "seed: 0\nseed: 0\n": "line 2: key 'seed' is repeated, first in line 1",
    "a: {x: 1, x: 2}\n": "line 1: key 'a.x' is repeated",
    "a:\n- {x: 1}\n- {y: 1, y: 2}\n": "line 3: key 'a.1.y' is repeated",
    "a: &a {x: 1}\nb: {<<: *a, <<: *a}\n": "line 2: key 'b.<<' is repeated",
    "1: a\n0x1: b\n": "line 2: key '1' is repeated",
    "a:\n\tb: 1\n": "line 2, column 1: a tab; YAML is indented and spaced with spaces",
    "a: 1\nb: [1, 2\nc: 3\n": "line 3, column 2: not valid YAML: expected ',' or ']'",
    "a: 1\n---\nb: 2\n": "line 2, column 1: a second document begins; expected one",
    "<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> other\n": "line 2, column 2: not valid YAML",
    "a: !!python/object:os.system x\n": "line 1, column 4: not valid YAML: could not determine a constructor",
    "a: *b\n": "line 1, column 4: not valid YAML: found undefined alias",
    "? {a: 1}\n: 1\n": "line 1: a list or a section cannot be a key",
    "a: 2020-13-45\n": "not valid YAML: month must be in 1..12",
    "a: \x07\n": "not valid YAML: unacceptable character",
}


@pytest.mark.parametrize("text", BROKEN)
def test_what_dvc_refuses_is_refused_with_line_and_key(text: str) -> None:
    with pytest.raises((DvcException, ValueError)):
        parse_yaml(text, "params.yaml")
    with pytest.raises(UserError) as caught:
        parse(text, origin="params.yaml")
    assert str(caught.value).startswith(f"params.yaml: {BROKEN[text]}")
    assert "\n" not in str(caught.value)


def test_what_is_right_is_read_as_it_was() -> None:
    assert parse("a: &a {x: 1}\nb: {<<: *a, x: 2}\n", origin="x") == {"a": {"x": 1}, "b": {"x": 2}}
    assert parse("", origin="x") is None
    assert parse(PARAMS, origin="params.yaml") == parse_yaml(PARAMS, "params.yaml")


def test_an_anchor_that_holds_itself_is_refused() -> None:
    with pytest.raises(UserError, match="x: not valid YAML: nested too deeply, or an anchor holds itself"):
        parse("a: &a [*a]\n", origin="x")


def _configure(path: Path) -> None:
    configure(path, profile=None, overrides=["focal.gamma=3"], write=True, check=require_valid)


@pytest.mark.parametrize("read", [Params.load, _configure, lambda path: plan.load(path, {})])
@pytest.mark.parametrize("text", [TWICE, PARAMS + "seed: 1\n", "\ta: 1\n", "- 1\n", "", "caf\xe9: 1\n"])
def test_each_reader_of_settings_names_the_file_and_changes_nothing(
    tmp_path: Path, read: Callable[[Path], object], text: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=r"mine\.yaml: (line \d+|holds |not text in UTF-8)"):
        read(path)
    assert path.read_text(encoding="latin-1") == text


def test_a_profile_with_a_key_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "ROOT", tmp_path)
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "mine.yaml").write_text(TWICE)
    with pytest.raises(UserError, match=r"profiles/mine\.yaml: line 5: key 'focal\.gamma' is repeated"):
        config.read_profile("mine")


def test_a_section_on_the_command_line_is_read_alike() -> None:
    with pytest.raises(UserError, match=r"--set focal=\{gamma: 1, gamma: 2\}: line 1: key 'gamma' is repeated"):
        Params.load(overrides=["focal={gamma: 1, gamma: 2}"])


def test_a_lock_with_the_marks_of_a_merge_is_named(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\n<<<<<<< HEAD\nstages: {}\n")
    with pytest.raises(UserError, match=r"dvc\.lock: line \d"):
        provenance.dvc_md5s(tmp_path)
