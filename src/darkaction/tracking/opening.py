"""Finding and making the run that the opening of a spool describes: one that starts, goes on, or is added to."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from darkaction.tracking.records import deliver_values
from darkaction.tracking.spool import Record, Spool
from darkaction.tracking.store import EXPERIMENTS, experiment_named, has_run

if TYPE_CHECKING:
    from mlflow import MlflowClient

MAX_TAG_LENGTH = 5000
"""MLflow's limit for older servers (mlflow.utils.validation)."""

ATTACHED_TO = "darkaction.original_run_id"
"""Tag of a run that stands in for one the store has lost."""

TOKEN = "darkaction.token"
"""Tag by which a run is known before the store has given it an id, so that it is not made twice."""


DRAWN_NAME = re.compile(r"[a-z]+-[a-z]+-\d+")
"""MLflow's names for runs that got none: `useful-cub-168`."""


class ParentMissingError(LookupError):
    """The store has no run, yet, of the search or comparison that a training belongs to."""


def open_run(client: "MlflowClient", uri: str, spool: Spool) -> str:
    """Id of the run that the opening of a spool describes; made where it must be, and only once."""
    opening = spool.opening
    if "run_id" in opening:
        return str(opening["run_id"])
    run_id = _attached(client, uri, opening) if opening["how"] == "attach" else _started(client, uri, opening)
    spool.write_opening(opening | {"run_id": run_id})
    return run_id


def _started(client: "MlflowClient", uri: str, opening: Record) -> str:
    """Id of a new run, or of an earlier one, running again, where it is an unfinished run of the same settings, or the
    one of a search that others may have begun."""
    tags = opening.get("tags", {})  # spools of earlier versions have none
    if opening["how"] == "join":
        run_id = _create(client, uri, opening, tags)
        client.update_run(run_id, status="RUNNING")
        return run_id
    earlier = opening.get("earlier")
    found = None if earlier is None else _find(client, uri, opening, earlier)
    if found is not None and _can_go_on(client, found, opening["params"]):
        client.update_run(found, status="RUNNING")
        return found
    return _create(client, uri, opening, tags)


def _attached(client: "MlflowClient", uri: str, opening: Record) -> str:
    """Id of the run to add to, of the one that took its place, or of a new one."""
    original = opening["original"]
    found = None if original is None else _find(client, uri, opening, original)
    if found is not None:
        return found
    name = "unknown" if original is None else (original["run_id"] or original["token"])
    if original is not None and (earlier := _search(client, uri, opening, ATTACHED_TO, name)):
        return earlier
    run_id = _create(client, uri, opening, opening["tags"] | {ATTACHED_TO: name})
    deliver_values(client, run_id, {"kind": "params", "params": opening["params"]})
    client.set_terminated(run_id, "FINISHED")
    return run_id


def _find(client: "MlflowClient", uri: str, opening: Record, run: Record) -> str | None:
    """Id of a run that a file of models/runs names, by its id or, where it had none yet, by its token."""
    if run["run_id"] and has_run(client, run["run_id"]):
        return str(run["run_id"])
    return _search(client, uri, opening, TOKEN, run["token"]) if run["token"] else None


def _create(client: "MlflowClient", uri: str, opening: Record, tags: Mapping[str, str]) -> str:
    """Makes the run of an opening, unless an earlier try did whose answer was lost."""
    made = _search(client, uri, opening, TOKEN, opening["token"])
    if made:
        return made
    experiment_id, parent = _home(client, uri, opening)
    if parent is not None and parent == opening["parent"]:
        _name_project_run(client, parent)
    own = {"mlflow.user": opening["user"], TOKEN: opening["token"]}
    if parent is not None:
        own["mlflow.parentRunId"] = parent
    cut = {key: value[:MAX_TAG_LENGTH] for key, value in tags.items()}
    run = client.create_run(experiment_id, start_time=opening["time"], tags=cut | own, run_name=opening["run_name"])
    return str(run.info.run_id)


def _name_project_run(client: "MlflowClient", run_id: str) -> None:
    """Names the run of `mlflow run` by what was run, where it has but the name that MLflow drew for it."""
    run = client.get_run(run_id)
    if DRAWN_NAME.fullmatch(run.info.run_name or ""):
        client.update_run(run_id, name=f"mlflow run {run.data.tags.get('mlflow.project.entryPoint', '')}".strip())


def _search(client: "MlflowClient", uri: str, opening: Record, tag: str, value: str) -> str | None:
    """Id of the run with that tag in the experiment of an opening."""
    experiment_id, _ = _home(client, uri, opening)
    found = client.search_runs([experiment_id], f"tags.`{tag}` = '{value}'", max_results=1)
    return str(found[0].info.run_id) if found else None


def _can_go_on(client: "MlflowClient", run_id: str, settings: Mapping[str, str]) -> bool:
    run = client.get_run(run_id)
    # A run whose beginning fell into an outage may lack settings; it must not have other ones.
    return bool(run.info.status != "FINISHED" and run.data.params.items() <= settings.items())


def _home(client: "MlflowClient", uri: str, opening: Record) -> tuple[str, str | None]:
    """Experiment for new runs of a stage, and the run they are children of: that of the search for a trial, and under
    `mlflow run` the project's run."""
    parent = opening["parent"]
    if "search" in opening:
        experiment_id, _ = _home(client, uri, {"stage": opening["stage"], "parent": parent})
        found = client.search_runs([experiment_id], f"tags.`{TOKEN}` = '{opening['search']}'", max_results=1)
        if not found:
            raise ParentMissingError("the run of the search is not there yet")
        return experiment_id, str(found[0].info.run_id)
    if parent and has_run(client, parent):
        return str(client.get_run(parent).info.experiment_id), parent
    return experiment_named(client, uri, EXPERIMENTS[opening["stage"]]), None
