"""Data through a DVC remote: one pushes, another pulls; the cache is linked, not copied; versions can be compared."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.repo import Repo

import programs

ROOT = Path(__file__).resolve().parents[2]


def dvc(folder: Path, *arguments: str) -> None:
    assert programs.dvc(folder, *arguments) == 0, arguments


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("remote")


@pytest.fixture(scope="module")
def project(place: Path) -> Path:
    """A repository with this project's DVC settings, a local remote, and an imported dataset."""
    folder = place / "alice"
    (folder / ".dvc").mkdir(parents=True)
    shutil.copy(ROOT / ".dvc" / "config", folder / ".dvc" / "config")
    shutil.copy(ROOT / ".gitignore", folder)
    git(folder, "init", "--quiet", "--initial-branch=main")
    for take in range(3):
        clip = place / "download" / "Walk" / f"Walk_1_{take}.mp4"
        clip.parent.mkdir(parents=True, exist_ok=True)
        clip.write_bytes(os.urandom(5000))
    script = [sys.executable, str(ROOT / "src" / "import_dataset.py"), "arid", str(place / "download")]
    subprocess.run([*script, "--root", str(folder)], check=True, capture_output=True)
    dvc(folder, "remote", "add", "--default", "store", str(place / "store"))
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "The clips")
    return folder


def test_clips_go_from_one_person_to_another(project: Path, place: Path) -> None:
    dvc(project, "push")
    git(place, "clone", "--quiet", "alice", "bob")
    assert not (place / "bob/data/raw/arid").exists()
    dvc(place / "bob", "pull")
    for take in range(3):
        name = f"data/raw/arid/Walk/Walk_1_{take}.mp4"
        assert (place / "bob" / name).read_bytes() == (project / name).read_bytes()


def test_the_cache_holds_no_second_copy(project: Path) -> None:
    [clip, *_] = sorted((project / "data/raw/arid").rglob("*.mp4"))
    cached = [path for path in (project / ".dvc/cache").rglob("*") if path.is_file() and path.stat().st_size == 5000]
    assert len(cached) == 3
    assert any(path.samefile(clip) for path in cached)
    assert not clip.stat().st_mode & 0o222  # a slip of an editor must not reach the cache


def test_what_changed_between_two_versions_is_shown(project: Path, place: Path) -> None:
    """The last test here, as it changes the clips."""
    download = place / "download" / "Walk"
    (download / "Walk_1_0.mp4").write_bytes(os.urandom(5000))
    (download / "Walk_2_0.mp4").write_bytes(os.urandom(5000))
    (download / "Walk_1_1.mp4").unlink()
    script = [sys.executable, str(ROOT / "src" / "import_dataset.py"), "arid", str(download.parent), "--force"]
    subprocess.run([*script, "--root", str(project)], check=True, capture_output=True)
    with contextlib.chdir(project), Repo() as repo:
        changes = repo.diff()
    names = {kind: [Path(entry["path"]).name for entry in entries] for kind, entries in changes.items()}
    assert names["added"] == ["Walk_2_0.mp4"]
    assert names["deleted"] == ["Walk_1_1.mp4"]
    assert "Walk_1_0.mp4" in names["modified"]
