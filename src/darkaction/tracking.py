"""The record of experiments: with serving.py the only module that imports mlflow.

`start_run` opens a run for a training stage, `attach_run` goes on with it later (evaluate adds to the run of the model
it evaluates). Without MLFLOW_TRACKING_URI the store is mlflow.db in the project's folder with artifacts in mlartifacts,
which is what a plain `mlflow ui` there opens. Under `mlflow run`, which sets MLFLOW_RUN_ID, runs become children of
that run in its experiment.

No call waits for the store. Records go to a spool on disk (spool.py, in checkpoints/spool) and a thread delivers them
in order; while a store is down they wait, and what is left at the end of the process is delivered by the next run or by
`python src/tracking_sync.py`. Delivering a record twice changes nothing, so nothing is lost or doubled.
mlflow takes two seconds to import, so the import stands inside the functions that need it.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import logging
import os
import shutil
import sys
import tempfile
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from darkaction import config
from darkaction import layout as places
from darkaction.config import Params
from darkaction.errors import Terminated, UserError, sigterm_raises
from darkaction.layout import Layout
from darkaction.provenance import dataset_sources, origin_tags, scrub, uncommitted, without_credentials
from darkaction.spool import Record, Spool, Waiting, orphans

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENTS = {
    "train_enhancer": "darkaction-enhancer",
    "pretrain": "darkaction-pretraining",
    "train": "darkaction-recognizer",
    "tune": "darkaction-search",
    "trial": "darkaction-search",
    "tables": "darkaction-tables",
    "cell": "darkaction-tables",
}
"""The experiment of each stage that makes a model, of searches and comparisons and of the trainings in them."""

SCRIPTS = {"trial": "src/tune.py", "cell": "src/reproduce_tables.py"}
"""What a person started, of the trainings that worker processes do."""

EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Lets the pages open with runs and charts; without it MLflow 3 opens those for language models."""

MAX_PARAM_LENGTH = 6000
MAX_TAG_LENGTH = 5000
"""MLflow's limits (mlflow.utils.validation); the tag limit of older servers is 5000."""

PARAMS_PER_BATCH = 100
METRICS_PER_BATCH = 1000

RETRY_AFTER = 10.0
"""Seconds between two tries of a store that is down."""

OPEN_WAIT = 60.0
"""Most seconds a run waits for its id; a store that is down says so sooner."""

CLOSE_WAIT = 120.0
"""Most seconds the end of a run waits for records to be delivered by a store that answers slowly."""

SYSTEM_METRICS_EVERY = 10.0
"""Seconds between two samples of processor, memory and GPU."""

ATTACHED_TO = "darkaction.original_run_id"
"""Tag of a run that stands in for one the store has lost."""

TOKEN = "darkaction.token"
"""Tag by which a run is known before the store has given it an id, so that it is not made twice."""

WEIGHTS = "weights.safetensors"
"""Name of the weights file among the artifacts of a training, in the folder of its fold."""

REFUSALS = ("BAD_REQUEST", "INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")
"""Answers that do not change when the same record is sent again."""

RANK_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")


class ParentMissingError(LookupError):
    """The store has no run of the search to which a trial belongs."""


class Run:
    """One run of the store. No call waits for the store or raises its errors."""

    def __init__(self, delivery: "_Delivery | None") -> None:
        self._delivery = delivery

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
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file to record")
        self._send({"kind": "artifact", "name": path.name, "folder": folder}, path)

    def log_text(self, text: str, name: str) -> None:
        """Writes `text` as the artifact `name` (a relative path such as `notes/traceback.txt`)."""
        self._send({"kind": "text", "text": text, "name": name})

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Sets tags; longer values than the store takes are cut."""
        self._send({"kind": "tags", "tags": {key: value[:MAX_TAG_LENGTH] for key, value in tags.items()}})

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
def start_run(*, stage: str, params: Params, layout: Layout, resume: bool = False) -> Iterator[Run]:
    """A run of `stage`, with every setting as parameter, its origin as tags and params.yaml as artifact.

    It ends as FINISHED; as FAILED, with the artifact traceback.txt, on an exception; or as KILLED on Ctrl-C and
    SIGTERM. A run whose process was killed outright is ended as KILLED by the next run or tracking_sync.py. Its id is
    written to models/runs/<stage>.json and, where DVC does not delete it before a stage starts, to
    checkpoints/runs/<stage>.json until the run is finished. With `resume` an unfinished run of the same settings that
    stands there goes on instead of a new one. In processes of a distributed training other than the first nothing is
    recorded.

    Raises:
        ValueError: for a stage that has no experiment.
    """
    if stage not in EXPERIMENTS:
        raise ValueError(f"stage '{stage}' has no experiment; there are: {', '.join(EXPERIMENTS)}")
    if not is_first_process():
        yield Run(None)
        return
    opening = {"how": "start", "stage": stage, "token": uuid.uuid4().hex, "params": _texts(params), **_environment()}
    if resume:
        opening["earlier"] = _read_run(layout.read(f"{places.CHECKPOINTS}/runs/{stage}.json"))
    delivery, run = _begin(opening, params, layout)
    _write_run_files(delivery, stage, layout)
    with _true_status(run, delivery), _system_metrics(run):
        yield run
    _write_run_files(delivery, stage, layout)  # again: the store may have been down at the beginning
    layout.write(f"{places.CHECKPOINTS}/runs/{stage}.json").unlink()


@contextlib.contextmanager
def family_run(
    *,
    stage: str,
    params: Params,
    layout: Layout,
    name: str,
    token: str,
    varying: tuple[str, ...],
    has_company: Callable[[], bool],
) -> Iterator[Run]:
    """The run of a search or comparison, the parent of its trainings. Every launcher of it has the same `token` and so
    the same run; one that leaves others at work does not end it.

    Args:
        stage: tune or tables.
        name: of the run.
        varying: beginnings of the keys in which launchers may differ; MLflow does not let a parameter change.
        has_company: whether other launchers are at work.
    """
    settings = {key: text for key, text in _texts(params).items() if not key.startswith(varying)}
    opening = {"how": "join", "stage": stage, "token": token, "params": settings, **_environment()}
    delivery, run = _begin(opening | {"run_name": name}, params, layout)
    with _true_status(run, delivery, goes_on=has_company), _system_metrics(run):
        yield run


@contextlib.contextmanager
def member_run(*, stage: str, params: Params, layout: Layout, name: str, parent: str, command: str) -> Iterator[Run]:
    """A run of one training among many (`stage` trial or cell), a child of the run of the search or comparison that has
    the token `parent`; it ends as `start_run`'s. `command` is what a person typed to start it all."""
    opening = {"how": "start", "stage": stage, "token": uuid.uuid4().hex, "params": _texts(params), **_environment()}
    delivery, run = _begin(opening | {"run_name": name, "search": parent}, params, layout)
    run.set_tags({"command": command, "mlflow.source.name": SCRIPTS[stage]})
    with _true_status(run, delivery), _system_metrics(run):
        yield run


def _begin(opening: Record, params: Params, layout: Layout) -> tuple["_Delivery", Run]:
    """Opens a run and records where it comes from."""
    delivery = _Delivery(layout, opening)
    run = Run(delivery)
    run.set_tags(origin_tags(stage=opening["stage"], params=params, layout=layout))
    run.log_params(opening["params"])  # the same again where an earlier run goes on, which the store allows
    run.log_datasets(dataset_sources(params.datasets, layout))
    run.log_text(yaml.safe_dump(dataclasses.asdict(params), sort_keys=False), "params.yaml")
    if changes := uncommitted(layout.root):
        run.log_text(changes, "uncommitted.diff")
    return delivery, run


@contextlib.contextmanager
def attach_run(*, stage: str, params: Params, layout: Layout) -> Iterator[Run]:
    """The finished run that models/runs/<stage>.json names, to add metrics and artifacts to; its status stays.

    Where the store does not have it (mlflow.db was deleted, or the model comes from another machine) a new run takes
    its place, tagged with the id of the original; later calls find that one again. models/runs is never rewritten.
    """
    if not is_first_process():
        yield Run(None)
        return
    opening = {
        "how": "attach",
        "stage": stage,
        "token": uuid.uuid4().hex,
        "original": _read_run(layout.read(f"{places.RUNS}/{stage}.json")),
        "params": _texts(params),
        "tags": origin_tags(stage=stage, params=params, layout=layout),
        **_environment(),
    }
    delivery = _Delivery(layout, opening)
    try:
        yield Run(delivery)
    finally:
        delivery.close()


def find_weights(source: str, layout: Layout, *, fold: int) -> Path:
    """The weights file that `train.init_from` names for the training of a fold: a file, a folder laid out as
    models/recognizer (either relative to the project's folder), or a model as in `fetch_model`.

    Of a folder or model with weights for each fold those of this one are taken, which have not seen its test clips;
    else fold_0; `/fold_1` behind the name of a model takes just that one.

    Raises:
        UserError: when there is no such file, run or model.
    """
    if source.startswith(("runs:/", "models:/")):
        uri, _, wanted = source.partition("/fold_")
        folder = fetch_model(uri, layout)
        path = folder / f"fold_{wanted}" / WEIGHTS if wanted else _of_fold(folder, fold)
        if not path.is_file():
            raise UserError(f"train.init_from: {source}: the model has no {path.parent.name}")
        return path
    path = layout.read(source)
    if source == places.PRETRAINING and not any(path.glob(f"fold_*/{WEIGHTS}")):
        raise UserError(
            f"train.init_from: {source} is empty; set pretrain.enabled: true and run python src/pretrain.py"
        )
    if path.is_dir():
        path = _of_fold(path, fold)
    if not path.is_file():
        raise UserError(
            f"train.init_from: {path}: no such file. To start from fresh weights: "
            "python src/configure.py --set train.init_from=null; "
            "weights of another origin are made usable by python src/import_weights.py FILE"
        )
    return path


def _of_fold(folder: Path, fold: int) -> Path:
    """The weights for a fold, where there are some for each; else those of fold_0."""
    own = folder / f"fold_{fold}" / WEIGHTS
    return own if own.is_file() else folder / "fold_0" / WEIGHTS


def fetch_model(uri: str, layout: Layout) -> Path:
    """The folder, laid out as models/recognizer, of the model that `runs:/RUN_ID`, `models:/NAME@ALIAS` or
    `models:/NAME/VERSION` names: a copy in checkpoints/fetched.

    Raises:
        UserError: when there is none.
    """
    target = layout.write(f"{places.CHECKPOINTS}/fetched/{hashlib.sha256(uri.encode()).hexdigest()[:16]}")
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    inner = places.MODEL_ARTIFACT if uri.startswith("runs:/") else f"artifacts/{places.MODEL_ARTIFACT}"
    try:
        _connect(tracking_uri(layout.root))  # sets MLflow's waits
        from mlflow.artifacts import download_artifacts

        full = f"{uri}/{inner}" if uri.startswith("runs:/") else uri
        found = Path(download_artifacts(full, dst_path=str(target), tracking_uri=tracking_uri(layout.root)))
    except Exception as error:  # noqa: BLE001 - a store, its network or its files
        raise UserError(f"{uri}: no model there: {_first_line(error)}") from None
    folder = found if uri.startswith("runs:/") else found / inner
    if not (folder / "fold_0" / WEIGHTS).is_file():
        raise UserError(f"{uri}: holds no {inner}/fold_0/{WEIGHTS}: not a model of src/train.py")
    return folder


def tracking_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, or else mlflow.db in `root`, the store that plain `mlflow ui` opens there."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(root / 'mlflow.db').resolve()}"


def parameter_text(value: Any) -> str:
    """Text of a setting as a parameter: as in params.yaml (null, true, [1, 2]), cut at MLflow's limit."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:MAX_PARAM_LENGTH]


def deliver_waiting(layout: Layout) -> tuple[int, int]:
    """Delivers what earlier runs of the project left undelivered to the store of `tracking_uri`.

    Returns:
        Numbers of records delivered, and of those left that wait for another store.

    Raises:
        UserError: when the store cannot be reached; what waits stays.
    """
    uri = tracking_uri(layout.root)
    found = orphans(layout.root / places.SPOOL)
    own = [spool for spool in found if _belongs(spool, uri, layout.root)]
    waiting, others = sum(map(len, own)), sum(len(spool) for spool in found if spool not in own)
    if own:
        try:
            client = _connect(uri)
            for spool in own:
                _deliver_orphan(client, uri, spool)
        except Exception as error:  # noqa: BLE001 - whatever a store or its network throws
            left = sum(map(len, own))
            raise UserError(
                f"{without_credentials(uri)}: cannot be reached, {left} records still wait ({_first_line(error)})"
            ) from None
    return waiting, others


def end_killed(run_ids: list[str | None], layout: Layout) -> None:
    """Delivers what processes of this machine left that are gone, and ends these runs, whose processes were anywhere,
    as KILLED. Where the store cannot be reached, the next run or tracking_sync.py does what this did not."""
    try:
        deliver_waiting(layout)
        client = _connect(tracking_uri(layout.root))
        for run_id in run_ids:
            if run_id and client.get_run(run_id).info.status == "RUNNING":
                client.set_terminated(run_id, "KILLED")
    except Exception as error:  # noqa: BLE001 - a store or its network; nothing of it may end a search
        _warn(f"runs of killed processes may be shown as running for now ({_first_line(error)})")


# Delivery


class _Delivery:
    """Brings the records of one run to the store, in order, from a thread of its own."""

    def __init__(self, layout: Layout, opening: Record) -> None:
        self._root = layout.root
        self.uri = tracking_uri(layout.root)
        self.token = str(opening["token"])
        self.run_id: str | None = None
        self._parent = layout.root / places.SPOOL
        stored = {"store": _portable(self.uri, layout.root), "created": time.time()}
        self._spool = Spool.create(self._parent / uuid.uuid4().hex, opening | stored)
        self._news = threading.Condition()
        self._closing = False
        self._tried = threading.Event()
        self._warned = False
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()
        self._tried.wait(OPEN_WAIT)

    def send(self, record: Record, *files: Path) -> None:
        """Keeps a record for delivery."""
        with self._news:
            self._spool.append(record, *files)
            self._news.notify()

    def close(self) -> None:
        """Delivers what can be; what a store that is down does not take stays on disk, and a warning says so."""
        with self._news:
            self._closing = True
            self._news.notify()
        self._thread.join(CLOSE_WAIT)
        if left := len(self._spool):
            _warn(
                f"{left} records wait in {self._spool.folder} for {without_credentials(self.uri)}; the next run or "
                "python src/tracking_sync.py delivers them"
            )

    def _work(self) -> None:
        with self._spool.locked() as mine:
            assert mine, "a spool of this process is delivered by it alone"
            while True:
                try:
                    self._deliver()
                except Exception as error:  # noqa: BLE001 - whatever a store or its network throws must not end a training
                    self._warn_of_outage(error)
                    self._tried.set()
                    if self._closing:
                        return
                    with self._news:
                        self._news.wait_for(lambda: self._closing, RETRY_AFTER)
                    continue
                with self._news:
                    if not len(self._spool):
                        if self._closing:
                            break
                        self._news.wait(RETRY_AFTER)
        self._spool.delete()

    def _deliver(self) -> None:
        client = _connect(self.uri)
        if self.run_id is None:
            self._deliver_orphans(client)  # first: this run may go on with or add to one of them
            self.run_id = _open(client, self.uri, self._spool)
        self._tried.set()
        _deliver_records(client, self.run_id, self._spool)

    def _deliver_orphans(self, client: "MlflowClient") -> None:
        """Delivers what earlier processes left. What is wrong with it, if something is, does not concern this run."""
        try:
            for spool in orphans(self._parent):
                if _belongs(spool, self.uri, self._root):
                    _deliver_orphan(client, self.uri, spool)
        except Exception as error:  # noqa: BLE001 - a store that is down says so again when this run is opened
            if not self._warned:
                _warn(f"records that earlier runs left in {self._parent} cannot be delivered ({_first_line(error)})")

    def _warn_of_outage(self, error: Exception) -> None:
        if not self._warned:
            _warn(
                f"the store {without_credentials(self.uri)} cannot be reached; the work goes on and records are "
                f"delivered when it is back ({_first_line(error)})"
            )
        self._warned = True


def _belongs(spool: Spool, uri: str, root: Path) -> bool:
    """Whether a spool is for that store; false when another process has delivered and deleted it meanwhile."""
    try:
        return bool(spool.opening["store"] == _portable(uri, root))
    except FileNotFoundError:
        return False


def _deliver_orphan(client: "MlflowClient", uri: str, spool: Spool) -> None:
    """Delivers what a process left that is gone. A run that it did not end was killed."""
    with spool.locked() as mine:
        if not mine:
            return
        opening = spool.opening
        try:
            run_id = _open(client, uri, spool)
        except ParentMissingError:  # its search was never recorded in this store, or was deleted: it stands alone
            spool.write_opening({key: value for key, value in opening.items() if key != "search"})
            run_id = _open(client, uri, spool)
        last = _deliver_records(client, run_id, spool)
        ended = last == "status" or opening["how"] == "attach"
        if not ended and client.get_run(run_id).info.status == "RUNNING":
            client.set_terminated(run_id, "KILLED")
        spool.delete()


def _deliver_records(client: "MlflowClient", run_id: str, spool: Spool) -> str:
    """Delivers all records of a spool that wait; the kind of the last one. A record that the store rejects as wrong is
    dropped with a warning, since it would be rejected for ever."""
    kind = ""
    for group in spool.waiting():
        kind = str(group[-1].record["kind"])
        if len(group) == 1 or not _accepted(partial(_deliver_metrics, client, run_id, group)):
            for waiting in group:
                _accepted(partial(_deliver_record, client, run_id, waiting), warn=True)
        for waiting in group:
            spool.remove(waiting)
    return kind


def _accepted(deliver: Callable[[], None], *, warn: bool = False) -> bool:
    """Whether the store took what `deliver` sends; false when it refused it as wrong. Anything else is raised."""
    from mlflow.exceptions import MlflowException

    try:
        deliver()
    except (MlflowException, FileNotFoundError) as error:
        if isinstance(error, MlflowException) and error.error_code not in REFUSALS:
            raise
        if warn:
            _warn(f"a record was refused and is left out ({_first_line(error)})")
        return False
    return True


def _deliver_record(client: "MlflowClient", run_id: str, waiting: Waiting) -> None:
    """One record. Every kind may be delivered again with the same result."""
    record = waiting.record
    if record["kind"] == "metrics":
        _deliver_metrics(client, run_id, [waiting])
    elif record["kind"] in ("params", "tags"):
        _deliver_values(client, run_id, record)
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


def _deliver_values(client: "MlflowClient", run_id: str, record: Record) -> None:
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


# Finding and making runs


def _open(client: "MlflowClient", uri: str, spool: Spool) -> str:
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
    if opening["how"] == "join":
        run_id = _create(client, uri, opening, {})
        client.update_run(run_id, status="RUNNING")
        return run_id
    earlier = opening.get("earlier")
    found = None if earlier is None else _find(client, uri, opening, earlier)
    if found is not None and _can_go_on(client, found, opening["params"]):
        client.update_run(found, status="RUNNING")
        return found
    return _create(client, uri, opening, {})


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
    _deliver_values(client, run_id, {"kind": "params", "params": opening["params"]})
    client.set_terminated(run_id, "FINISHED")
    return run_id


def _find(client: "MlflowClient", uri: str, opening: Record, run: Record) -> str | None:
    """Id of a run that a file of models/runs names, by its id or, where it had none yet, by its token."""
    if run["run_id"] and _has_run(client, run["run_id"]):
        return str(run["run_id"])
    return _search(client, uri, opening, TOKEN, run["token"]) if run["token"] else None


def _create(client: "MlflowClient", uri: str, opening: Record, tags: Mapping[str, str]) -> str:
    """Makes the run of an opening, unless an earlier try did whose answer was lost."""
    made = _search(client, uri, opening, TOKEN, opening["token"])
    if made:
        return made
    experiment_id, parent = _home(client, uri, opening)
    own = {"mlflow.user": opening["user"], TOKEN: opening["token"]}
    if parent is not None:
        own["mlflow.parentRunId"] = parent
    cut = {key: value[:MAX_TAG_LENGTH] for key, value in tags.items()}
    run = client.create_run(experiment_id, start_time=opening["time"], tags=cut | own, run_name=opening["run_name"])
    return str(run.info.run_id)


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
    if parent and _has_run(client, parent):
        return str(client.get_run(parent).info.experiment_id), parent
    return _experiment_id(client, uri, EXPERIMENTS[opening["stage"]]), None


def _has_run(client: "MlflowClient", run_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return False
        raise


def _experiment_id(client: "MlflowClient", uri: str, name: str) -> str:
    """The experiment's id; the experiment is made where it is missing, also when another process makes it now."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            place = _artifact_location(uri, name)
            return str(client.create_experiment(name, artifact_location=place, tags=EXPERIMENT_TAGS))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        return _experiment_id(client, uri, name)
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _artifact_location(uri: str, name: str) -> str | None:
    """mlartifacts/<experiment> beside the file of an SQLite store; a server decides for itself."""
    database = _sqlite_file(uri)
    return None if database is None else (database.parent / "mlartifacts" / name).as_uri()


def _connect(uri: str) -> "MlflowClient":
    """A client of its own, with short waits unless the environment sets others; creates a missing SQLite store.

    Creating the tables takes seconds and is not safe against a second process, so it is done under a lock.
    """
    for name, value in (
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1"),  # the default of 7 with growing pauses stops a training for minutes
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", "10"),
        ("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false"),
        ("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true"),  # standard output is the command's own
        ("MLFLOW_DISABLE_TELEMETRY", "true"),  # no usage statistics leave the machine
    ):
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for noisy in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    with _creation_lock(uri):
        client = MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    return client


@contextlib.contextmanager
def _creation_lock(uri: str) -> Iterator[None]:
    """For an SQLite store: held by one process of this machine at a time; a server looks after itself.

    MLflow gives the experiment "Default", which `mlflow run` uses, an artifact folder in the current directory when it
    makes a store, so a store is made from within its own folder.
    """
    database = _sqlite_file(uri)
    if database is None:
        yield
        return
    name = f"darkaction-store-{hashlib.sha256(str(database).encode()).hexdigest()[:16]}.lock"
    with (Path(tempfile.gettempdir()) / name).open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        is_new = not database.exists() and Path(uri.removeprefix("sqlite:///")).is_absolute()
        with contextlib.chdir(database.parent) if is_new else contextlib.nullcontext():
            yield


def _sqlite_file(uri: str) -> Path | None:
    """The file of an SQLite store, None for any other."""
    return Path(uri.removeprefix("sqlite:///")).resolve() if uri.startswith("sqlite:///") else None


# The end of a run


@contextlib.contextmanager
def _true_status(run: Run, delivery: _Delivery, *, goes_on: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Ends the run with the status of what happens inside, unless it goes on elsewhere; SIGTERM becomes `Terminated`
    meanwhile."""
    status = "FAILED"
    with sigterm_raises():
        try:
            yield
            status = "FINISHED"
        except BaseException as error:
            status = _status_of(error)
            if status == "FAILED":
                run.log_text(scrub(traceback.format_exc()), "traceback.txt")
            raise
        finally:
            if not goes_on():
                run._end(status)
            delivery.close()


def _status_of(error: BaseException) -> str:
    """KILLED for Ctrl-C and SIGTERM, also where the training loop turned them into another exit; else FAILED."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, KeyboardInterrupt | Terminated):
            return "KILLED"
        cause = cause.__cause__ or cause.__context__
    return "FINISHED" if isinstance(error, SystemExit) and error.code in (None, 0) else "FAILED"


@contextlib.contextmanager
def _system_metrics(run: Run) -> Iterator[None]:
    """Use of processor, memory and GPU while the block runs, as MLflow's own monitors measure them."""
    stop = threading.Event()
    thread = threading.Thread(target=_sample_system, args=(run, stop), name="system metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _sample_system(run: Run, stop: threading.Event) -> None:
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor

    monitors: list[Any] = [CPUMonitor()]  # type: ignore[no-untyped-call]
    with contextlib.suppress(ImportError, RuntimeError):  # no GPU, or no driver
        monitors.append(GPUMonitor())  # type: ignore[no-untyped-call]
    step = 0
    while not stop.wait(SYSTEM_METRICS_EVERY):
        for monitor in monitors:
            monitor.collect_metrics()
            values = monitor.aggregate_metrics()
            monitor.clear_metrics()
            run.log_metrics({f"system/{name}": float(value) for name, value in values.items()}, step=step)
        step += 1


# Files and small things


def _write_run_files(delivery: _Delivery, stage: str, layout: Layout) -> None:
    """models/runs/<stage>.json and its copy for `resume`; run_id is null as long as the store is down, and the token
    finds the run then."""
    content = {
        "run_id": delivery.run_id,
        "token": delivery.token,
        "experiment": EXPERIMENTS[stage],
        "tracking_uri": _portable(delivery.uri, layout.root),
    }
    text = json.dumps(content, indent=2) + "\n"
    for folder in (places.RUNS, f"{places.CHECKPOINTS}/runs"):
        path = layout.write(f"{folder}/{stage}.json")
        scratch = path.with_suffix(".tmp")
        scratch.write_text(text)
        scratch.replace(path)


def _portable(uri: str, root: Path) -> str:
    """The stored form of a tracking URI: no credentials, and relative where it is the project's own file."""
    own = f"sqlite:///{(root / 'mlflow.db').resolve()}"
    return "sqlite:///mlflow.db" if uri == own else without_credentials(uri)


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
        "run_name": os.environ.get("DVC_EXP_NAME"),
        "user": _user(),
        "time": _now(),
    }


def _texts(params: Params) -> dict[str, str]:
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


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return scrub(text.splitlines()[0])[:200]


def _warn(message: str) -> None:
    print(f"tracking: {message}", file=sys.stderr, flush=True)
