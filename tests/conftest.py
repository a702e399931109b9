"""Fixtures shared by all tests."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from servers import Postgres

ROOT = Path(__file__).resolve().parents[1]
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)
SMOKE_STAGES = (
    "synthesize demo",
    "prepare demo",
    "leakage",
    "train_enhancer",
    "enhance demo",
    "pretrain",
    "train",
    "evaluate",
)
RUN_STAGES = """
import importlib, sys
sys.path.insert(0, "src")
stages, arguments = sys.argv[1].split(","), sys.argv[2:]
for stage in stages:
    name, *dataset = stage.split()
    sys.argv = [f"src/{name}.py", *dataset, *arguments]
    importlib.import_module(name).main()
"""
"""One process for all stages: each would take seconds to import torch."""


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Ctrl-C works in the programs that tests start, also where the tests run in the background of a shell, which
    ignores it for all of them."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def smoke_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a pipeline run with --profile smoke --out; every stage ended well. The workers of a test run share
    the run, and each has a copy of the folder."""
    from darkaction.tracking.relocation import relocate

    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    with (shared / "smoke.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        if not lock.read():
            run_pipeline(shared / "smoke")
            lock.write("done")
    copy = shutil.copytree(shared / "smoke", own / "smoke-copy")
    relocate(copy / "mlflow.db")
    return Path(copy)


def run_pipeline(out: Path) -> None:
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{out}/mlflow.db"}
    for name in ("MLFLOW_RUN_ID", "DVC_STAGE", "DVC_EXP_NAME"):
        environment.pop(name, None)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    command = [sys.executable, "-c", RUN_STAGES, ",".join(SMOKE_STAGES), "--profile", "smoke", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


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


PACKAGES = {"chromium": "chromium", "setpriv": "util-linux", "git": "git", "make": "make"}
"""Debian packages of the optional programs; PostgreSQL has those that are not listed."""


def require_program(name: str) -> str:
    """The path of an optional system program; its absence skips the test, the only reason for which one may be."""
    path = shutil.which(name)
    if path is None:
        package = PACKAGES.get(name, "postgresql")
        pytest.skip(f"program '{name}' is not installed; `apt-get install {package}` and `make test` run this")
    return path


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return refuse_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return refuse_skip((yield))


def refuse_skip(report: Report) -> Report:
    """Under REQUIRE_ALL=1, as in CI, whatever is skipped has failed."""
    if report.skipped and os.environ.get("REQUIRE_ALL") == "1":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"under REQUIRE_ALL=1 nothing may be skipped. {reason}"
    return report


@pytest.fixture
def postgres() -> "Iterator[Postgres]":
    """A PostgreSQL server of the test's own."""
    from servers import Postgres  # which imports this file

    server = Postgres()
    server.start()
    yield server
    server.delete()
