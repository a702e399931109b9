"""A project that is moved or copied with its record: new artifacts lie in the new place, old ones are found there."""

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import pytest

from darkaction.core.errors import UserError
from darkaction.core.paths import Paths
from darkaction.params import Params
from darkaction.tracking.runs import start_run
from darkaction.tracking.store import open_store, relocate_store, tracking_uri
from darkaction.tracking.weights import fetch_model

ROOT = Path(__file__).resolve().parents[2]
MODEL = "darkaction"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "DVC_STAGE", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)


def record(root: Path, text: str) -> str:
    """A run with a model of ours among its artifacts; its id."""
    folder = root / "models/recognizer"
    (folder / "fold_0").mkdir(parents=True, exist_ok=True)
    (folder / "fold_0/weights.safetensors").write_text(text)
    with start_run(stage="train", params=Params.load(), paths=Paths(root=root)) as run:
        run.log_artifact(folder, "recognizer")
    assert run.run_id is not None
    return run.run_id


def client_of(root: Path) -> Any:
    from mlflow import MlflowClient

    store = tracking_uri(root)
    return MlflowClient(tracking_uri=store, registry_uri=store)  # other tests of this process have had others


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A project with a run and two registered models, one by its own artifacts and one as MLflow 3 logs models."""
    root = tmp_path_factory.mktemp("before") / "a project"
    root.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_RUN_ID", raising=False)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/mlflow.db")
        mlflow.set_tracking_uri(f"sqlite:///{root}/mlflow.db")  # other tests of this process have set another
        run_id = record(root, "old weights")
        client = client_of(root)
        client.create_registered_model(MODEL)
        client.create_model_version(MODEL, f"{client.get_run(run_id).info.artifact_uri}/recognizer", run_id)
        experiment = client.get_experiment_by_name("darkaction-recognizer").experiment_id
        logged = client.create_logged_model(experiment, name="model", source_run_id=run_id)
        client.log_model_artifacts(logged.model_id, str(root / "models/recognizer"))
        client.finalize_logged_model(logged.model_id, "READY")
        client.create_model_version(MODEL, f"models:/{logged.model_id}", run_id, model_id=logged.model_id)
    return root, run_id


def mentions(database: Path, text: str) -> list[str]:
    """Columns of any table that hold a text."""
    with sqlite3.connect(database) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = [(table, row[1]) for table in tables for row in connection.execute(f"PRAGMA table_info({table})")]
        question = "SELECT count(*) FROM {} WHERE instr(CAST({} AS TEXT), ?)"
        found = [c for c in columns if connection.execute(question.format(*c), (text,)).fetchone()[0]]
    connection.close()
    return [f"{table}.{column}" for table, column in found]


def sync(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{root}/mlflow.db"}
    command = [sys.executable, str(ROOT / "src/tracking_sync.py"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_new_artifacts_and_old_models_are_in_the_new_place(
    how: str, original: tuple[Path, str], tmp_path: Path
) -> None:
    source, run_id = original
    root = tmp_path / "after it" / "the project"
    shutil.copytree(source, root)
    away = source.with_name("away")
    if how == "moved":
        source.rename(away)
    try:
        check_new_place(source, root, run_id, is_moved=how == "moved")
    finally:
        if how == "moved":
            away.rename(source)


def check_new_place(source: Path, root: Path, run_id: str, *, is_moved: bool) -> None:
    before = sorted(source.rglob("*"))
    with pytest.raises(UserError, match=r"moved or copied here.*tracking_sync\.py --relocate"):
        record(root, "new weights")
    done = sync(root, "--relocate")
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr and str(source) in done.stdout
    assert mentions(root / "mlflow.db", source.parent.as_uri()) == []
    [backup] = root.glob("mlflow.db.before-relocation-*")
    assert mentions(backup, source.as_uri())

    new = record(root, "new weights")
    client = client_of(root)
    for run, text in ((run_id, "old weights"), (new, "new weights")):
        path = client.download_artifacts(run, "recognizer/fold_0/weights.safetensors")
        assert Path(path).read_text() == text
        assert client.get_run(run).info.artifact_uri.startswith((root / "mlartifacts").as_uri())
    for version in ("1", "2"):
        folder = fetch_model(f"models:/{MODEL}/{version}", Paths(root=root))
        assert (folder / "fold_0/weights.safetensors").read_text() == "old weights"
    assert sorted(source.rglob("*")) == before
    assert source.exists() != is_moved
    assert "nothing to relocate" in sync(root, "--relocate").stdout
    assert len(list(root.glob("mlflow.db.before-relocation-*"))) == 1


def test_artifacts_left_behind_are_said(original: tuple[Path, str], tmp_path: Path) -> None:
    shutil.copy(original[0] / "mlflow.db", tmp_path)
    done = sync(tmp_path, "--relocate")
    assert done.returncode == 0
    assert "artifacts of 1 runs are not here; copy mlartifacts" in done.stderr


def test_every_command_that_reads_the_store_refuses(original: tuple[Path, str], tmp_path: Path) -> None:
    shutil.copy(original[0] / "mlflow.db", tmp_path)
    with pytest.raises(UserError, match="--relocate"):
        open_store(Paths(root=tmp_path))
    with pytest.raises(UserError, match="--relocate"):
        fetch_model(f"models:/{MODEL}/1", Paths(root=tmp_path))


def test_a_link_to_the_project_is_the_project(original: tuple[Path, str], tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(original[0])
    open_store(Paths(root=link))


def test_a_place_that_somebody_chose_stays(tmp_path: Path) -> None:
    client = open_store(Paths(root=tmp_path))
    client.create_experiment("darkaction-recognizer", artifact_location=(tmp_path.parent / "large disk").as_uri())
    open_store(Paths(root=tmp_path))
    assert "nothing to relocate" in sync(tmp_path, "--relocate").stdout


def test_only_a_file_can_be_relocated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no such file"):
        relocate_store(Paths(root=tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:9: only an SQLite store"):
        relocate_store(Paths(root=tmp_path))
