"""The store of runs: its address, the connection, experiments, and which of its errors are an outage. The store is an
SQLite file of the project or a server."""

import contextlib
import fcntl
import hashlib
import logging
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from darkaction.core.errors import UserError, reason_of
from darkaction.core.paths import Paths
from darkaction.core.redact import scrub, without_credentials
from darkaction.tracking.relocation import Relocated, check_locations, relocate

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENTS = {
    "train_enhancer": "darkaction-enhancer",
    "pretrain": "darkaction-pretraining",
    "train": "darkaction-recognizer",
    "tune": "darkaction-search",
    "trial": "darkaction-search",
    "tables": "darkaction-tables",
    "run": "darkaction-tables",
}
"""The experiment of each stage that makes a model, of searches and comparisons and of the trainings in them."""

DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
"""Beginnings of the addresses of stores that MLflow opens without a server."""

EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Lets the pages open with runs and charts; without it MLflow 3 opens those for language models."""

VALID = (
    "valid are: nothing (then the store is mlflow.db in the project's folder), sqlite:////PATH/mlflow.db, "
    "http://HOST:PORT of an MLflow server, postgresql://USER@HOST/NAME"
)

PASSING = (408, 425, 429)
"""HTTP answers between 400 and 499 that another try may change."""

LASTING = (
    "access denied",
    "attempt to write a readonly database",
    "authentication failed",
    "certificate verify failed",
    "certificate_verify_failed",
    "does not exist",
    "no password supplied",
    "no pg_hba.conf entry",
    "not in a valid json format",
    "unable to open database file",
    "unknown database",
    "wrong_version_number",
)
"""What databases and connections say, in small letters, of what another try does not change: they have no codes."""


def tracking_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, or else mlflow.db in `root`, the store that plain `mlflow ui` opens there."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(root / 'mlflow.db').resolve()}"


def portable(uri: str, root: Path) -> str:
    """The stored form of a tracking URI: no credentials, and relative where it is the project's own file."""
    own = f"sqlite:///{(root / 'mlflow.db').resolve()}"
    return "sqlite:///mlflow.db" if uri == own else without_credentials(uri)


def connect(uri: str) -> "MlflowClient":
    """A client of its own, with short waits unless the environment sets others; creates a missing SQLite store.

    Creating the tables takes seconds and is not safe against a second process, so it is done under a lock.

    Raises:
        UserError: for a database that is none of MLflow's, or whose artifacts are in another project's folder.
        Exception: whatever MLflow, the database or the network throws; `refusal_of` tells what of it lasts.
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

    logging.getLogger("alembic").setLevel(logging.ERROR)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # tracebacks of what our own messages say
    with _creation_lock(uri):
        if uri.startswith(DATABASES):
            _check_database(uri)
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        experiments = client.search_experiments()
    if (database := sqlite_file(uri)) is not None:
        check_locations(database, {experiment.name: experiment.artifact_location for experiment in experiments})
    return client


def open_store(paths: Paths) -> "MlflowClient":
    """A client of the project's store, for a command that does nothing without it; MLflow then prints only warnings.

    Raises:
        UserError: when it cannot be used, or not now.
    """
    uri = tracking_uri(paths.root)
    try:
        client = connect(uri)
    except Exception as error:  # noqa: BLE001 - whatever a store or its network throws
        raise refusal_of(uri, error) or UserError(
            f"{without_credentials(uri)}: cannot be reached now ({reason_of(error)})"
        ) from None
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    return client


def check_store(paths: Paths) -> None:
    """Before long work whose result is recorded at its end: ends it at once where the store cannot be used at all. One
    that is down may be back by then.

    Raises:
        UserError: naming what is wrong with it.
    """
    uri = tracking_uri(paths.root)
    try:
        connect(uri)
    except Exception as error:  # noqa: BLE001 - whatever a store or its network throws
        if (refusal := refusal_of(uri, error)) is not None:
            raise refusal from None


def relocate_store(paths: Paths) -> Relocated:
    """`relocate` for the project's store.

    Raises:
        UserError: when that is no SQLite file.
    """
    uri = tracking_uri(paths.root)
    database = sqlite_file(uri)
    if database is None:
        raise UserError(f"{without_credentials(uri)}: only an SQLite store has its artifacts in the project's folder")
    return relocate(database)


def _check_database(uri: str) -> None:
    """Connects once, where MLflow would try for minutes, and refuses a database that holds something else: MLflow would
    make its tables between those.

    Raises:
        UserError: naming the tables.
    """
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri)
    try:
        tables = sorted(sqlalchemy.inspect(engine).get_table_names())
    finally:
        engine.dispose()
    if tables and "experiments" not in tables:
        raise UserError(
            f"{without_credentials(uri)}: no store of MLflow but a database of something else, with the tables "
            f"{', '.join(tables[:5])}; name a new one in MLFLOW_TRACKING_URI"
        )


@contextlib.contextmanager
def _creation_lock(uri: str) -> Iterator[None]:
    """For an SQLite store: held by one process of this machine at a time; a server looks after itself.

    MLflow gives the experiment "Default", which `mlflow run` uses, an artifact folder in the current directory when it
    makes a store, so a store is made from within its own folder.
    """
    database = sqlite_file(uri)
    if database is None:
        yield
        return
    name = f"darkaction-store-{hashlib.sha256(str(database).encode()).hexdigest()[:16]}.lock"
    with (Path(tempfile.gettempdir()) / name).open("w") as handle:
        with contextlib.suppress(OSError):  # not every file system has locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        is_new = not database.exists() and Path(uri.removeprefix("sqlite:///")).is_absolute()
        with contextlib.chdir(database.parent) if is_new else contextlib.nullcontext():
            yield


def sqlite_file(uri: str) -> Path | None:
    """The file of an SQLite store, None for any other."""
    return Path(uri.removeprefix("sqlite:///")).resolve() if uri.startswith("sqlite:///") else None


def experiment_named(client: "MlflowClient", uri: str, name: str) -> str:
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
        return experiment_named(client, uri, name)
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _artifact_location(uri: str, name: str) -> str | None:
    """mlartifacts/<experiment> beside the file of an SQLite store; a server decides for itself."""
    database = sqlite_file(uri)
    return None if database is None else (database.parent / "mlartifacts" / name).as_uri()


def has_run(client: "MlflowClient", run_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return False
        raise


# Which errors last


def refusal_of(uri: str, error: BaseException) -> UserError | None:
    """What to tell a person of an error that is no outage; None for an outage.

    Whatever is not known to last counts as an outage, which costs a wait; the other mistake would cost a training.
    """
    if isinstance(error, UserError):
        return error
    why = _why(error)
    return None if why is None else UserError(f"MLFLOW_TRACKING_URI: {without_credentials(uri)}: {why}; {VALID}")


def _why(error: BaseException) -> str | None:
    from mlflow.exceptions import MlflowException
    from sqlalchemy import exc

    if isinstance(error, MlflowException) and (why := _why_of_mlflow(error)) is not None:
        return why
    if isinstance(error, ImportError):
        return f"the package for this kind of store is not installed ({reason_of(error)})"
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError | PermissionError):
        return reason_of(error)
    if isinstance(error, exc.ArgumentError):  # of its form; an unknown kind of database is one too
        return f"is no address of a database ({reason_of(error)})"
    passing = (exc.OperationalError, exc.InterfaceError, exc.InternalError)
    if isinstance(error, exc.DatabaseError) and not isinstance(error, passing):
        return _first_line(error)
    text = str(error).lower()
    return _first_line(error) if any(part in text for part in LASTING) else None


def _why_of_mlflow(error: BaseException) -> str | None:
    from mlflow.exceptions import MlflowException

    assert isinstance(error, MlflowException)
    text = str(error)
    if "filesystem tracking backend" in text:
        return "folders of files (mlruns) are no store of today's MLflow"
    if found := re.search(r"database schema \(found version (\w+)", text):
        return _why_of_schema(found[1])
    if "unsupported URI" in text:
        return "MLflow knows no such kind of store"
    named = re.search(r"failed with error code (\d+)", text)
    status = int(named[1]) if named else int(error.get_http_status_code())  # type: ignore[no-untyped-call]
    if status == 401:
        return (
            "asks who you are (401): set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
            "MLFLOW_TRACKING_TOKEN; where they are set, they are wrong"
        )
    if status == 403:
        return "does not let this user in (403)"
    if status in (404, 405):
        return f"there is no MLflow server at this address ({status})"
    return _first_line(error) if 400 <= status < 500 and status not in PASSING else None


def _why_of_schema(found: str) -> str:
    """Of a database whose tables have another version than those of the MLflow in use."""
    import mlflow

    versions = Path(mlflow.__file__).parent / "store" / "db_migrations" / "versions"
    if any(versions.glob(f"{found}_*.py")):
        return (
            f"has tables of an older MLflow than {mlflow.__version__} (version {found}): copy the database, then "
            "mlflow db upgrade URI"
        )
    return (
        f"has tables that MLflow {mlflow.__version__} does not know (version {found}), of a newer MLflow or of another "
        "program"
    )


def _first_line(error: BaseException) -> str:
    """What an error says, without SQLAlchemy's remark on when it came about."""
    lines = [line for line in str(error).strip().splitlines() if not line.startswith("(raised as a result of")]
    return scrub(lines[0])[:300]
