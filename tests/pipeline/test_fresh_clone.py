"""What a fresh clone says of the pipeline, before any stage has run there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from programs import clone_project

STAGES = ("synthesize.py demo", "prepare.py demo", "leakage.py", "train_enhancer.py", "enhance.py demo", "pretrain.py")
STAGES += ("train.py", "evaluate.py", "report.py")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clone")
    clone_project(folder)
    return folder


def dvc(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_status_tells_what_is_to_run(clone: Path) -> None:
    done = dvc(clone, "status", "--json")
    assert done.returncode == 0, done.stderr
    assert {name.partition("@")[0] + ".py" for name in json.loads(done.stdout)} == {
        text.partition(" ")[0] for text in STAGES
    }


def test_what_the_readme_says_of_dry_runs_is_so(clone: Path) -> None:
    """DVC asks for the dependencies of a stage also where an earlier one would make them."""
    done = dvc(clone, "repro", "--dry", "--force")
    assert done.returncode == 0, done.stderr
    commands = [line.partition("src/")[2].partition("  #")[0] for line in done.stdout.splitlines() if line[:1] == ">"]
    assert sorted(commands) == sorted(STAGES)
    plain = dvc(clone, "repro", "--dry")
    assert plain.returncode != 0, "DVC does this now: take what the README says of it back"
