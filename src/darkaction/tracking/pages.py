"""MLflow's pages as a person wants to see the runs: with what they reached and where they differ as columns.

MLflow 3 keeps a view as a tag of the experiment, and opens the one that an address names. The assistant it offers only
under 127.0.0.1 and localhost, the part for language models unless the address asks for the other one.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from darkaction.core.errors import UserError
from darkaction.tracking.naming import IRRELEVANT, ORIGIN
from darkaction.tracking.store import EXPERIMENTS

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

ADDRESS = "127.0.0.1"

STARTING = 300.0
"""Most seconds for the server to start."""

HOST = "darkaction.localhost"
"""Browsers take every name under .localhost for this machine."""

VIEW = "accuracy"
"""Name of the view in the menu of the page, and what its address calls it."""

VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"

SCORES = {
    "darkaction-recognizer": "test.accuracy",
    "darkaction-tables": "test.accuracy",
    "darkaction-search": "validation.accuracy",
    "darkaction-pretraining": "val_accuracy",
    "darkaction-enhancer": "after.luma",
}
"""Experiment -> the metric its runs are ordered by."""

MOST_SETTINGS = 8
MOST_RUNS = 1000
"""The latest runs, whose settings are compared."""

WIDTHS = {"Run Name": 400, "Created": 110, "Description": 225}
"""Pixels of columns; others have as many as their title needs."""


def prepare_pages(client: "MlflowClient") -> str:
    """Writes the view of each of our experiments that has runs, and gives the address of the first, after the host."""
    found = {experiment.name: experiment for experiment in client.search_experiments()}
    names = ["darkaction-recognizer", *dict.fromkeys(EXPERIMENTS.values())]
    shown = []
    for name in dict.fromkeys(names):
        experiment = found.get(name)
        runs = [] if experiment is None else client.search_runs([experiment.experiment_id], max_results=MOST_RUNS)
        if experiment is not None and runs:
            _write_view(client, experiment, runs)
            shown.append(experiment.experiment_id)
    query = {"workflowType": "machine_learning"}
    if not shown:
        return f"/#/experiments?{urlencode(query)}"
    return f"/#/experiments/{shown[0]}/runs?{urlencode(query | {'viewStateShareKey': VIEW})}"


def varying_settings(runs: list["Run"]) -> list[str]:
    """Settings in which runs differ, those with the most values first."""
    values = defaultdict(set)
    for run in runs:
        for key, value in run.data.params.items():
            if not key.startswith(IRRELEVANT):
                values[key].add(value)
    different = [key for key, found in values.items() if len(found) > 1]
    return sorted(different, key=lambda key: (-len(values[key]), key))[:MOST_SETTINGS]


def _write_view(client: "MlflowClient", experiment: "Experiment", runs: list["Run"]) -> None:
    """Sets the tag, unless it says the same already."""
    state = _state(SCORES[experiment.name], varying_settings(runs))
    earlier = experiment.tags.get(VIEW_TAG)
    if earlier is not None and json.loads(earlier)["state"] == state:
        return
    now = int(time.time() * 1000)
    view = {"name": VIEW, "createdAt": now, "updatedAt": now, "state": state}
    client.set_experiment_tag(experiment.experiment_id, VIEW_TAG, json.dumps(view))


def _state(score: str, settings: list[str]) -> str:
    """The view as the page keeps it; what is not said stays as the page has it."""
    chosen = [("metrics", score), ("attributes", "Description"), ("tags", ORIGIN)]
    chosen += [("params", key) for key in settings]
    order = [("attributes", "Run Name"), ("attributes", "Created"), *chosen]
    state: dict[str, Any] = {
        "orderByKey": _column("metrics", score),
        "orderByAsc": False,
        "searchFilter": "",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": [_column(*column) for column in chosen],
        "columnOrder": [_column(*column) for column in order],
        "columnWidths": {_column(kind, name): _width(name) for kind, name in order},
    }
    return json.dumps(state)


def _width(name: str) -> int:
    return WIDTHS[name] if name in WIDTHS else min(max(75, 20 + 7 * len(name)), 180)


def _column(kind: str, name: str) -> str:
    """What the page calls a column."""
    return f"{kind}.`{name}`"


# Their server


def start_server(store: str, port: int) -> "subprocess.Popen[bytes]":
    """MLflow's server for this machine: without its job runners, seven processes for evaluations of language models,
    and without usage statistics. The address of the store is in its environment, since it may hold a password.

    Raises:
        UserError: when it ends, or does not answer.
    """
    names = ("localhost", ADDRESS, HOST)
    settings = {
        "MLFLOW_BACKEND_STORE_URI": store,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "PYTHONWARNINGS": "ignore",
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(f"{name}:{port}" for name in names),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(f"http://{name}:{port}" for name in names),
    }
    command = [sys.executable, "-m", "mlflow", "ui", "--host", ADDRESS, "--port", str(port), "--workers", "1"]
    command += ["--uvicorn-opts", "--log-level warning"]
    server = subprocess.Popen(command, env=os.environ | settings)
    try:
        _wait_for(port, server)
    except BaseException:
        server.terminate()
        server.wait()
        raise
    return server


def check_free(port: int) -> None:
    """Refuses a port on which somebody else listens."""
    with socket.socket() as probe:
        if probe.connect_ex((ADDRESS, port)) == 0:
            raise UserError(f"port {port} is in use: make ui PORT={port + 1}")


def _wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    """Until the server answers."""
    deadline = time.monotonic() + STARTING
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise UserError(f"mlflow ui ended with exit code {server.returncode}; its message is above")
        try:
            urllib.request.urlopen(f"http://{ADDRESS}:{port}/health", timeout=5).close()  # nosec B310  # always http
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise UserError(f"mlflow ui does not answer on port {port} after {STARTING:.0f} s")
