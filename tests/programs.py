"""Programs of the project run in a copy of it, for the tests that stop, kill and continue them."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from dvc.cli import main as dvc_main

ROOT = Path(__file__).resolve().parents[1]


def tracked_files() -> list[str]:
    """What git has of the project, or would add."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return sorted({name for name in names if (ROOT / name).is_file()})


def clone_project(folder: Path) -> None:
    """What `git clone` would give of the project as it stands, uncommitted changes too, with one commit."""
    for name in tracked_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    for arguments in (
        ["init", "--quiet", "--initial-branch=main"],
        ["config", "user.name", "Test"],
        ["config", "user.email", "test@example.org"],
        ["add", "--all"],
        ["commit", "--quiet", "--message", "The project"],
    ):
        subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


def dvc(folder: Path, *arguments: str) -> int:
    """Exit code of `dvc ...` in `folder`, in this process: DVC takes seconds to import."""
    with contextlib.chdir(folder):
        return int(dvc_main(list(arguments)))


def copy_project(folder: Path) -> None:
    """What searches and comparisons need of the project; the clips for the smoke profile are made by the first one."""
    for name in tracked_files():
        if name.startswith(("src/", "profiles/", "deploy/", "experiments/", "params.yaml", "dvc.yaml")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv/bin").mkdir(parents=True)
    python = folder / ".venv/bin/python"
    python.write_text(f'#!/usr/bin/env bash\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)


def start(project: Path, script: str, *arguments: str, store: str) -> subprocess.Popen[str]:
    """Starts a script of `project`'s src with the profile smoke, in a session of its own; its runs go to `store`."""
    # One thread each: the threads of small trainings that share cores with other tests mostly wait for each other.
    environment = {**os.environ, "MLFLOW_TRACKING_URI": store, "OMP_NUM_THREADS": "1"}
    for name in ("MLFLOW_RUN_ID", "DVC_STAGE", "DVC_EXP_NAME"):
        environment.pop(name, None)
    return subprocess.Popen(
        [sys.executable, f"src/{script}", "--profile", "smoke", *arguments],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def end(process: subprocess.Popen[str], *, code: int = 0, timeout: float = 900.0) -> str:
    """Waits for the end and returns what was printed; standard error where another exit code than 0 is expected."""
    out, errors = process.communicate(timeout=timeout)
    assert process.returncode == code, out + errors[-4000:]
    return out if code == 0 else errors
