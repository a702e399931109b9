"""Trainings that go on while MLflow's server is away: nothing waits, nothing is lost, nothing is doubled."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from darkaction.tracking.records import TOKEN
from servers import MlflowServer, Postgres

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
STEP = 0.1
OUTAGE = 22.0
"""Seconds; longer than a request may take (10, and one retry), so that every limit is passed."""

TRAINING = """
    import sys, time
    from pathlib import Path
    from darkaction.core.paths import Paths
    from darkaction.params import Params
    from darkaction.tracking.runs import start_run

    root, enough, longest, step = Path(sys.argv[1]), int(sys.argv[2]), 0.0, 0
    with start_run(stage="train", params=Params.load(), paths=Paths(root=root), resume=True) as run:
        print("started", run.run_id, flush=True)
        while step < enough or (root / "longer").exists():
            before = time.monotonic()
            run.log_metrics({"loss": float(step)}, step=step)
            if step % 50 == 0:
                (root / "note.txt").write_text(f"step {step}")
                run.log_artifact(root / "note.txt", f"notes/{step}")
            longest = max(longest, time.monotonic() - before)
            step += 1
            time.sleep(0.1)
    print("ended", step, longest, flush=True)
"""


def training(root: Path, uri: str, steps: int) -> "subprocess.Popen[str]":
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", textwrap.dedent(TRAINING), str(root), str(steps)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root
    )


def sync(root: Path, uri: str) -> subprocess.CompletedProcess[str]:
    """tracking_sync.py for the project in `root`."""
    program = (
        "import sys; from pathlib import Path\n"
        "from darkaction.core import cli; from darkaction.core.paths import Paths\n"
        "from darkaction.tracking.delivery import deliver_waiting\n"
        "cli.run(lambda: print(*deliver_waiting(Paths(root=Path(sys.argv[1])))))"
    )
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", program, str(root)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    folder = tmp_path_factory.mktemp(f"server-{request.param}")
    database = None
    if request.param == "postgresql":
        database = Postgres()
        database.start()
    mlflow_server = MlflowServer(folder, database.uri if database else f"sqlite:///{folder}/mlflow.db")
    try:
        mlflow_server.start()
        yield mlflow_server
    finally:
        mlflow_server.kill()
        if database is not None:
            database.delete()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return tmp_path


def client_of(server: MlflowServer) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=server.uri)


def assert_complete(server: MlflowServer, run_id: str, steps: int) -> None:
    """Every value once and in order, every file, a true status."""
    client = client_of(server)
    history = client.get_metric_history(run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(step, float(step)) for step in range(steps)]
    notes = [Path(entry.path).name for entry in client.list_artifacts(run_id, "notes")]
    assert sorted(notes, key=int) == [str(step) for step in range(0, steps, 50)]
    assert client.get_run(run_id).info.status == "FINISHED"
    experiment = client.get_experiment_by_name("darkaction-recognizer")
    same = f"tags.`{TOKEN}` = '{client.get_run(run_id).data.tags[TOKEN]}'"
    assert len(client.search_runs([experiment.experiment_id], same)) == 1


def survive_outage(server: MlflowServer, root: Path, seconds: float) -> None:
    (root / "longer").touch()
    process = training(root, server.uri, 0)
    assert process.stdout is not None
    run_id = process.stdout.readline().split()[1]
    time.sleep(2)
    server.kill()
    time.sleep(seconds)
    server.start()
    time.sleep(3)
    (root / "longer").unlink()
    out, err = process.communicate(timeout=seconds + 300)
    assert process.returncode == 0, err
    _, steps, longest = out.split()
    assert int(steps) * STEP > 0.7 * seconds, "the training waited for the server"
    assert err.count("cannot be reached") == 1
    assert "wait in" not in err
    assert float(longest) < 1.0, "a call waited for the server"
    assert_complete(server, run_id, int(steps))
    assert list((root / "checkpoints/spool").iterdir()) == []


def test_a_training_goes_on_at_full_speed_through_an_outage(server: MlflowServer, root: Path) -> None:
    survive_outage(server, root, OUTAGE)


@pytest.mark.long
def test_ten_minutes_of_outage(server: MlflowServer, root: Path) -> None:
    survive_outage(server, root, 600.0)


def test_what_a_finished_training_could_not_deliver_is_delivered_later(server: MlflowServer, root: Path) -> None:
    server.kill()
    process = training(root, server.uri, 60)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert out.startswith("started None")
    assert "records wait in" in err
    failed = sync(root, server.uri)
    assert failed.returncode == 1
    assert "cannot be reached" in failed.stderr
    server.start()
    elsewhere = sync(root, f"sqlite:///{root}/other.db")
    assert elsewhere.stdout.split()[0] == "0"
    assert int(elsewhere.stdout.split()[1]) > 60
    done = sync(root, server.uri)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > 60
    client = client_of(server)
    experiment = client.get_experiment_by_name("darkaction-recognizer")
    [run] = [
        run
        for run in client.search_runs([experiment.experiment_id])
        if len(client.get_metric_history(run.info.run_id, "loss")) == 60
    ]
    assert_complete(server, run.info.run_id, 60)
    assert sync(root, server.uri).stdout.split() == ["0", "0"]


def test_a_killed_training_is_killed_in_the_record_and_goes_on_there(server: MlflowServer, root: Path) -> None:
    process = training(root, server.uri, 600)
    assert process.stdout is not None
    run_id = process.stdout.readline().split()[1]
    time.sleep(2)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    client = client_of(server)
    assert client.get_run(run_id).info.status == "RUNNING"  # nobody was left to say otherwise
    assert sync(root, server.uri).returncode == 0
    assert client.get_run(run_id).info.status == "KILLED"
    again = training(root, server.uri, 60)
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert out.split()[1] == run_id
    assert client.get_run(run_id).info.status == "FINISHED"
    history = client.get_metric_history(run_id, "loss")
    assert {metric.step for metric in history} >= set(range(60))
