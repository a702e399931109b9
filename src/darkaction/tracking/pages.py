"""MLflow's pages as a person wants to see the runs: with what they reached and where they differ as columns.

MLflow 3 keeps a view as a tag of the experiment, and opens the one that an address names. The assistant it offers only
under 127.0.0.1 and localhost, the part for language models unless the address asks for the other one.
"""

import json
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from darkaction.tracking.naming import IRRELEVANT, ORIGIN
from darkaction.tracking.store import EXPERIMENTS

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

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
