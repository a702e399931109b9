"""No password reaches a file, a log, a database or a command line, and Ray listens on loopback alone."""

import contextlib
import ipaddress
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import psutil
import pytest

import programs
from searches import Tune, final
from servers import MlflowServer, Postgres, ray_cluster

ROOT = Path(__file__).resolve().parents[2]
PLANTED = "planted7PASSWORD"
POOL = """
import os, sys
from darkaction.jobs.pool import start_pool

with start_pool(address=sys.argv[1] or None, workers=1) as pool:
    pool.submit("task", lambda: os.environ["MLFLOW_TRACKING_PASSWORD"])
    [done] = pool.wait(60)
    print(done.result, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home without anything of Ray's."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """Where Ray keeps its logs; a short path, since it has sockets there."""
    folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def holding(*folders: Path) -> list[Path]:
    """Files with the planted password in them."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if PLANTED.encode() in path.read_bytes()]


def family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def listeners(process: psutil.Process) -> set[tuple[str, str]]:
    """(program, address) of each socket that the process listens at; none of one that has ended meanwhile."""
    with contextlib.suppress(psutil.NoSuchProcess):
        found = process.net_connections("inet")
        return {(process.name(), each.laddr.ip) for each in found if each.status == psutil.CONN_LISTEN}
    return set()


def is_loopback(address: str) -> bool:
    found = ipaddress.ip_address(address)
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


def command_lines() -> set[str]:
    """Of all processes."""
    found = set()
    for process in psutil.process_iter(["cmdline"]):
        found.add(" ".join(process.info["cmdline"] or []))
    return found


def pool(environment: dict[str, str], address: str = "") -> "subprocess.Popen[str]":
    """A process with a pool, whose worker has said which password it has; end its input to end it."""
    process = subprocess.Popen(
        [sys.executable, "-c", POOL, address],
        env={**environment, "PYTHONPATH": str(ROOT / "src"), "MLFLOW_TRACKING_PASSWORD": PLANTED},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == PLANTED
    return process


def test_a_pool_on_this_machine(home: Path, ray_folder: Path) -> None:
    environment = {**os.environ, "HOME": str(home), "RAY_TMPDIR": str(ray_folder)}
    process = pool({name: value for name, value in environment.items() if not name.startswith("RAY_AUTH")})
    try:
        listening = set.union(*map(listeners, family(psutil.Process(process.pid))))
        assert not any(PLANTED in line for line in command_lines())
    finally:
        process.communicate(timeout=60)
    assert len({name for name, _ in listening}) >= 4  # of the launcher and Ray's own
    assert [(name, address) for name, address in listening if not is_loopback(address)] == []
    assert holding(ray_folder) == []
    assert not (home / ".ray").exists()


@pytest.mark.slow
def test_a_pool_on_a_cluster(home: Path, ray_folder: Path) -> None:
    """Workers of a cluster do not inherit the environment of the launcher; it is sent to them, past Ray's logs."""
    environment = {**os.environ, "HOME": str(home), "RAY_TMPDIR": str(ray_folder)}
    with ray_cluster(environment) as address:
        process = pool(environment, address)
        assert not any(PLANTED in line for line in command_lines())
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert holding(ray_folder) == []


@pytest.fixture
def mlflow(tmp_path: Path) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path, f"sqlite:///{tmp_path}/mlflow.db")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def storage(home: Path, ray_folder: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of the studies; it and the variables beside it have a password."""
    address = postgres.uri.replace("postgres@", f"postgres:{PLANTED}@")
    for name, value in {
        "HOME": str(home),
        "RAY_TMPDIR": str(ray_folder),
        "OPTUNA_STORAGE": address,
        "PGPASSWORD": PLANTED,
        "MLFLOW_TRACKING_USERNAME": "me",
        "MLFLOW_TRACKING_PASSWORD": PLANTED,
        "MLFLOW_TRACKING_TOKEN": PLANTED,
    }.items():
        monkeypatch.setenv(name, value)
    return address


@pytest.mark.slow
def test_a_search(
    search_project: Path, tmp_path: Path, ray_folder: Path, postgres: Postgres, mlflow: MlflowServer, storage: str
) -> None:
    store = mlflow.uri.replace("://", f"://me:{PLANTED}@")
    process = programs.start(search_project, "tune.py", "--trials", "3", "--workers", "2", store=store)
    seen: set[str] = set()
    while process.poll() is None:
        seen |= command_lines()
        time.sleep(0.2)
    printed = "".join(process.communicate())
    assert process.returncode == 0, printed
    assert any("run_job" in line for line in seen)
    assert not any(PLANTED in line for line in seen)

    environment = {**os.environ, "MLFLOW_TRACKING_URI": store}
    pages = subprocess.run(
        [sys.executable, "src/ui.py"], cwd=search_project, env=environment, capture_output=True, text=True
    )
    assert mlflow.uri in pages.stdout
    assert PLANTED not in printed + pages.stdout + pages.stderr

    study = optuna.load_study(study_name=None, storage=storage.replace("postgresql://", "postgresql+psycopg://"))
    assert len(final(study.get_trials())) == 3
    assert len(Tune(search_project, tmp_path).runs("trial")) == 3
    assert PLANTED not in str([study.user_attrs, study.get_trials()])
    assert holding(tmp_path, ray_folder, search_project, postgres.folder) == []
