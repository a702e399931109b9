"""What a spool's records become in the store. Each may be delivered again with the same result."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from darkaction.core.errors import reason_of
from darkaction.tracking.spool import Record, Spool, Waiting, warn

if TYPE_CHECKING:
    from mlflow import MlflowClient

PARAMS_PER_BATCH = 100

METRICS_PER_BATCH = 1000

REFUSALS = ("BAD_REQUEST", "INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")
"""Answers that do not change when the same record is sent again."""


def deliver_records(client: "MlflowClient", run_id: str, spool: Spool) -> str:
    """Delivers all records of a spool that wait; the kind of the last one. A record that the store rejects as wrong is
    dropped with a warning, since it would be rejected for ever."""
    kind = ""
    for group in spool.waiting():
        kind = str(group[-1].record["kind"])
        if len(group) == 1 or not _accepted(partial(_deliver_metrics, client, run_id, group)):
            for waiting in group:
                _accepted(partial(_deliver_record, client, run_id, waiting), loud=True)
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


def _deliver_record(client: "MlflowClient", run_id: str, waiting: Waiting) -> None:
    """One record. Every kind may be delivered again with the same result."""
    record = waiting.record
    if record["kind"] == "metrics":
        _deliver_metrics(client, run_id, [waiting])
    elif record["kind"] in ("params", "tags"):
        deliver_values(client, run_id, record)
    elif record["kind"] == "text":
        client.log_text(run_id, record["text"], record["name"])
    elif record["kind"] == "artifact":
        path = waiting.files / record["name"]
        send = client.log_artifacts if path.is_dir() else client.log_artifact
        send(run_id, str(path), record["folder"] or None)
    elif record["kind"] == "datasets":
        client.log_inputs(run_id, datasets=[_dataset_input(values) for values in record["datasets"]])
    elif record["kind"] == "status":
        client.set_terminated(run_id, record["status"], record["time"])
    else:
        raise ValueError(f"{waiting.path}: a record of unknown kind '{record['kind']}'")


def _deliver_metrics(client: "MlflowClient", run_id: str, group: list[Waiting]) -> None:
    from mlflow.entities import Metric

    numbers = [
        Metric(key, value, waiting.record["time"], waiting.record["step"])
        for waiting in group
        for key, value in waiting.record["metrics"].items()
    ]
    for first in range(0, len(numbers), METRICS_PER_BATCH):
        client.log_batch(run_id, metrics=numbers[first : first + METRICS_PER_BATCH])


def deliver_values(client: "MlflowClient", run_id: str, record: Record) -> None:
    from mlflow.entities import Param, RunTag

    if record["kind"] == "tags":
        client.log_batch(run_id, tags=[RunTag(key, value) for key, value in record["tags"].items()])
    else:
        params = [Param(key, value) for key, value in record["params"].items()]
        for first in range(0, len(params), PARAMS_PER_BATCH):
            client.log_batch(run_id, params=params[first : first + PARAMS_PER_BATCH])


def _dataset_input(values: Mapping[str, Any]) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    entity = Dataset(
        name=values["name"],
        digest=values["digest"],
        source_type="dvc",
        source=json.dumps(values["source"]),
        profile=values["profile"],
    )
    return DatasetInput(entity, tags=[InputTag("mlflow.data.context", values["role"])])
