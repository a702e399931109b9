"""Where studies are kept, and calls that are tried again while it is away."""

import os
import sys
import time
from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import grpc  # type: ignore[import-untyped]
import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, GrpcStorageProxy, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.exc import InterfaceError, OperationalError

from darkaction.core.errors import UserError, reason_of
from darkaction.core.redact import holds_password, without_credentials

VARIABLE, DEFAULT = "OPTUNA_STORAGE", "runs/tune/studies.log"
"""What names the storage where --storage does not, and the storage where neither does."""

PATIENCE = 600.0
"""Seconds that a storage may be away."""

RETRY_AFTER = 5.0
"""Seconds between two tries of it."""

AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED)
"""What a proxy answers, or does not, when it or the database behind it is away."""

Answer = TypeVar("Answer")

Arguments = ParamSpec("Arguments")


def address(given: str | None) -> str:
    """The storage of a search: --storage as `given`, or else OPTUNA_STORAGE, or else a journal file in the project. A
    path is absolute: workers may run in another folder.

    Raises:
        UserError: for a password on the command line.
    """
    if given is not None and holds_password(given):
        raise UserError(
            f"--storage {without_credentials(given)}: every user of this machine can read a password on the command "
            f"line; give the address in {VARIABLE}, or the password in ~/.pgpass"
        )
    url = given or os.environ.get(VARIABLE) or DEFAULT
    return url if "://" in url else str(Path(url).absolute())


@lru_cache(maxsize=4)
def connect(url: str) -> BaseStorage:
    """The storage that a path of a journal file, postgresql:// or grpc://HOST:PORT names.

    Raises:
        UserError: when it cannot be reached, or is of a kind that several processes cannot share.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    shown = without_credentials(url)
    if url.startswith("sqlite:"):
        raise UserError(
            f"--storage or {VARIABLE}: {shown}: SQLite does not bear several writers; give the path of a journal file "
            f"(as {DEFAULT}, the default), postgresql://USER@HOST/NAME or grpc://HOST:PORT"
        )
    try:
        if url.startswith("grpc://"):
            host, _, port = url.removeprefix("grpc://").partition(":")
            proxy = GrpcStorageProxy(host=host, port=int(port))
            proxy.wait_server_ready(timeout=15)
            return proxy
        if "://" in url:
            return RDBStorage(_with_driver(url), engine_kwargs={"pool_pre_ping": True})
        path = Path(url).absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(path)))
    except Exception as error:  # noqa: BLE001 - a wrong address, a driver, a network, a damaged file
        raise UserError(f"--storage or {VARIABLE}: {shown}: cannot be opened ({reason_of(error)})") from None


def _with_driver(url: str) -> str:
    """SQLAlchemy's name of the PostgreSQL driver that is installed."""
    for plain in ("postgresql://", "postgres://"):
        if url.startswith(plain):
            return "postgresql+psycopg://" + url.removeprefix(plain)
    return url


def retry(method: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """A storage that is away for a while (a restart, a network) holds a search up, and does not end it. What may have
    been done before the connection broke can be done again."""

    @wraps(method)
    def retrying(*arguments: Arguments.args, **keywords: Arguments.kwargs) -> Answer:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return method(*arguments, **keywords)
            except Exception as error:
                if not is_storage_away(error) or time.monotonic() > deadline:
                    raise
                print(f"the storage is away, trying again ({reason_of(error)})", file=sys.stderr, flush=True)
                time.sleep(RETRY_AFTER)

    return retrying


def is_storage_away(error: BaseException) -> bool:
    """Whether an error, or what caused it, is one of a connection."""
    if isinstance(error, UpdateFinishedTrialError | KeyError | ValueError):  # Optuna's answers, also through its proxy
        return False
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, grpc.RpcError):
            return cause.code() in AWAY
        if isinstance(cause, OperationalError | InterfaceError | ConnectionError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
