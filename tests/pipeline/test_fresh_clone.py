"""What a fresh clone says of the pipeline, before any stage has run there."""

import contextlib
from pathlib import Path

import pytest
from dvc.repo import Repo

from programs import clone_project, dvc

STAGES = ("synthesize.py demo", "prepare.py demo", "leakage.py", "train_enhancer.py", "enhance.py demo", "pretrain.py")
STAGES += ("train.py", "evaluate.py", "report.py")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clone")
    clone_project(folder)
    return folder


def test_status_tells_what_is_to_run(clone: Path) -> None:
    with contextlib.chdir(clone), Repo() as repo:
        changed = repo.status()
    assert {name.partition("@")[0] + ".py" for name in changed} == {text.partition(" ")[0] for text in STAGES}


def test_what_the_readme_says_of_dry_runs_is_so(clone: Path, caplog: pytest.LogCaptureFixture) -> None:
    """DVC asks for the dependencies of a stage also where an earlier one would make them."""
    assert dvc(clone, "repro", "--dry", "--force") == 0
    texts = [record.getMessage() for record in caplog.records]
    commands = [text.partition("src/")[2].partition("  #")[0] for text in texts if text[:1] == ">"]
    assert sorted(commands) == sorted(STAGES)
    assert dvc(clone, "repro", "--dry") != 0, "DVC does this now: take what the README says of it back"
