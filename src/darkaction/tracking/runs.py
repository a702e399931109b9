"""Runs: opened for a stage, a search or one training among many, or gone on with; their files and their end."""

import contextlib
import dataclasses
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
from darkaction.core.paths import Paths
from darkaction.core.provenance import dataset_sources, origin_tags, uncommitted
from darkaction.core.redact import scrub
from darkaction.tracking.delivery import Delivery
from darkaction.tracking.naming import NOTE, origin_of, run_name
from darkaction.tracking.opening import MAX_TAG_LENGTH
from darkaction.tracking.spool import Record, warn
from darkaction.tracking.store import EXPERIMENTS, portable
from darkaction.tracking.system_metrics import system_metrics

MAX_PARAM_LENGTH = 6000
"""MLflow's limit (mlflow.utils.validation)."""

OF_RUN = "darkaction.model_of_run_id"
"""Tag of a run that has only figures of a model: the run that made it."""

RANK_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Member:
    """One of the trainings that a command has worker processes do: what it is called among them, if anything, and what
    a person typed for all."""

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
        """Copies a file, or what a folder holds, into the run's artifacts, under `folder`.

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
        """Sets the description that MLflow's list shows, of which the first 50 characters are seen there, and, in a tag
        of its own, an accuracy with its interval."""
        self.is_described = True
        self.set_tags({NOTE: text} | ({} if accuracy is None else {"accuracy": accuracy}))

    def log_datasets(self, datasets: list[dict[str, Any]]) -> None:
        """Records what the run read (see `dataset_sources`); MLflow's pages show it in the column of datasets."""
        if datasets:
            self._send({"kind": "datasets", "datasets": datasets})

    def _end(self, status: str) -> None:
        self._send({"kind": "status", "status": status, "time": _now()})

    def _send(self, record: Record, *files: Path) -> None:
        if self._delivery is not None:
            self._delivery.send(record, *files)


@contextlib.contextmanager
def start_run(
    *, stage: str, params: Settings, paths: Paths, resume: bool = False, member: Member | None = None
) -> Iterator[Run]:
    """A run of `stage`, with every setting as parameter, its origin as tags and params.yaml as artifact.

    It ends as FINISHED; as FAILED, with the artifact traceback.txt, on an exception; or as KILLED on Ctrl-C and
    SIGTERM. A run whose process was killed outright is ended as KILLED by the next run or tracking_sync.py. Its id is
    written to models/runs/<stage>.json and, where DVC does not delete it before a stage starts, to
    checkpoints/runs/<stage>.json until the run is finished. With `resume` an unfinished run of the same settings that
    stands there goes on instead of a new one. In processes of a distributed training other than the first nothing is
    recorded.

    Args:
        member: in a worker process, which knows neither what a person typed nor a name.

    Raises:
        ValueError: for a stage that has no experiment.
        UserError: at once, when the store cannot be used at all, which is no outage.
    """
    if stage not in EXPERIMENTS:
        raise ValueError(f"stage '{stage}' has no experiment; there are: {', '.join(EXPERIMENTS)}")
    if not is_first_process():
        yield Run(None)
        return
    opening = {"how": "start", "stage": stage, "token": uuid.uuid4().hex, "params": _texts(params), **_environment()}
    if resume:
        opening["earlier"] = _read_run(paths.read(f"{Paths.CHECKPOINTS}/runs/{stage}.json"))
    delivery, run = _begin(opening, params, paths, member)
    _write_run_files(delivery, stage, paths)
    with _true_status(run, delivery), system_metrics(run.log_metrics):
        yield run
    _write_run_files(delivery, stage, paths)  # again: the store may have been down at the beginning
    paths.write(f"{Paths.CHECKPOINTS}/runs/{stage}.json").unlink()


@contextlib.contextmanager
def family_run(
    *,
    stage: str,
    params: Settings,
    paths: Paths,
    name: str,
    token: str,
    varying: tuple[str, ...],
    has_company: Callable[[], bool],
) -> Iterator[Run]:
    """The run of a search or comparison, the parent of its trainings. Every launcher of it has the same `token` and so
    the same run; one that leaves others at work does not end it.

    Args:
        stage: tune or tables.
        name: of the search or comparison.
        varying: beginnings of the keys in which launchers may differ; MLflow does not let a parameter change.
        has_company: whether other launchers are at work.
    """
    settings = {key: text for key, text in _texts(params).items() if not key.startswith(varying)}
    opening = {"how": "join", "stage": stage, "token": token, "params": settings, **_environment()}
    opening["run_name"] = run_name(stage, params, label=name)
    delivery, run = _begin(opening, params, paths)
    with _true_status(run, delivery, goes_on=has_company), system_metrics(run.log_metrics):
        yield run


@contextlib.contextmanager
def member_run(*, stage: str, params: Settings, paths: Paths, member: Member, parent: str) -> Iterator[Run]:
    """A run of one training among many (`stage` trial or cell), a child of the run of the search or comparison that has
    the token `parent`; it ends as `start_run`'s."""
    opening = {"how": "start", "stage": stage, "token": uuid.uuid4().hex, "params": _texts(params), **_environment()}
    delivery, run = _begin(opening | {"search": parent}, params, paths, member)
    with _true_status(run, delivery), system_metrics(run.log_metrics):
        yield run


def _begin(opening: Record, params: Settings, paths: Paths, member: Member | None = None) -> tuple[Delivery, Run]:
    """Opens a run and records where it comes from. A worker's training goes on without a store that cannot be used: its
    launcher has found the store usable."""
    stage = opening["stage"]
    tags = origin_tags(stage=stage, settings=config.flatten(params), paths=paths)
    tags |= origin_of(stage, paths, is_member=member is not None) | {NOTE: "unfinished"}
    if member is not None:
        tags |= member.tags
    if "run_name" not in opening:
        is_try = paths.out is not None and member is None
        opening["run_name"] = run_name(stage, params, label="" if member is None else member.name, out=is_try)
    delivery = Delivery(paths, opening | {"tags": tags}, must_open=member is None)
    run = Run(delivery)
    run.set_tags(tags)  # also where an earlier run goes on
    run.log_params(opening["params"])  # the same again where an earlier run goes on, which the store allows
    run.log_datasets(dataset_sources(config.flatten(params)["datasets"], paths))
    run.log_text(yaml.safe_dump(config.as_nested(params), sort_keys=False), "params.yaml")
    if changes := uncommitted(paths.root):
        run.log_text(changes, "uncommitted.diff")
    return delivery, run


@contextlib.contextmanager
def attach_run(*, stage: str, params: Settings, paths: Paths) -> Iterator[Run]:
    """The finished run that models/runs/<stage>.json names, to add metrics and artifacts to; its status stays.

    Where the store does not have it (mlflow.db was deleted, or the model comes from another machine) a new run takes
    its place, tagged with the id of the original; later calls find that one again. models/runs is never rewritten.
    With --out, what is found out about a model of the pipeline gets a run of its own, and leaves the pipeline's alone.

    Raises:
        UserError: when the store cannot be used at all; `check_store` says so before long work.
    """
    if not is_first_process():
        yield Run(None)
        return
    path = paths.read(f"{Paths.RUNS}/{stage}.json")
    original = _read_run(path)
    tags = origin_tags(stage=stage, settings=config.flatten(params), paths=paths) | origin_of(
        stage, paths, is_member=False
    )
    if paths.out is not None and not path.is_relative_to(paths.out):
        tags |= {OF_RUN: str(original["run_id"])} if original else {}
        original = None
    opening = {
        "how": "attach",
        "stage": stage,
        "token": uuid.uuid4().hex,
        "original": original,
        "params": _texts(params),
        "tags": tags,
        "run_name": run_name(stage, params, out=paths.out is not None),
        **_environment(),
    }
    delivery = Delivery(paths, opening, must_open=True)
    try:
        yield Run(delivery)
    finally:
        delivery.close()


def parameter_text(value: Any) -> str:
    """Text of a setting as a parameter: as in params.yaml (null, true, [1, 2]), cut at MLflow's limit."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:MAX_PARAM_LENGTH]


@contextlib.contextmanager
def _true_status(run: Run, delivery: Delivery, *, goes_on: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Ends the run with the status of what happens inside, unless it goes on elsewhere; SIGTERM becomes `Terminated`
    meanwhile."""
    status, reason = "FAILED", ""
    with sigterm_raises():
        try:
            yield
            status = "FINISHED"
        except BaseException as error:
            status = _status_of(error)
            reason = reason_of(error)
            if status == "FAILED":
                run.log_text(scrub(traceback.format_exc()), "traceback.txt")
            raise
        finally:
            if not _is_true(goes_on):
                _describe_end(run, status, reason)
                run._end(status)
            delivery.close()


def _describe_end(run: Run, status: str, reason: str) -> None:
    """What the list of runs says of one that did not come to its result, or has none of its own."""
    if status == "KILLED":
        run.describe("killed by Ctrl-C or SIGTERM")
    elif status == "FAILED":
        run.describe(f"failed: {reason}")
    elif not run.is_described:
        run.describe("finished")


def _is_true(question: Callable[[], bool]) -> bool:
    """The answer; false where whoever is asked is away, which must not hide why a run ends."""
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


def _write_run_files(delivery: Delivery, stage: str, paths: Paths) -> None:
    """models/runs/<stage>.json and its copy for `resume`; run_id is null as long as the store is down, and the token
    finds the run then."""
    content = {
        "run_id": delivery.run_id,
        "token": delivery.token,
        "experiment": EXPERIMENTS[stage],
        "tracking_uri": portable(delivery.uri, paths.root),
    }
    text = json.dumps(content, indent=2) + "\n"
    for folder in (Paths.RUNS, f"{Paths.CHECKPOINTS}/runs"):
        path = paths.write(f"{folder}/{stage}.json")
        scratch = path.with_suffix(".tmp")
        scratch.write_text(text)
        scratch.replace(path)


def _read_run(path: Path) -> Record | None:
    """run_id and token in a file that `start_run` wrote; None where the file is missing or damaged."""
    try:
        content = json.loads(path.read_text())
        found = {"run_id": content["run_id"], "token": content["token"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found["run_id"] or found["token"] else None


def _environment() -> Record:
    """What the process knows of its surroundings that the making of a run needs, maybe later."""
    return {
        "parent": os.environ.get("MLFLOW_RUN_ID"),
        "user": _user(),
        "time": _now(),
    }


def _texts(params: Settings) -> dict[str, str]:
    return {key: parameter_text(value) for key, value in config.flatten(params).items()}


def is_first_process() -> bool:
    """False in every process of a distributed training but the first."""
    ranks = [os.environ[name] for name in RANK_VARIABLES if name in os.environ]
    return not ranks or ranks[0] == "0"


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "unknown"


def _now() -> int:
    """Milliseconds since 1970, as MLflow counts time."""
    return int(time.time() * 1000)
