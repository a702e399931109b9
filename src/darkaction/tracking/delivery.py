"""Delivery of records from spools on disk to the store, by a thread of the run or by a later process."""

import contextlib
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from darkaction.core.errors import UserError, reason_of
from darkaction.core.paths import Paths
from darkaction.core.redact import without_credentials
from darkaction.tracking.naming import NOTE
from darkaction.tracking.records import ParentMissingError, deliver_records, open_run
from darkaction.tracking.spool import Record, Spool, orphans, warn
from darkaction.tracking.store import connect, portable, refusal_of, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

RETRY_AFTER = 10.0
"""Seconds between two tries of a store that is down."""

OPEN_WAIT = 60.0
"""Most seconds a run waits for its id; a store that is down says so sooner."""

CLOSE_WAIT = 120.0
"""Most seconds the end of a run waits for records to be delivered by a store that answers slowly."""


class Delivery:
    """Delivers the records of one run, in order, from a thread of its own.

    Args:
        must_open: whether to give up at once where the store cannot be used at all, at the first try. What goes wrong
            later never ends a training.

    Raises:
        UserError: then; nothing is left on disk.
    """

    def __init__(self, paths: Paths, opening: Record, *, must_open: bool) -> None:
        self._paths = paths
        self.uri = tracking_uri(paths.root)
        self.run_id: str | None = None
        stored = {"store": portable(self.uri, paths.root), "created": time.time()}
        self._spool = Spool.create(paths.root / Paths.SPOOL / uuid.uuid4().hex, opening | stored)
        self._news = threading.Condition()
        self._closing = False
        self._tried = threading.Event()
        self._warned = False
        self._must_open = must_open
        self._refusal: UserError | None = None
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()
        self._tried.wait(OPEN_WAIT)
        with self._news:
            self._must_open = False  # from here on the run goes on, whatever happens
        if self._refusal is not None:
            self._thread.join()
            raise self._refusal

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
            warn(
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
                    if self._is_refused(error):
                        break
                    self._warn_of(error)
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
        self._tried.set()

    def _is_refused(self, error: Exception) -> bool:
        """Whether the first try shows that no try will do, for a run that may still be given up."""
        with self._news:
            if self._must_open and not self._tried.is_set():
                self._refusal = refusal_of(self.uri, error)
            return self._refusal is not None

    def _deliver(self) -> None:
        client = connect(self.uri)
        if self.run_id is None:
            self._deliver_orphans(client)  # first: this run may go on with or add to one of them
            self.run_id = open_run(client, self.uri, self._spool)
        self._tried.set()
        deliver_records(client, self.run_id, self._spool)

    def _deliver_orphans(self, client: "MlflowClient") -> None:
        """Delivers what earlier processes left. An error in that does not concern this run."""
        try:
            _deliver_left(client, self.uri, _waiting(self._paths, self.uri)[0])
        except Exception as error:  # noqa: BLE001 - a store that is down says so again when this run is opened
            if not self._warned:
                warn(f"records that earlier runs left cannot be delivered ({reason_of(error)})")

    def _warn_of(self, error: Exception) -> None:
        if self._warned:
            return
        self._warned = True
        if (refusal := refusal_of(self.uri, error)) is not None:
            warn(f"the work goes on and its records wait on disk: {refusal}")
        else:
            warn(
                f"the store {without_credentials(self.uri)} cannot be reached; the work goes on and records are "
                f"delivered when it is back ({reason_of(error)})"
            )


def deliver_waiting(paths: Paths) -> tuple[int, int]:
    """Delivers what earlier runs of the project left undelivered to the store of `tracking_uri`.

    Returns:
        Numbers of records delivered, and of those left that wait for another store.

    Raises:
        UserError: when the store cannot be reached; what waits stays.
    """
    uri = tracking_uri(paths.root)
    own, others = _waiting(paths, uri)
    count = sum(map(len, own))
    if own:
        try:
            _deliver_left(connect(uri), uri, own)
        except Exception as error:  # noqa: BLE001 - whatever a store or its network throws
            raise refusal_of(uri, error) or UserError(
                f"{without_credentials(uri)}: cannot be reached, {sum(map(len, own))} records still wait "
                f"({reason_of(error)})"
            ) from None
    return count, sum(map(len, others))


def end_killed(run_ids: list[str | None], paths: Paths) -> None:
    """Delivers what ended processes of this machine left, and ends these runs, whose processes were on any machine, as
    KILLED. Where the store cannot be reached, the next run or tracking_sync.py does it."""
    try:
        deliver_waiting(paths)
        client = connect(tracking_uri(paths.root))
        for run_id in run_ids:
            if run_id:
                _end_as_killed(client, run_id)
    except Exception as error:  # noqa: BLE001 - a store or its network; nothing of it may end a search
        warn(f"runs of killed processes may be shown as running for now ({reason_of(error)})")


def _waiting(paths: Paths, uri: str) -> tuple[list[Spool], list[Spool]]:
    """Spools of ended processes: those for the store at `uri`, and those for other stores."""
    own: list[Spool] = []
    others: list[Spool] = []
    for spool in orphans(paths.root / Paths.SPOOL):
        with contextlib.suppress(FileNotFoundError):  # another process has delivered and deleted it meanwhile
            (own if spool.opening["store"] == portable(uri, paths.root) else others).append(spool)
    return own, others


def _deliver_left(client: "MlflowClient", uri: str, spools: list[Spool]) -> None:
    """Delivers what ended processes left. What is damaged of it stays where it is, with a warning."""
    for spool in spools:
        try:
            with spool.locked() as mine:
                if mine:
                    _deliver_orphan(client, uri, spool)
        except (ValueError, KeyError, TypeError) as error:  # of a record's text; what a store answers is another error
            warn(f"{spool.folder} is damaged and cannot be delivered ({reason_of(error)}); delete it to be rid of it")


def _deliver_orphan(client: "MlflowClient", uri: str, spool: Spool) -> None:
    """Delivers what an ended process left. A run that it did not end was killed."""
    opening = spool.opening
    try:
        run_id = open_run(client, uri, spool)
    except ParentMissingError:  # its search was never recorded in this store, or was deleted: the run has no parent
        spool.write_opening({key: value for key, value in opening.items() if key != "parent"})
        run_id = open_run(client, uri, spool)
    last = deliver_records(client, run_id, spool)
    if last != "status" and "attach" not in opening:
        _end_as_killed(client, run_id)
    spool.delete()


def _end_as_killed(client: "MlflowClient", run_id: str) -> None:
    if client.get_run(run_id).info.status == "RUNNING":
        client.set_tag(run_id, NOTE, "killed: its process ended without recording an end")
        client.set_terminated(run_id, "KILLED")
