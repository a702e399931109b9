"""Which errors of a store are an outage, to be waited for, and which will not go away by themselves."""

import re
from pathlib import Path

from darkaction.core.errors import UserError, reason_of
from darkaction.core.redact import scrub, without_credentials

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


class RefusedError(UserError):
    """The store that MLFLOW_TRACKING_URI names cannot be used, now or later."""


def refusal_of(uri: str, error: BaseException) -> RefusedError | None:
    """What to tell a person of an error that is no outage; None for an outage.

    Whatever is not known to last counts as an outage, which costs a wait; the other mistake would cost a training.
    """
    if isinstance(error, RefusedError):
        return error
    why = _why(error)
    return None if why is None else RefusedError(f"MLFLOW_TRACKING_URI: {without_credentials(uri)}: {why}; {VALID}")


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
    return scrub(str(error).strip().splitlines()[0])[:300]
