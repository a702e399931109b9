"""Runs: opened for a stage, a search or one training among many, or gone on with; their files and their end."""

import contextlib
import dataclasses
import getpass
import json
import os
import shlex
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from darkaction.core import config
from darkaction.core.config import Settings
from darkaction.core.errors import reason_of, sigterm_raises, stopped_by
from darkaction.core.folders import write_whole
from darkaction.core.paths import Paths
from darkaction.core.provenance import dataset_sources, origin_tags, uncommitted
from darkaction.core.redact import scrub
from darkaction.tracking.delivery import Delivery
from darkaction.tracking.naming import NOTE, origin_of, run_name
from darkaction.tracking.records import MAX_TAG_LENGTH
from darkaction.tracking.spool import Record, warn
from darkaction.tracking.store import EXPERIMENTS
from darkaction.tracking.system_metrics import system_metrics
from darkaction.tracking.weights import checksum, weights_of

MAX_PARAM_LENGTH = 6000
"""MLflow's limit (mlflow.utils.validation)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Child:
    """One of the trainings that a command starts in worker processes: its name among them, if it has one, and the
    command that a person typed for all."""

    name: str
    command: str

    @property
    def tags(self) -> dict[str, str]:
        """Instead of those of the worker's own command line."""
        script = next((part for part in shlex.split(self.command) if part.endswith(".py")), "")
        return {"command": self.command, "mlflow.source.name": script}


class Run:
    """One run of the store. No call waits for the store or raises its errors."""

    def __init__(self, delivery: Delivery | None) -> None:
        self._delivery = delivery
        self.is_described = False

    @property
    def run_id(self) -> str | None:
        """The run's id; None while the store has not been reached yet, or in a process that does not record."""
        return None if self._delivery is None else self._delivery.run_id

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Records numbers, with the epoch as `step`."""
        values = {key: float(value) for key, value in metrics.items()}
        self._send({"kind": "metrics", "metrics": values, "step": step or 0, "time": _now()})

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Records settings; values other than text are written as JSON, which reads as they stand in params.yaml."""
        self._send({"kind": "params", "params": {key: parameter_text(value) for key, value in params.items()}})

    def log_artifact(self, path: Path, folder: str = "") -> None:
        """Copies a file, or the content of a folder, into the run's artifacts, under `folder`.

        Raises:
            FileNotFoundError: when there is no such file.
        """
        if self._delivery is None:  # the first process records it, and may be making it at this moment
            return
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file to record")
        self._send({"kind": "artifact", "name": path.name, "folder": folder}, path)

    def log_text(self, text: str, name: str) -> None:
        """Writes `text` as the artifact `name` (a relative path such as `notes/traceback.txt`)."""
        self._send({"kind": "text", "text": text, "name": name})

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Sets tags; longer values than the store takes are cut."""
        self._send({"kind": "tags", "tags": {key: value[:MAX_TAG_LENGTH] for key, value in tags.items()}})

    def describe(self, text: str, *, accuracy: str | None = None) -> None:
        """Sets the description, whose first 50 characters MLflow's list shows, and, in a tag of its own, an accuracy
        with its interval."""
        self.is_described = True
        self.set_tags({NOTE: text} | ({} if accuracy is None else {"accuracy": accuracy}))

    def log_datasets(self, datasets: list[dict[str, Any]]) -> None:
        """Records what the run read (see `dataset_sources`); MLflow's pages show it in the column of datasets."""
        if datasets:
            self._send({"kind": "datasets", "datasets": datasets})

    def end(self, status: str) -> None:
        self._send({"kind": "status", "status": status, "time": _now()})

    def _send(self, record: Record, *files: Path) -> None:
        if self._delivery is not None:
            self._delivery.send(record, *files)


@contextlib.contextmanager
def start_run(
    *,
    stage: str,
    params: Settings,
    paths: Paths,
    resume: bool = False,
    child: Child | None = None,
    recorded: bool = True,
) -> Iterator[Run]:
    """A run of `stage`, with every setting as parameter, its origin as tags and params.yaml as artifact.

    It ends as FINISHED; as FAILED, with the artifact traceback.txt, on an exception; or as KILLED on Ctrl-C and
    SIGTERM. A run whose process was killed outright is ended as KILLED by the next run or tracking_sync.py. Until the
    run is finished, checkpoints/runs/<stage>.json has its token: with `resume` an unfinished run of the same settings
    goes on instead of a new one.

    Args:
        recorded: false in processes of a distributed training other than the first.
        child: in a worker process, which knows neither what a person typed nor a name.

    Raises:
        ValueError: for a stage that has no experiment.
        UserError: at once, when the store cannot be used at all, which is no outage.
    """
    if stage not in EXPERIMENTS:
        raise ValueError(f"stage '{stage}' has no experiment; there are: {', '.join(EXPERIMENTS)}")
    if not recorded:
        yield Run(None)
        return
    unfinished = f"{Paths.CHECKPOINTS}/runs/{stage}.json"
    opening = _opening(stage, params, paths, child=child)
    if resume:
        opening["earlier"] = _token_in(paths.read(unfinished))
    with _recorded(opening, params, paths, must_open=child is None) as run:
        write_whole(paths.write(unfinished), json.dumps({"token": opening["token"]}) + "\n")
        yield run
    paths.write(unfinished).unlink(missing_ok=True)  # of two at once, the other may have been first


@contextlib.contextmanager
def parent_run(
    *,
    stage: str,
    params: Settings,
    paths: Paths,
    name: str,
    token: str,
    varying: tuple[str, ...],
    others_at_work: Callable[[], bool],
) -> Iterator[Run]:
    """The run of a search or comparison, the parent of its trainings. Every launcher of it has the same `token` and so
    the same run; one that leaves others at work does not end it.

    Args:
        stage: tune or tables.
        name: of the search or comparison.
        varying: beginnings of the keys in which launchers may differ; MLflow does not let a parameter change.
        others_at_work: whether other launchers go on.
    """
    opening = _opening(stage, params, paths) | {"token": token, "run_name": run_name(stage, params, label=name)}
    opening["params"] = {key: text for key, text in opening["params"].items() if not key.startswith(varying)}
    with _recorded(opening, params, paths, must_open=True, goes_on=others_at_work) as run:
        yield run


@contextlib.contextmanager
def child_run(*, stage: str, params: Settings, paths: Paths, child: Child, parent: str) -> Iterator[Run]:
    """A run of one training among many (`stage` trial or run), a child of the run of the search or comparison that has
    the token `parent`; it ends as `start_run`'s. The training goes on without a store that cannot be used: its launcher
    has found the store usable."""
    opening = _opening(stage, params, paths, child=child) | {"parent": parent}
    with _recorded(opening, params, paths, must_open=False) as run:
        yield run


@contextlib.contextmanager
def attach_run(*, stage: str, params: Settings, paths: Paths) -> Iterator[Run]:
    """The finished run that made the model in models/recognizer, to add metrics and artifacts to; its status stays.

    The run is found by the checksum of the model's weights. Where the store does not have it (mlflow.db was deleted, or
    the model comes from another machine) a new run takes its place; later calls find that one again. With --out,
    figures of a model of the pipeline get a run of their own, and leave the pipeline's alone.

    Raises:
        FileNotFoundError: when there is no model.
        UserError: when the store cannot be used at all; `check_store` says so before long work.
    """
    weights = weights_of(paths)
    opening = _opening(stage, params, paths)
    opening["attach"] = {
        "model": checksum(weights),
        "own_run": paths.out is not None and not weights.is_relative_to(paths.out),
    }
    delivery = Delivery(paths, opening, must_open=True)
    try:
        yield Run(delivery)
    finally:
        delivery.close()


def _opening(stage: str, params: Settings, paths: Paths, *, child: Child | None = None) -> Record:
    """All that the making of a run needs, which may happen later and in another process (see records.py)."""
    settings = config.flatten(params)
    tags = origin_tags(stage=stage, settings=settings, paths=paths)
    tags |= origin_of(stage, paths, is_child=child is not None)
    if child is not None:
        tags |= child.tags
    is_try = paths.out is not None and child is None
    return {
        "stage": stage,
        "token": uuid.uuid4().hex,
        "params": {key: parameter_text(value) for key, value in settings.items()},
        "tags": tags,
        "run_name": run_name(stage, params, label="" if child is None else child.name, out=is_try),
        "project_run": os.environ.get("MLFLOW_RUN_ID"),
        "user": _user(),
        "time": _now(),
    }


@contextlib.contextmanager
def _recorded(
    opening: Record, params: Settings, paths: Paths, *, must_open: bool, goes_on: Callable[[], bool] = lambda: False
) -> Iterator[Run]:
    """Opens a run, records where it comes from and how the computer is used, and ends it with the status of what
    happens inside, unless it goes on elsewhere. SIGTERM becomes `Terminated` meanwhile."""
    delivery = Delivery(paths, opening, must_open=must_open)
    run = Run(delivery)
    run.set_tags(opening["tags"] | {NOTE: "unfinished"})  # also where an earlier run goes on
    run.log_params(opening["params"])  # the same again where an earlier run goes on, which the store allows
    run.log_datasets(dataset_sources(config.flatten(params)["datasets"], paths))
    run.log_text(yaml.safe_dump(config.as_nested(params), sort_keys=False), "params.yaml")
    if changes := uncommitted(paths.root):
        run.log_text(changes, "uncommitted.diff")
    status, reason = "FAILED", ""
    with sigterm_raises():
        try:
            with system_metrics(run.log_metrics):
                yield run
            status = "FINISHED"
        except BaseException as error:
            status, reason = _status_of(error), reason_of(error)
            if status == "FAILED":
                run.log_text(scrub(traceback.format_exc()), "traceback.txt")
            raise
        finally:
            if not _is_true(goes_on):
                _describe_end(run, status, reason)
                run.end(status)
            delivery.close()


def _describe_end(run: Run, status: str, reason: str) -> None:
    """The description of a run that did not come to its result, or has no description of its own."""
    if status == "KILLED":
        run.describe("killed by Ctrl-C or SIGTERM")
    elif status == "FAILED":
        run.describe(f"failed: {reason}")
    elif not run.is_described:
        run.describe("finished")


def _is_true(question: Callable[[], bool]) -> bool:
    """The answer; false where it cannot be had, which must not hide why a run ends."""
    try:
        return question()
    except Exception as error:  # noqa: BLE001 - a storage or its network
        warn(f"whether others go on with the run is not known ({reason_of(error)})")
        return False


def _status_of(error: BaseException) -> str:
    """KILLED for Ctrl-C and SIGTERM; else FAILED, but for an exit with success."""
    if stopped_by(error) is not None:
        return "KILLED"
    return "FINISHED" if isinstance(error, SystemExit) and error.code in (None, 0) else "FAILED"


def _token_in(path: Path) -> str | None:
    """The token in a file that `start_run` wrote; None where the file is missing or damaged."""
    try:
        return str(json.loads(path.read_text())["token"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def parameter_text(value: Any) -> str:
    """Text of a setting as a parameter: as in params.yaml (null, true, [1, 2]), cut at MLflow's limit."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:MAX_PARAM_LENGTH]


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "unknown"


def _now() -> int:
    """Milliseconds since 1970, as MLflow counts time."""
    return int(time.time() * 1000)
