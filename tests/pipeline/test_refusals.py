"""Stores that cannot be used: said at once, before any work. Stores that are away: waited for, with nothing lost."""

import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from darkaction.core.errors import UserError
from darkaction.core.paths import Paths
from darkaction.params import Params
from darkaction.tracking.delivery import deliver_waiting
from darkaction.tracking.runs import start_run
from darkaction.tracking.store import open_store, refusal_of

ROOT = Path(__file__).resolve().parents[2]


class Answer(BaseHTTPRequestHandler):
    """The same answer to every request."""

    code = 200

    def do_POST(self) -> None:
        body = b"<html>no</html>"
        self.send_response(self.code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    found = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield f"http://me:secret@127.0.0.1:{found.server_port}"
    found.shutdown()
    found.server_close()


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    for name in ("MLFLOW_RUN_ID", "DVC_STAGE", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
        open_store(Paths(root=path.parent))
    return path


def begin(root: Path) -> None:
    with start_run(stage="train", params=Params.load(), paths=Paths(root=root)):
        pass


def refused(uri: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a person reads when a training begins; within seconds, and with nothing left to be delivered."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    started = time.monotonic()
    with pytest.raises(UserError) as caught:
        begin(root)
    assert time.monotonic() - started < 20
    assert not list((root / "checkpoints/spool").glob("*"))
    assert not (root / "models").exists()
    text = str(caught.value)
    assert "secret" not in text and "\n" not in text
    return text


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("{root}/mlruns", "folders of files (mlruns)"),
        ("file://{root}/mlruns", "folders of files (mlruns)"),
        ("htp://127.0.0.1:5000", "MLflow knows no such kind of store"),
        ("localhost:5000", "MLflow knows no such kind of store"),
        ("postgres://me@127.0.0.1/x", "MLflow knows no such kind of store"),
        ("sqlite:/mlflow.db", "is no address of a database"),
        ("mysql://me:secret@127.0.0.1/x", "not installed"),
        ("sqlite:///{root}/none/mlflow.db", "No such file or directory"),
    ],
)
def test_an_address_that_no_store_can_have(
    uri: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = refused(uri.format(root=tmp_path), tmp_path, monkeypatch)
    assert said in text and "sqlite:////PATH/mlflow.db" in text and text.startswith("MLFLOW_TRACKING_URI: ")


@pytest.mark.parametrize(
    ("code", "said"),
    [(401, "MLFLOW_TRACKING_USERNAME"), (403, "does not let this user in"), (404, "no MLflow server"), (200, "JSON")],
)
def test_a_server_that_will_not_answer_otherwise(
    code: int, said: str, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Answer, "code", code)
    assert said in refused(server, tmp_path, monkeypatch)


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503])
def test_a_server_that_may_answer_later(
    code: int, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Answer, "code", code)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    begin(tmp_path)
    assert "cannot be reached" in capsys.readouterr().err
    assert list((tmp_path / "checkpoints/spool").glob("*/*.json"))


def test_files_that_are_no_store(tmp_path: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.db").write_text("no database " * 100)
    assert "file is not a database" in refused(f"sqlite:///{tmp_path}/text.db", tmp_path, monkeypatch)
    with sqlite3.connect(tmp_path / "films.db") as films:
        films.execute("CREATE TABLE films (name TEXT)")
    assert "with the tables films" in refused(f"sqlite:///{tmp_path}/films.db", tmp_path, monkeypatch)
    assert films.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1,)  # MLflow made none of its own
    assert "unable to open" in refused(f"sqlite:///{tmp_path}", tmp_path, monkeypatch)


@pytest.mark.parametrize(("version", "said"), [("f" * 12, "does not know"), ("451aebb31d03", "mlflow db upgrade")])
def test_tables_of_another_mlflow(
    version: str, said: str, tmp_path: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(mlflow_database, tmp_path / "mlflow.db")
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = ?", (version,))
    database.close()
    assert said in refused(f"sqlite:///{tmp_path}/mlflow.db", tmp_path, monkeypatch)


def test_a_locked_database_is_waited_for(
    tmp_path: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(mlflow_database, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    other = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    begin(tmp_path)
    assert "database is locked" in capsys.readouterr().err
    other.close()
    delivered, _ = deliver_waiting(Paths(root=tmp_path))
    assert delivered == 0  # this process lives: the spool is not an orphan
    assert list((tmp_path / "checkpoints/spool").glob("*/*.json"))


def test_what_databases_say_of_wrong_and_of_absent() -> None:
    from sqlalchemy.exc import OperationalError

    uri = "postgresql://me:secret@db/x"
    for text in (
        'FATAL:  password authentication failed for user "me"',
        'FATAL:  database "x" does not exist',
        "FATAL:  no pg_hba.conf entry for host",
        "attempt to write a readonly database",
    ):
        found = refusal_of(uri, OperationalError("select", None, Exception(text)))
        assert found is not None and text.removeprefix("FATAL:  ") in str(found) and "secret" not in str(found)
    remarked = OperationalError("select", None, Exception("attempt to write a readonly database"))
    remarked.add_detail("raised as a result of Query-invoked autoflush; consider a block")
    assert "raised as" in str(remarked).splitlines()[0] and ": (builtins.Exception) attempt" in str(
        refusal_of(uri, remarked)
    )
    for text in ("connection refused", "server closed the connection unexpectedly", "database is locked", "timeout"):
        assert refusal_of(uri, OperationalError("select", None, Exception(text))) is None
    assert refusal_of(uri, ConnectionError("reset")) is None and refusal_of(uri, TimeoutError()) is None


def test_what_goes_wrong_later_ends_no_training(
    tmp_path: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from darkaction.tracking import delivery

    shutil.copy(mlflow_database, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with start_run(stage="train", params=Params.load(), paths=Paths(root=tmp_path)) as run:
        assert run.run_id is not None
        while list((tmp_path / "checkpoints/spool").glob("*/0*.json")):  # what a run begins with
            time.sleep(0.1)
        time.sleep(0.3)

        def refuse(uri: str) -> None:
            raise UserError("the password was changed")

        monkeypatch.setattr(delivery, "connect", refuse)
        for epoch in range(3):
            run.log_metrics({"loss": 1.0}, step=epoch)
    err = capsys.readouterr().err
    assert "the work goes on and its records wait on disk" in err and "records wait in" in err


@pytest.mark.parametrize("command", [["describe_model.py", "models:/a@b"], ["promote.py", "x"], ["ui.py"]])
def test_commands_say_it_in_one_line(command: list[str], tmp_path: Path) -> None:
    environment = {"PATH": "/usr/bin:/bin", "MLFLOW_TRACKING_URI": f"{tmp_path}/mlruns", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, str(ROOT / "src" / command[0]), *command[1:]],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.startswith("error: MLFLOW_TRACKING_URI: ")
