"""Fixtures shared by all tests."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SMOKE_STAGES = (
    ["synthesize.py", "demo"],
    ["prepare.py", "demo"],
    ["leakage.py"],
    ["train_enhancer.py"],
    ["enhance.py", "demo"],
    ["pretrain.py"],
    ["train.py"],
    ["evaluate.py"],
)


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Ctrl-C works in the programs that tests start, also where the tests run in the background of a shell, which
    ignores it for all of them."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Reference numbers and real clips kept beside the repository; not part of the project."""
    path = ROOT.parent / "shared"
    if not (path / "golden").is_dir():
        pytest.skip("reference data not present: ../shared")
    return path


@pytest.fixture(scope="session")
def smoke_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a pipeline run with --profile smoke --out; every stage ended well."""
    out = tmp_path_factory.mktemp("smoke")
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{out}/mlflow.db"}
    for name in ("MLFLOW_RUN_ID", "DVC_STAGE", "DVC_EXP_NAME"):
        environment.pop(name, None)
    for stage in SMOKE_STAGES:
        command = [sys.executable, f"src/{stage[0]}", *stage[1:], "--profile", "smoke", "--out", str(out)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{stage}: {done.stderr[-3000:]}"
    return out


@pytest.fixture(scope="session")
def search_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the project in which searches run."""
    from programs import copy_project
    from searches import launchers, ray_processes

    folder = tmp_path_factory.mktemp("project")
    copy_project(folder)
    yield folder
    for process in [*launchers(folder), *ray_processes(folder)]:
        process.kill()


def require_program(name: str) -> str:
    """The path of an optional system program; its absence skips the test, or fails it under REQUIRE_ALL=1."""
    path = shutil.which(name)
    if path is None:
        message = f"program '{name}' is not installed (the README's line of optional system packages has it)"
        if os.environ.get("REQUIRE_ALL") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return path
