"""What a spool becomes in the store: its opening a run that is found or made, its records metrics, parameters, tags and
artifacts. Each step may be done again with the same result."""

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from darkaction.core.errors import reason_of
from darkaction.tracking.spool import Record, Spool, Waiting, warn
from darkaction.tracking.store import EXPERIMENTS, experiment_named, has_run
from darkaction.tracking.weights import CHECKSUM

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

TOKEN = "darkaction.token"  # nosec B105  # the name of a tag
"""Tag by which a run is known before the store has given it an id, so that it is not made twice."""

ORIGINAL = "darkaction.original"
"""Tag of a run that stands in for one that this store does not have: how the original is found in its own store."""

OF_RUN = "darkaction.model_of_run_id"
"""Tag of a run that has only figures of a model: the run that made the model."""

MAX_TAG_LENGTH = 5000
"""MLflow's limit for older servers (mlflow.utils.validation)."""

PARAMS_PER_BATCH = 100
METRICS_PER_BATCH = 1000
MOST_FOUND = 50

GENERATED_NAME = re.compile(r"[a-z]+-[a-z]+-\d+")
"""MLflow's names for runs that were given none: `useful-cub-168`."""

REFUSALS = ("BAD_REQUEST", "INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")
"""Answers that do not change when the same record is sent again."""


class ParentMissingError(LookupError):
    """The store has no run, yet, of the search or comparison that a training belongs to."""


# The run of an opening


def open_run(client: "MlflowClient", uri: str, spool: Spool) -> str:
    """Id of the run that the opening of a spool describes; it is made where it must be, and only once."""
    opening = spool.opening
    if "run_id" in opening:
        return str(opening["run_id"])
    run_id = _attached(client, uri, opening) if "attach" in opening else _started(client, uri, opening)
    spool.write_opening(opening | {"run_id": run_id})
    return run_id


def _started(client: "MlflowClient", uri: str, opening: Record) -> str:
    """Id of a run that is running now: an earlier one of the same settings, or a new one."""
    found = _with_tag(client, TOKEN, opening["token"])  # another process, or a try whose answer was lost, made it
    if not found and opening.get("earlier"):
        found = [run for run in _with_tag(client, TOKEN, opening["earlier"]) if _can_go_on(run, opening["params"])]
        for run in found:
            client.set_tag(run.info.run_id, TOKEN, opening["token"])
    if not found:
        return _create(client, uri, opening)
    client.update_run(found[0].info.run_id, status="RUNNING")
    return str(found[0].info.run_id)


def _can_go_on(run: "MlflowRun", settings: Mapping[str, str]) -> bool:
    """Whether a run is unfinished and of these settings; one that began in an outage may lack some."""
    return bool(run.info.status != "FINISHED" and run.data.params.items() <= settings.items())


def _attached(client: "MlflowClient", uri: str, opening: Record) -> str:
    """Id of the run to add to: the one that made the model or, in a store that does not have it, one in its place."""
    if made := _with_tag(client, TOKEN, opening["token"]):
        return str(made[0].info.run_id)
    model = opening["attach"]["model"]
    found = model_runs(client, model, out=opening["tags"].get("out"))
    if opening["attach"]["own_run"]:
        tags = {OF_RUN: found[0].info.run_id} if found else {}
    elif found:
        return str(found[0].info.run_id)
    else:
        tags = {ORIGINAL: f"{CHECKSUM} = {model}", CHECKSUM: model}
    run_id = _create(client, uri, opening | {"tags": opening["tags"] | tags})
    _send_params(client, run_id, opening["params"])
    client.set_terminated(run_id, "FINISHED")
    return run_id


def model_runs(client: "MlflowClient", checksum: str, *, out: str | None = None) -> list["MlflowRun"]:
    """The trainings that made a model, known by the checksum of its weights: those with this --out first, then the
    latest first (the same settings give the same weights again)."""
    found = _with_tag(client, CHECKSUM, checksum, " and tags.stage = 'train'")
    return sorted(found, key=lambda run: run.data.tags.get("out") != out)


def _with_tag(client: "MlflowClient", tag: str, value: str, more: str = "") -> list["MlflowRun"]:
    """Runs with that tag, in whichever experiment, the latest first."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    query = f"tags.`{tag}` = '{value}'{more}"
    return list(client.search_runs(experiments, query, max_results=MOST_FOUND, order_by=["attributes.start_time DESC"]))


def _create(client: "MlflowClient", uri: str, opening: Record) -> str:
    experiment_id, parent = _place(client, uri, opening)
    own = {"mlflow.user": opening["user"], TOKEN: opening["token"]}
    if parent is not None:
        own["mlflow.parentRunId"] = parent
    cut = {key: value[:MAX_TAG_LENGTH] for key, value in opening["tags"].items()}
    run = client.create_run(experiment_id, start_time=opening["time"], tags=cut | own, run_name=opening["run_name"])
    return str(run.info.run_id)


def _place(client: "MlflowClient", uri: str, opening: Record) -> tuple[str, str | None]:
    """Experiment and parent of a new run: the search or comparison of a child, the project's run under `mlflow run`."""
    if "parent" in opening:
        parents = _with_tag(client, TOKEN, opening["parent"])
        if not parents:
            raise ParentMissingError("the run of the search or comparison is not there yet")
        return str(parents[0].info.experiment_id), str(parents[0].info.run_id)
    project = opening["project_run"]
    if not project or not has_run(client, project):
        return experiment_named(client, uri, EXPERIMENTS[opening["stage"]]), None
    run = client.get_run(project)
    if GENERATED_NAME.fullmatch(run.info.run_name or ""):
        client.update_run(project, name=f"mlflow run {run.data.tags.get('mlflow.project.entryPoint', '')}".strip())
    return str(run.info.experiment_id), str(project)


# The records of a run


def deliver_records(client: "MlflowClient", run_id: str, spool: Spool) -> str:
    """Delivers all waiting records of a spool; the kind of the last one. A record that the store rejects as wrong is
    dropped with a warning, since the store would reject it for ever."""
    kind = ""
    for group in spool.waiting():
        kind = str(group[-1].record["kind"])
        if len(group) == 1 or not _accepted(partial(_send_metrics, client, run_id, group)):
            for waiting in group:
                _accepted(partial(_send, client, run_id, waiting), loud=True)
        for waiting in group:
            spool.remove(waiting)
    return kind


def _accepted(deliver: Callable[[], None], *, loud: bool = False) -> bool:
    """Whether the store took what `deliver` sends; false when it refused it as wrong, with a warning if `loud`.
    Anything else is raised."""
    from mlflow.exceptions import MlflowException

    try:
        deliver()
    except (MlflowException, FileNotFoundError) as error:
        if isinstance(error, MlflowException) and error.error_code not in REFUSALS:
            raise
        if loud:
            warn(f"a record was refused and is left out ({reason_of(error)})")
        return False
    return True


def _send(client: "MlflowClient", run_id: str, waiting: Waiting) -> None:
    """One record."""
    from mlflow.entities import RunTag

    record = waiting.record
    match record["kind"]:
        case "metrics":
            _send_metrics(client, run_id, [waiting])
        case "params":
            _send_params(client, run_id, record["params"])
        case "tags":
            client.log_batch(run_id, tags=[RunTag(key, value) for key, value in record["tags"].items()])
        case "text":
            client.log_text(run_id, record["text"], record["name"])
        case "artifact":
            path = waiting.files / record["name"]
            send = client.log_artifacts if path.is_dir() else client.log_artifact
            send(run_id, str(path), record["folder"] or None)
        case "datasets":
            client.log_inputs(run_id, datasets=[_dataset_input(values) for values in record["datasets"]])
        case "status":
            client.set_terminated(run_id, record["status"], record["time"])
        case kind:
            raise ValueError(f"{waiting.path}: a record of unknown kind '{kind}'")


def _send_metrics(client: "MlflowClient", run_id: str, group: list[Waiting]) -> None:
    from mlflow.entities import Metric

    numbers = [
        Metric(key, value, waiting.record["time"], waiting.record["step"])
        for waiting in group
        for key, value in waiting.record["metrics"].items()
    ]
    for first in range(0, len(numbers), METRICS_PER_BATCH):
        client.log_batch(run_id, metrics=numbers[first : first + METRICS_PER_BATCH])


def _send_params(client: "MlflowClient", run_id: str, values: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    params = [Param(key, value) for key, value in values.items()]
    for first in range(0, len(params), PARAMS_PER_BATCH):
        client.log_batch(run_id, params=params[first : first + PARAMS_PER_BATCH])


def _dataset_input(values: Mapping[str, Any]) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps(values["source"])
    entity = Dataset(
        name=values["name"], digest=values["digest"], source_type="dvc", source=source, profile=values["profile"]
    )
    return DatasetInput(entity, tags=[InputTag("mlflow.data.context", values["role"])])
