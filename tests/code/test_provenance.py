"""What a run tells about the code and the settings it was made with."""

import subprocess
from pathlib import Path

from darkaction.core import config
from darkaction.core.provenance import changed_since, uncommitted
from darkaction.params import Params


def git(folder: Path, *arguments: str) -> str:
    names = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run(
        ["git", "-C", str(folder), *names, *arguments], capture_output=True, text=True, check=True
    ).stdout


def test_uncommitted_changes_can_be_applied(tmp_path: Path) -> None:
    project, clone = tmp_path / "project", tmp_path / "clone"
    (project / "src").mkdir(parents=True)
    git(project, "init", "-q")
    for name in ("src/a.py", "src/gone.py", "params.yaml", "README.md"):
        (project / name).write_text("one\ntwo\n")
    git(project, "add", ".")
    git(project, "commit", "-qm", "all")
    assert uncommitted(project) == ""
    git(tmp_path, "clone", "-q", str(project), str(clone))
    (project / "src/a.py").write_text("one\nthree\n\n")
    (project / "src/gone.py").unlink()
    (project / "src/new file.py").write_text("new\n")
    (project / "README.md").write_text("no part of what makes a model\n")
    subprocess.run(["git", "-C", str(clone), "apply"], input=uncommitted(project), text=True, check=True)
    assert sorted(path.name for path in (clone / "src").iterdir()) == ["a.py", "new file.py"]
    for name in ("src/a.py", "src/new file.py", "params.yaml"):
        assert (clone / name).read_text() == (project / name).read_text()
    assert (clone / "README.md").read_text() == "one\ntwo\n"
    assert uncommitted(tmp_path) == ""


def test_settings_that_changed_since_a_stage_ran(tmp_path: Path) -> None:
    params = Params.load(overrides=["split.strategy=scene", "zero_dce.lr=1e-4"])
    assert changed_since("prepare@demo", config.flatten(params), tmp_path) == []
    (tmp_path / "dvc.lock").write_text(
        "stages:\n"
        "  prepare@demo:\n"
        f"    params: {{params.yaml: {{seed: {params.seed}, split: {{strategy: random, folds: 1}}, gone.key: 1}}}}\n"
        "  train_enhancer:\n"
        "    params: {params.yaml: {zero_dce.lr: 1e-4}}\n"
    )
    assert changed_since("prepare@demo", config.flatten(params), tmp_path) == ["gone.key", "split.strategy"]
    assert changed_since("train_enhancer", config.flatten(params), tmp_path) == []
    assert changed_since("enhance@demo", config.flatten(params), tmp_path) == []
