"""Real servers on loopback for tests: MLflow's, a Ray cluster, and PostgreSQL's, which does not run as root."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from conftest import ROOT, require_program

DEBIAN_POSTGRES = Path("/usr/lib/postgresql")


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class MlflowServer:
    """`mlflow server` that can be stopped, as hard as a power cut, and started again."""

    def __init__(self, folder: Path, store: str) -> None:
        self.folder, self.store, self.port = folder, store, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", self.store, "--workers", "1"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        environment.pop("MLFLOW_TRACKING_URI", None)
        environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # seven processes for what nobody here uses
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            assert self._process.poll() is None, (self.folder / "server.log").read_text()[-3000:]
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=5)
            except OSError:
                time.sleep(0.3)
            else:
                return
        raise AssertionError("the server does not answer")

    def kill(self) -> None:
        """Ends it and all its processes at once."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@contextlib.contextmanager
def ray_cluster(environment: Mapping[str, str], *arguments: str) -> Iterator[str]:
    """A Ray cluster of one node with two processors; its address."""
    port = free_port()
    command = [str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", "--port", str(port)]
    command += ["--num-cpus", "2", "--include-dashboard", "false", "--object-store-memory", "100000000", *arguments]
    node = subprocess.Popen(
        command,
        env={**environment, "RAY_USAGE_STATS_ENABLED": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert node.stdout is not None
    for line in node.stdout:
        if "--block" in line:
            break
    yield f"127.0.0.1:{port}"
    node.terminate()
    node.wait(60)


class Server:
    """`python src/serve.py` with the weights in git."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "src/serve.py", "--model", "models/synthetic", "--port", str(self.port), *arguments]
        with log.open("wb") as file:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file)
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            assert self.process.poll() is None, log.read_text()[-3000:]
            try:
                urllib.request.urlopen(f"{self.url}/ping", timeout=5).close()
            except OSError:
                time.sleep(0.3)
            else:
                self.processes = psutil.Process(self.process.pid).children(recursive=True)
                return
        raise AssertionError("the server does not answer")

    def memory(self) -> int:
        """Resident bytes of the server, without its workers."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def end(self, number: int, seconds: float) -> None:
        """Sends a signal, after which the server and all it started are gone in time."""
        started = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(number)
        self.process.wait(seconds)
        _, alive = psutil.wait_procs([*self.processes, *started], timeout=seconds)
        assert not alive, alive


class Postgres:
    """A PostgreSQL of its own. Its folder lies outside of pytest's, which other users cannot enter: PostgreSQL does not
    run as root."""

    def __init__(self) -> None:
        self.folder, self.port = Path(tempfile.mkdtemp(prefix="postgres-")), free_port()
        self.uri = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self._data = self.folder / "data"

    def start(self) -> None:
        """Makes the database when there is none, and starts it."""
        if os.getuid() == 0:
            shutil.chown(self.folder, "postgres")
        if not self._data.exists():
            self._run("initdb", "-D", str(self._data), "-U", "postgres", "--auth", "trust", "--no-sync")
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        self._run("pg_ctl", "-D", str(self._data), "-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def delete(self) -> None:
        """Stops it and removes all it wrote."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self) -> None:
        """Stops it without waiting for its clients."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        command = [postgres_program(program), *arguments]
        if os.getuid() == 0:
            command = [require_program("setpriv"), "--reuid=postgres", "--regid=postgres", "--init-groups", *command]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stdout + done.stderr


def postgres_program(name: str) -> str:
    """A program of PostgreSQL's server: on the PATH, or where Debian keeps it."""
    found = sorted(DEBIAN_POSTGRES.glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    return str(found[-1]) if found else require_program(name)
