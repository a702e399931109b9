"""Opens MLflow's pages over the record of experiments, and prints where they are: make ui, or python src/ui.py

The page shows what the runs reached and the settings in which they differ. The store is that of MLFLOW_TRACKING_URI, or
mlflow.db; the pages of a store on a server are that server's, and only their address is printed. Ctrl-C ends it.
"""

import argparse
import os
import socket
import subprocess
import sys
import time
import urllib.request

from darkaction import tracking
from darkaction.core import cli
from darkaction.core.errors import UserError
from darkaction.core.paths import Paths

HOST = "127.0.0.1"
PATIENCE = 300.0
"""Seconds for the server to start."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=5000, metavar="N", help="default 5000")
    port = parser.parse_args().port
    paths = Paths()
    store = tracking.tracking_uri(paths.root)
    is_server = store.startswith("http")
    if not is_server:
        check_free(port)
    page = tracking.prepare_pages(tracking.open_store(paths))
    if is_server:
        print(f"the pages of the server: {store.rstrip('/')}{page}")
        return
    print("MLflow's server starts: some seconds", flush=True)
    server = start(store, port)
    try:
        wait_for(port, server)
        print(f"http://{tracking.PAGES_HOST}:{port}{page}")
        print(f"(http://{HOST}:{port} where a browser does not find it; Ctrl-C ends it)", flush=True)
        server.wait()
    finally:
        server.terminate()
        server.wait()


def start(store: str, port: int) -> "subprocess.Popen[bytes]":
    """MLflow's server for this machine: without its job runners, seven processes for evaluations of language models,
    and without usage statistics. The address of the store is in its environment, since it may hold a password."""
    names = ("localhost", HOST, tracking.PAGES_HOST)
    settings = {
        "MLFLOW_BACKEND_STORE_URI": store,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "PYTHONWARNINGS": "ignore",
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(f"{name}:{port}" for name in names),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(f"http://{name}:{port}" for name in names),
    }
    command = [sys.executable, "-m", "mlflow", "ui", "--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--uvicorn-opts", "--log-level warning"]
    return subprocess.Popen(command, env=os.environ | settings)


def check_free(port: int) -> None:
    """Refuses a port on which somebody else listens."""
    with socket.socket() as probe:
        if probe.connect_ex((HOST, port)) == 0:
            raise UserError(f"port {port} is in use: make ui PORT={port + 1}")


def wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    """Until the server answers."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise UserError(f"mlflow ui ended with exit code {server.returncode}; what it said stands above")
        try:
            urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=5).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise UserError(f"mlflow ui does not answer on port {port} after {PATIENCE:.0f} s")


if __name__ == "__main__":
    cli.run(main)
