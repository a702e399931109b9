"""The record of experiments: the only module that imports mlflow.

`start_run` opens a run for a training stage, `attach_run` goes on with it later (evaluate adds to the run of the model
it evaluates). Without MLFLOW_TRACKING_URI the store is mlflow.db in the project's folder with artifacts in mlartifacts,
which is what a plain `mlflow ui` there opens. Under `mlflow run`, which sets MLFLOW_RUN_ID, runs become children of
that run in its experiment.

A store that is down never ends a training: what it refuses is kept in order and tried again later (`_Delivery`).
mlflow takes two seconds to import, so the import stands inside the functions that need it.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import logging
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import yaml

from darkaction import config
from darkaction import layout as places
from darkaction.config import Params
from darkaction.errors import Terminated, UserError, sigterm_raises
from darkaction.layout import Layout

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput

EXPERIMENTS = {"train_enhancer": "darkaction-enhancer", "train": "darkaction-recognizer"}
"""The experiment of each stage that makes a model."""

EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Lets the pages open with runs and charts; without it MLflow 3 opens those for language models."""

MAX_PARAM_LENGTH = 6000
MAX_TAG_LENGTH = 5000
"""MLflow's limits (mlflow.utils.validation); the tag limit of older servers is 5000."""

PARAMS_PER_BATCH = 100

RETRY_AFTER = 30.0
"""Seconds between two tries of a store that is down, so that an outage costs a training little time."""

SOURCES = ("src", "params.yaml", "dvc.yaml", "requirements.lock")
"""What `git dirty` is about. dvc.lock and stage outputs change during every run and are left out."""

ATTACHED_TO = "darkaction.original_run_id"
"""Tag of a run that stands in for one the store has lost."""

WEIGHTS = "weights.safetensors"
"""Name of the weights file among the artifacts of a training, in the folder of its fold."""

UNKNOWN = "unknown"

REFUSALS = ("BAD_REQUEST", "INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")
"""Answers that do not change when the same record is sent again."""

RANK_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")


class Run:
    """One run of the store. Every call returns at once or after a bounded wait and never raises the store's errors."""

    def __init__(self, delivery: "_Delivery") -> None:
        self._delivery = delivery

    @property
    def run_id(self) -> str | None:
        """The run's id; None while the store has not been reached yet, or in a process that does not record."""
        return self._delivery.run_id

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Records numbers, with the epoch as `step`."""
        from mlflow.entities import Metric

        now = _now()
        entries = [Metric(key, float(value), now, step or 0) for key, value in metrics.items()]
        self._delivery.send(lambda client, run_id: client.log_batch(run_id, metrics=entries))

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Records settings; values other than text are written as JSON, which reads as they stand in params.yaml."""
        from mlflow.entities import Param

        entries = [Param(key, parameter_text(value)) for key, value in params.items()]
        for first in range(0, len(entries), PARAMS_PER_BATCH):
            self._log_param_batch(entries[first : first + PARAMS_PER_BATCH])

    def _log_param_batch(self, entries: list[Any]) -> None:
        self._delivery.send(lambda client, run_id: client.log_batch(run_id, params=entries))

    def log_datasets(self, datasets: list["DatasetInput"]) -> None:
        """Records what the run read; MLflow's pages show it in the column of datasets."""
        if datasets:
            self._delivery.send(lambda client, run_id: client.log_inputs(run_id, datasets=datasets))

    def log_artifact(self, path: Path, folder: str = "") -> None:
        """Copies a file, or a folder with all it holds, into the run's artifacts, under `folder`.

        Raises:
            FileNotFoundError: when there is no such file.
        """
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file to record")
        if path.is_dir():
            self._delivery.send(lambda client, run_id: client.log_artifacts(run_id, str(path), folder or None))
        else:
            self._delivery.send(lambda client, run_id: client.log_artifact(run_id, str(path), folder or None))

    def log_text(self, text: str, name: str) -> None:
        """Writes `text` as the artifact `name` (a relative path such as `notes/traceback.txt`)."""
        self._delivery.send(lambda client, run_id: client.log_text(run_id, text, name))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Sets tags; longer values than the store takes are cut."""
        from mlflow.entities import RunTag

        entries = [RunTag(key, value[:MAX_TAG_LENGTH]) for key, value in tags.items()]
        self._delivery.send(lambda client, run_id: client.log_batch(run_id, tags=entries))


@contextlib.contextmanager
def start_run(*, stage: str, params: Params, layout: Layout, resume: bool = False) -> Iterator[Run]:
    """A run of `stage`, with every setting as parameter, its origin as tags and params.yaml as artifact.

    It ends as FINISHED; as FAILED, with the artifact traceback.txt, on an exception; or as KILLED on Ctrl-C and
    SIGTERM. Its id is written to models/runs/<stage>.json and, where DVC does not delete it before a stage starts,
    to checkpoints/runs/<stage>.json until the run is finished. With `resume` an unfinished run of the same settings
    that stands there goes on instead of a new one. In processes of a distributed training other than the first
    nothing is recorded.

    Raises:
        ValueError: for a stage that has no experiment.
    """
    if stage not in EXPERIMENTS:
        raise ValueError(f"stage '{stage}' has no experiment; there are: {', '.join(EXPERIMENTS)}")
    delivery = _Delivery(tracking_uri(layout.root), records=_is_first_process())
    run = Run(delivery)
    earlier = _read_run_id(layout.read(f"{places.CHECKPOINTS}/runs/{stage}.json")) if resume else None
    if delivery.records:
        delivery.open(lambda client: _create_or_continue(client, delivery.uri, stage, params, earlier))
        run.set_tags(origin_tags(stage=stage, params=params, layout=layout))
        run.log_params(config.flatten(params))  # the same again where an earlier run goes on, which the store allows
        run.log_datasets(dataset_inputs(params.datasets, layout))
        run.log_text(yaml.safe_dump(dataclasses.asdict(params), sort_keys=False), "params.yaml")
        _write_run_files(delivery, stage, layout)
    with _true_status(run, delivery):
        yield run
    if delivery.records:
        _write_run_files(delivery, stage, layout)  # again: the store may have been down at the beginning
        layout.write(f"{places.CHECKPOINTS}/runs/{stage}.json").unlink()


@contextlib.contextmanager
def attach_run(*, stage: str, params: Params, layout: Layout) -> Iterator[Run]:
    """The finished run that models/runs/<stage>.json names, to add metrics and artifacts to; its status stays.

    Where the store does not have it (mlflow.db was deleted, or the model comes from another machine) a new run takes
    its place, tagged with the id of the original; later calls find that one again. models/runs is never rewritten.
    """
    delivery = _Delivery(tracking_uri(layout.root), records=_is_first_process())
    run = Run(delivery)
    original = _read_run_id(layout.read(f"{places.RUNS}/{stage}.json")) or UNKNOWN
    created: list[str] = []
    if delivery.records:
        delivery.open(lambda client: _find_or_replace(client, delivery.uri, stage, params, original, created))
    try:
        yield run
    finally:
        delivery.close()
        if created:
            run.set_tags({**origin_tags(stage=stage, params=params, layout=layout), ATTACHED_TO: original})
            run.log_params(config.flatten(params))
            delivery.send(lambda client, run_id: client.set_terminated(run_id, "FINISHED"))
            delivery.close()


def find_weights(source: str, layout: Layout) -> Path:
    """The weights file that `train.init_from` names: a path (relative to the project's folder), or `runs:/RUN_ID` and
    `models:/NAME@ALIAS`, whose weights are copied to checkpoints/init.

    A run or model of several folds has one file each; `runs:/RUN_ID/fold_1` names one, fold_0 is taken otherwise.

    Raises:
        UserError: when there is no such file, run or model.
    """
    if not source.startswith(("runs:/", "models:/")):
        path = layout.read(source)
        if not path.is_file():
            raise UserError(
                f"train.init_from: {path}: no such file. To start from fresh weights: "
                "python src/configure.py --set train.init_from=null; "
                "weights of another origin are made usable by python src/import_weights.py FILE"
            )
        return path
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    uri = source if "/fold_" in source else f"{source}/fold_0"
    target = layout.write(f"{places.CHECKPOINTS}/init")
    target.mkdir(parents=True, exist_ok=True)
    try:
        found = download_artifacts(f"{uri}/{WEIGHTS}", dst_path=str(target), tracking_uri=tracking_uri(layout.root))
    except (MlflowException, OSError) as error:
        raise UserError(f"train.init_from: {source}: no weights there: {_first_line(error)}") from None
    return Path(found)


def tracking_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, or else mlflow.db in `root`, the store that plain `mlflow ui` opens there."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(root / 'mlflow.db').resolve()}"


def without_credentials(uri: str) -> str:
    """`uri` without user name, password and query, fit to be stored."""
    parts = urlsplit(uri)
    if not parts.netloc:
        return uri
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def parameter_text(value: Any) -> str:
    """Text of a setting as a parameter: as in params.yaml (null, true, [1, 2]), cut at MLflow's limit."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:MAX_PARAM_LENGTH]


def origin_tags(*, stage: str, params: Params, layout: Layout) -> dict[str, str]:
    """Where a run comes from: code, command, DVC stage, data versions, program versions. No environment dump."""
    script = Path(sys.argv[0])
    tags = {
        "stage": stage,
        "split.strategy": params.split.strategy,
        "command": _scrub(shlex.join(["python", *sys.argv])),
        "mlflow.source.name": os.path.relpath(script, layout.root) if script.exists() else script.name,
        "mlflow.source.type": "PROJECT" if os.environ.get("MLFLOW_RUN_ID") else "LOCAL",
        "version.python": platform.python_version(),
        **_git_tags(layout.root),
        **_data_tags(params.datasets, layout),
    }
    for tag, variable in (("dvc.stage", "DVC_STAGE"), ("dvc.experiment", "DVC_EXP_NAME")):
        if variable in os.environ:
            tags[tag] = os.environ[variable]
    if "torch" in sys.modules:
        tags["version.torch"] = str(sys.modules["torch"].__version__)
    return tags


def _git_tags(root: Path) -> dict[str, str]:
    """Commit and dirty state of the sources; empty where `root` is no git checkout of its own."""
    answer = _git(root, "rev-parse", "--show-toplevel", "HEAD")
    top, _, commit = answer.partition("\n")
    if not commit or Path(top).resolve() != root.resolve():
        return {}
    changed = _git(root, "status", "--porcelain", "--", *SOURCES)
    return {"mlflow.source.git.commit": commit, "mlflow.source.git.dirty": "true" if changed else "false"}


def _git(root: Path, *arguments: str) -> str:
    """What git prints, or nothing where there is no git, no repository or no commit yet."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _data_tags(datasets: list[str], layout: Layout) -> dict[str, str]:
    """Version of each dataset: our digest of its index (content of all clips, labels, split) and DVC's md5s."""
    tags = {}
    recorded = _dvc_md5s(layout.root)
    for dataset in datasets:
        index = layout.read(places.index(dataset)) / "index.csv"
        if index.exists():
            tags[f"data.{dataset}.digest"] = _index_digest(index)
        for kind, path in (("raw", places.raw(dataset)), ("index", places.index(dataset))):
            if path in recorded and layout.read(path) == layout.root / path:
                tags[f"data.{dataset}.dvc_md5.{kind}"] = recorded[path]
    return tags


def dataset_inputs(datasets: list[str], layout: Layout) -> list["DatasetInput"]:
    """The indexed datasets as MLflow's inputs: the digest of `_data_tags`, where DVC has them, and the clips of each
    part. The first is the target; the others only join training."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    recorded = _dvc_md5s(layout.root)
    found = []
    for position, name in enumerate(datasets):
        index = layout.read(places.index(name)) / "index.csv"
        if not index.exists():
            continue
        raw = places.raw(name)
        source = {"path": raw, "dvc_md5": recorded[raw]} if raw in recorded else {"path": raw}
        summary = index.with_name("summary.json")
        entity = Dataset(
            name=name,
            digest=_index_digest(index),
            source_type="dvc",
            source=json.dumps(source),
            profile=summary.read_text() if summary.exists() else None,
        )
        role = "target" if position == 0 else "auxiliary"
        found.append(DatasetInput(entity, tags=[InputTag("mlflow.data.context", role)]))
    return found


def _index_digest(index: Path) -> str:
    """Identifies an index.csv by its content."""
    return hashlib.sha256(index.read_bytes()).hexdigest()[:32]


def _dvc_md5s(root: Path) -> dict[str, str]:
    """Path -> md5 of every output in dvc.lock and of every data/raw/*.dvc. DVC writes the lock after each stage."""
    found: dict[str, str] = {}
    lock = root / "dvc.lock"
    if lock.exists():
        for stage in yaml.safe_load(lock.read_text())["stages"].values():
            if "outs" in stage:
                found |= {out["path"]: out["md5"] for out in stage["outs"] if "md5" in out}
    for pointer in sorted((root / "data" / "raw").glob("*.dvc")):
        for out in yaml.safe_load(pointer.read_text())["outs"]:
            found[f"data/raw/{out['path']}"] = out["md5"]
    return found


def _create_or_continue(client: "MlflowClient", uri: str, stage: str, params: Params, earlier: str | None) -> str:
    """Id of a new run, or of `earlier`, running again, where it is an unfinished run of the same settings."""
    if earlier is not None and _can_go_on(client, earlier, params):
        client.update_run(earlier, status="RUNNING")
        return earlier
    experiment_id, parent = _home(client, uri, stage)
    tags = {"mlflow.user": _user()}
    if parent is not None:
        tags["mlflow.parentRunId"] = parent
    return str(client.create_run(experiment_id, tags=tags, run_name=os.environ.get("DVC_EXP_NAME")).info.run_id)


def _can_go_on(client: "MlflowClient", run_id: str, params: Params) -> bool:
    if not _has_run(client, run_id):
        return False
    run = client.get_run(run_id)
    settings = {key: parameter_text(value) for key, value in config.flatten(params).items()}
    # A run whose beginning fell into an outage may lack settings; it must not have other ones.
    return bool(run.info.status != "FINISHED" and run.data.params.items() <= settings.items())


def _find_or_replace(
    client: "MlflowClient", uri: str, stage: str, params: Params, original: str, created: list[str]
) -> str:
    """Id of the run `original`, of the one that took its place, or of a new one, which is added to `created`."""
    if original != UNKNOWN and _has_run(client, original):
        return original
    if original != UNKNOWN:
        experiment_id, _ = _home(client, uri, stage)
        earlier = client.search_runs([experiment_id], f"tags.`{ATTACHED_TO}` = '{original}'", max_results=1)
        if earlier:
            return str(earlier[0].info.run_id)
    created.append(_create_or_continue(client, uri, stage, params, None))
    return created[0]


def _home(client: "MlflowClient", uri: str, stage: str) -> tuple[str, str | None]:
    """Experiment for new runs of `stage`, and the run they are children of: under `mlflow run` the project's run."""
    parent = os.environ.get("MLFLOW_RUN_ID")
    if parent and _has_run(client, parent):
        return str(client.get_run(parent).info.experiment_id), parent
    return _experiment_id(client, uri, EXPERIMENTS[stage]), None


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


class _Delivery:
    """Brings records to the store in order; keeps what it refuses and tries again with a later call.

    `open` gives the operation that yields the run's id; it is tried like any other. A record that the store rejects
    as wrong (not found, invalid) is dropped with a warning, since it would be rejected for ever.
    """

    def __init__(self, uri: str, *, records: bool) -> None:
        self.uri = uri
        self.records = records
        self.run_id: str | None = None
        self._client: MlflowClient | None = None
        self._open: Callable[[MlflowClient], str] | None = None
        self._waiting: deque[Callable[[MlflowClient, str], object]] = deque()
        self._next_try = 0.0
        self._warned = False

    def open(self, create: Callable[["MlflowClient"], str]) -> None:
        """`create` finds or makes the run and returns its id."""
        self._open = create
        self._try()

    def send(self, operation: Callable[["MlflowClient", str], object]) -> None:
        """Delivers `operation(client, run_id)`, now or later."""
        if self.records:
            self._waiting.append(operation)
            self._try()

    def close(self) -> None:
        """A last try; warns when records are lost."""
        if not self.records:
            return
        self._next_try = 0.0
        self._try()
        if self._waiting:
            _warn(f"{len(self._waiting)} records were not delivered to {without_credentials(self.uri)} and are lost")

    def _try(self) -> None:
        if time.monotonic() < self._next_try:
            return
        try:
            self._deliver()
        except Exception as error:  # noqa: BLE001 - whatever a store or its network throws must not end a training
            self._next_try = time.monotonic() + RETRY_AFTER
            if not self._warned:
                _warn(
                    f"the store {without_credentials(self.uri)} cannot be reached; the work goes on and records are "
                    f"delivered when it is back ({_first_line(error)})"
                )
            self._warned = True

    def _deliver(self) -> None:
        from mlflow.exceptions import MlflowException

        if self._client is None:
            self._client = _connect(self.uri)
        if self.run_id is None:
            assert self._open is not None
            self.run_id = self._open(self._client)
        while self._waiting:
            try:
                self._waiting[0](self._client, self.run_id)
            except (MlflowException, FileNotFoundError) as error:
                if isinstance(error, MlflowException) and error.error_code not in REFUSALS:
                    raise
                _warn(f"a record was refused and is left out ({_first_line(error)})")
            self._waiting.popleft()


@contextlib.contextmanager
def _true_status(run: Run, delivery: _Delivery) -> Iterator[None]:
    """Ends the run with the status of what happens inside; SIGTERM becomes `Terminated` meanwhile."""
    status = "FAILED"
    with sigterm_raises():
        try:
            yield
            status = "FINISHED"
        except BaseException as error:
            status = _status_of(error)
            if status == "FAILED":
                run.log_text(_scrub(traceback.format_exc()), "traceback.txt")
            raise
        finally:
            end = _now()
            delivery.send(lambda client, run_id: client.set_terminated(run_id, status, end))
            delivery.close()


def _status_of(error: BaseException) -> str:
    """KILLED for Ctrl-C and SIGTERM, also where the training loop turned them into another exit; else FAILED."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, KeyboardInterrupt | Terminated):
            return "KILLED"
        cause = cause.__cause__ or cause.__context__
    return "FINISHED" if isinstance(error, SystemExit) and error.code in (None, 0) else "FAILED"


def _write_run_files(delivery: _Delivery, stage: str, layout: Layout) -> None:
    """models/runs/<stage>.json and its copy for `resume`; run_id is null as long as the store is down."""
    content = {
        "run_id": delivery.run_id,
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


def _read_run_id(path: Path) -> str | None:
    """The run id in a file that `start_run` wrote; None where the file is missing or damaged."""
    try:
        run_id = json.loads(path.read_text())["run_id"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(run_id) if run_id else None


def _is_first_process() -> bool:
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
    return _scrub(text.splitlines()[0])[:200]


def _scrub(text: str) -> str:
    """`text` with user names and passwords taken out of the addresses in it; MLflow's errors quote them."""
    return re.sub(r"://[^/@\s]+@", "://", text)


def _warn(message: str) -> None:
    print(f"tracking: {message}", file=sys.stderr, flush=True)
