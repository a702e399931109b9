"""Data through a DVC remote: one pushes, another pulls; the cache is linked, not copied; versions can be compared."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def dvc(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with this project's DVC settings, a local remote, and an imported dataset."""
    folder = tmp_path / "alice"
    (folder / ".dvc").mkdir(parents=True)
    shutil.copy(ROOT / ".dvc" / "config", folder / ".dvc" / "config")
    shutil.copy(ROOT / ".gitignore", folder)
    git(folder, "init", "--quiet", "--initial-branch=main")
    for take in range(3):
        clip = tmp_path / "download" / "Walk" / f"Walk_1_{take}.mp4"
        clip.parent.mkdir(parents=True, exist_ok=True)
        clip.write_bytes(os.urandom(5000))
    script = [sys.executable, str(ROOT / "src" / "import_dataset.py"), "arid", str(tmp_path / "download")]
    subprocess.run([*script, "--root", str(folder)], check=True, capture_output=True)
    dvc(folder, "remote", "add", "--default", "store", str(tmp_path / "store"))
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "The clips")
    return folder


def test_clips_go_from_one_person_to_another(project: Path, tmp_path: Path) -> None:
    dvc(project, "push")
    git(tmp_path, "clone", "--quiet", "alice", "bob")
    assert not (tmp_path / "bob/data/raw/arid").exists()
    dvc(tmp_path / "bob", "pull")
    for take in range(3):
        name = f"data/raw/arid/Walk/Walk_1_{take}.mp4"
        assert (tmp_path / "bob" / name).read_bytes() == (project / name).read_bytes()


def test_the_cache_holds_no_second_copy(project: Path) -> None:
    [clip, *_] = sorted((project / "data/raw/arid").rglob("*.mp4"))
    cached = [path for path in (project / ".dvc/cache").rglob("*") if path.is_file() and path.stat().st_size == 5000]
    assert len(cached) == 3
    assert any(path.samefile(clip) for path in cached)
    assert not clip.stat().st_mode & 0o222  # a slip of an editor must not reach the cache


def test_what_changed_between_two_versions_is_shown(project: Path, tmp_path: Path) -> None:
    download = tmp_path / "download" / "Walk"
    (download / "Walk_1_0.mp4").write_bytes(os.urandom(5000))
    (download / "Walk_2_0.mp4").write_bytes(os.urandom(5000))
    (download / "Walk_1_1.mp4").unlink()
    script = [sys.executable, str(ROOT / "src" / "import_dataset.py"), "arid", str(download.parent), "--force"]
    subprocess.run([*script, "--root", str(project)], check=True, capture_output=True)
    changes = json.loads(dvc(project, "diff", "--json"))
    names = {kind: [Path(entry["path"]).name for entry in entries] for kind, entries in changes.items()}
    assert names["added"] == ["Walk_2_0.mp4"]
    assert names["deleted"] == ["Walk_1_1.mp4"]
    assert "Walk_1_0.mp4" in names["modified"]
