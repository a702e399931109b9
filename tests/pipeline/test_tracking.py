"""The record of experiments against real SQLite stores, dead servers and signals."""

import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from darkaction.core import config, provenance
from darkaction.core.paths import Paths
from darkaction.params import Params
from darkaction.tracking import delivery, runs
from darkaction.tracking.delivery import deliver_waiting
from darkaction.tracking.records import MAX_TAG_LENGTH, OF_RUN, ORIGINAL
from darkaction.tracking.relocation import relocate
from darkaction.tracking.runs import attach_run, parameter_text, start_run
from darkaction.tracking.spool import SILENT_FOR, Spool, orphans
from darkaction.tracking.store import tracking_uri
from darkaction.tracking.weights import CHECKSUM, checksum, weights_of

ROOT = Path(__file__).resolve().parents[2]

CHILD = """
    import sys
    sys.path.insert(0, {src!r})
    from pathlib import Path
    from darkaction.core.paths import Paths
    from darkaction.params import Params
    from darkaction.tracking.runs import start_run
    paths = Paths(root=Path(sys.argv[1]), out=Path(sys.argv[3]))
    with start_run(stage=sys.argv[2], params=Params.load(), paths=paths) as run:
        run.log_metrics({{"loss": 1.5}}, step=3)
        print("recording", run.run_id, flush=True)
        {body}
"""


def child(root: Path, stage: str, out: Path, body: str = "pass") -> "subprocess.Popen[str]":
    code = textwrap.dedent(CHILD.format(src=str(ROOT / "src"), body=body))
    return subprocess.Popen(
        [sys.executable, "-c", code, str(root), stage, str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=root,
    )


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "DVC_STAGE", "DVC_EXP_NAME")
    for name in names:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[int, str, str]]]:
    """A store that three processes made and used at the same moment, and what became of them. Making one takes long,
    so the other tests work on copies of it."""
    root = tmp_path_factory.mktemp("made by three")
    stages = ("train", "train", "train_enhancer")
    children = [child(root, stage, root / f"out{k}") for k, stage in enumerate(stages)]
    outputs = [process.communicate(timeout=240) for process in children]
    results = [(p.returncode, out, err) for p, (out, err) in zip(children, outputs, strict=True)]
    return root, results


@pytest.fixture
def paths(shared_store: tuple[Path, Any], tmp_path: Path) -> Paths:
    root = tmp_path / "a project"
    root.mkdir()
    shutil.copy(shared_store[0] / "mlflow.db", root)
    relocate(root / "mlflow.db")
    return Paths(root=root)


@pytest.fixture(scope="module")
def params() -> Params:
    return Params.load()


def client_of(root: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=tracking_uri(root))


def artifacts(record: Any) -> Path:
    return Path(unquote(urlsplit(record.info.artifact_uri).path))


def latest(paths: Paths, stage: str = "train") -> Any:
    """The run that was started last."""
    client = client_of(paths.root)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    order = ["attributes.start_time DESC"]
    return client.search_runs(experiments, f"tags.stage = '{stage}'", order_by=order, max_results=1)[0]


def make_model(paths: Paths, content: str = "weights") -> Path:
    """A file in the place of the model's weights."""
    path = paths.write(f"{Paths.RECOGNIZER}/fold_0/weights.safetensors")
    path.write_text(content)
    return path


def test_three_processes_make_one_store(shared_store: tuple[Path, list[tuple[int, str, str]]]) -> None:
    root, results = shared_store
    for code, out, err in results:
        assert code == 0, err
        assert "Traceback" not in err and "tracking:" not in err and "alembic" not in err
        assert out.startswith("recording ")
    client = client_of(root)
    counts = {}
    for experiment in client.search_experiments():
        runs = client.search_runs([experiment.experiment_id])
        counts[experiment.name] = len(runs)
        assert {run.info.status for run in runs} <= {"FINISHED"}
        assert all(run.data.metrics == {"loss": 1.5} for run in runs)
        assert all(artifacts(run).is_relative_to(root / "mlartifacts" / experiment.name) for run in runs)
        assert all((artifacts(run) / "params.yaml").exists() for run in runs)
    assert counts == {"Default": 0, "darkaction-recognizer": 2, "darkaction-enhancer": 1}
    # The experiment `mlflow run` uses keeps its artifacts in the project, wherever the first command was called from.
    assert Path(client.get_experiment("0").artifact_location) == root / "mlruns" / "0"


def test_round_trip(paths: Paths, params: Params, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DVC_STAGE", "train")
    monkeypatch.setenv("DVC_EXP_NAME", "brave-idea")
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"\x00\x01weights")
    with start_run(stage="train", params=params, paths=paths) as run:
        for epoch in range(3):
            run.log_metrics({"train_loss": 1.0 / (epoch + 1), "val_accuracy": epoch / 3}, step=epoch)
        run.log_artifact(weights, "model")
        run.log_artifact(make_model(paths).parent.parent)
        run.log_text("seen", "notes/one.txt")
        run.set_tags({"long": "x" * 9000})
    client = client_of(paths.root)
    record = latest(paths)
    assert record.info.status == "FINISHED" and record.info.run_name.endswith(" seed 0 (brave-idea)")
    assert record.data.params == {key: parameter_text(v) for key, v in config.flatten(params).items()}
    assert record.data.params["focal.gamma"] == "2.0" and record.data.params["train.init_from"] == "null"
    assert yaml.safe_load(record.data.params["model.widths"]) == params.model.widths
    history = [(m.step, m.value) for m in client.get_metric_history(record.info.run_id, "train_loss")]
    assert history == [(0, 1.0), (1, 0.5), (2, 1.0 / 3)]
    folder = artifacts(record)
    assert (folder / "model" / "weights.safetensors").read_bytes() == weights.read_bytes()
    assert (folder / "fold_0" / "weights.safetensors").exists() and (folder / "notes" / "one.txt").read_text() == "seen"
    assert config.build(Params, yaml.safe_load((folder / "params.yaml").read_text()), origin="artifact") == params
    tags = record.data.tags
    assert (tags["stage"], tags["dvc.stage"], tags["dvc.experiment"]) == ("train", "train", "brave-idea")
    assert tags["split.strategy"] == "scene" and len(tags["long"]) == MAX_TAG_LENGTH


def test_data_versions_are_tags(paths: Paths, params: Params) -> None:
    index = paths.write("data/index/demo/index.csv")
    index.write_text("clip_id,sha256\nA,1\n")
    paths.write("data/raw/demo.dvc").write_text("outs:\n- md5: abc.dir\n  path: demo\n")
    lock = {
        "schema": "2.0",
        "stages": {"prepare@demo": {"outs": [{"path": "data/index/demo", "md5": "def.dir"}]}, "x": {}},
    }
    paths.write("dvc.lock").write_text(yaml.safe_dump(lock))
    tags = provenance.origin_tags(stage="train", settings=config.flatten(params), paths=paths)
    assert tags["data.demo.dvc_md5.raw"] == "abc.dir" and tags["data.demo.dvc_md5.index"] == "def.dir"
    index.write_text("clip_id,sha256\nA,2\n")
    assert (
        provenance.origin_tags(stage="train", settings=config.flatten(params), paths=paths)["data.demo.digest"]
        != tags["data.demo.digest"]
    )
    # With --out, an index that was written there is not the one DVC knows.
    elsewhere = Paths(root=paths.root, out=paths.root / "out")
    elsewhere.write("data/index/demo/index.csv").write_text("clip_id,sha256\nA,3\n")
    assert "data.demo.dvc_md5.index" not in provenance.origin_tags(
        stage="train", settings=config.flatten(params), paths=elsewhere
    )


def test_commit_and_dirty_state(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    assert provenance._git_tags(tmp_path) == {}
    git("init", "-q")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("1\n")
    (tmp_path / "dvc.lock").write_text("a\n")
    git("add", "-A")
    git("commit", "-qm", "first")
    commit = git("rev-parse", "HEAD")
    (tmp_path / "dvc.lock").write_text("b\n")
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "metrics.json").write_text("{}")
    assert provenance._git_tags(tmp_path) == {"mlflow.source.git.commit": commit, "mlflow.source.git.dirty": "false"}
    (tmp_path / "src" / "b.py").write_text("2\n")
    assert provenance._git_tags(tmp_path)["mlflow.source.git.dirty"] == "true"
    assert provenance._git_tags(tmp_path / "src") == {}  # a folder inside somebody else's checkout


def test_failure_is_recorded_with_its_traceback(paths: Paths, params: Params) -> None:
    with pytest.raises(ZeroDivisionError), start_run(stage="train", params=params, paths=paths):
        _ = 1 // 0
    record = latest(paths)
    assert record.info.status == "FAILED"
    text = (artifacts(record) / "traceback.txt").read_text()
    assert "ZeroDivisionError" in text and "_ = 1 // 0" in text
    assert record.data.tags["mlflow.note.content"].startswith("failed: ZeroDivisionError: ")


@pytest.mark.parametrize(
    ("error", "status"),
    [(KeyboardInterrupt(), "KILLED"), (SystemExit(1), "FAILED"), (SystemExit(0), "FINISHED")],
    ids=["ctrl-c", "exit-1", "exit-0"],
)
def test_status_of_exits(paths: Paths, params: Params, error: BaseException, status: str) -> None:
    with pytest.raises(type(error)), start_run(stage="train", params=params, paths=paths):
        raise error
    record = latest(paths)
    assert record.info.status == status
    note = record.data.tags["mlflow.note.content"]
    assert note.startswith(
        {"KILLED": "killed by Ctrl-C", "FAILED": "failed: SystemExit", "FINISHED": "finished"}[status]
    )


def test_ctrl_c_that_the_training_loop_turned_into_an_exit() -> None:
    exit_ = SystemExit(1)
    exit_.__context__ = KeyboardInterrupt()
    assert runs._status_of(exit_) == "KILLED"


def test_sigterm_is_killed(paths: Paths) -> None:
    process = child(paths.root, "train", paths.root / "out", body="import time; time.sleep(60)")
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode == 143, err
    assert client_of(paths.root).get_run(line.split()[1]).info.status == "KILLED"


def test_the_former_sigterm_handler_is_back(paths: Paths, params: Params) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with start_run(stage="train", params=params, paths=paths):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_pages_open_with_runs(paths: Paths, params: Params) -> None:
    with start_run(stage="train", params=params, paths=paths):
        pass
    experiment = client_of(paths.root).get_experiment_by_name("darkaction-recognizer")
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"


def test_datasets_are_inputs_of_the_run(paths: Paths, params: Params) -> None:
    index = paths.root / "data/index/demo"
    index.mkdir(parents=True)
    (index / "index.csv").write_text("clip_id\n")
    (index / "summary.json").write_text('{"usable": 7}')
    (paths.root / "dvc.lock").write_text("stages: {a: {outs: [{path: data/raw/demo, md5: 12ab.dir}]}}")
    with start_run(stage="train", params=params, paths=paths):
        pass
    inputs = latest(paths).inputs.dataset_inputs
    [found] = inputs
    assert (found.dataset.name, found.dataset.source_type) == ("demo", "dvc")
    assert json.loads(found.dataset.source) == {"path": "data/raw/demo", "dvc_md5": "12ab.dir"}
    assert json.loads(found.dataset.profile) == {"usable": 7}
    tags = latest(paths).data.tags
    assert tags["data.demo.digest"] == found.dataset.digest
    assert [(tag.key, tag.value) for tag in found.tags] == [("mlflow.data.context", "target")]


def test_a_stopped_run_goes_on(paths: Paths, params: Params) -> None:
    with pytest.raises(KeyboardInterrupt):  # noqa: SIM117, PT012
        with start_run(stage="train", params=params, paths=paths, resume=True) as run:
            run.log_metrics({"loss": 2.0}, step=0)
            raise KeyboardInterrupt
    first = latest(paths).info.run_id
    client = client_of(paths.root)
    assert client.get_run(first).info.status == "KILLED"
    with start_run(stage="train", params=params, paths=paths, resume=True) as run:
        assert client.get_run(first).info.status == "RUNNING"
        run.log_metrics({"loss": 1.0}, step=1)
    assert latest(paths).info.run_id == first
    assert [m.step for m in client.get_metric_history(first, "loss")] == [0, 1]
    assert client.get_run(first).info.status == "FINISHED"
    with start_run(stage="train", params=params, paths=paths, resume=True) as run:
        assert run.run_id != first  # a finished one is left alone


def test_a_stopped_run_of_other_settings_is_left_alone(paths: Paths, params: Params) -> None:
    with pytest.raises(KeyboardInterrupt), start_run(stage="train", params=params, paths=paths):
        raise KeyboardInterrupt
    first = latest(paths).info.run_id
    other = dataclasses.replace(params, focal=dataclasses.replace(params.focal, gamma=params.focal.gamma + 1))
    with start_run(stage="train", params=other, paths=paths, resume=True) as run:
        assert run.run_id != first
    with pytest.raises(KeyboardInterrupt), start_run(stage="train", params=params, paths=paths):
        raise KeyboardInterrupt
    second = latest(paths).info.run_id
    with start_run(stage="train", params=params, paths=paths) as run:
        assert run.run_id != second  # resume was not asked for


def test_children_of_mlflow_run(paths: Paths, params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(paths.root)
    parent = client.create_run("0", tags={"mlflow.project.entryPoint": "main"})
    monkeypatch.setenv("MLFLOW_RUN_ID", parent.info.run_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    for stage in ("train_enhancer", "train"):
        with start_run(stage=stage, params=params, paths=paths):
            pass
        record = latest(paths, stage)
        assert record.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert record.info.experiment_id == "0" and record.info.status == "FINISHED"
    assert client.get_run(parent.info.run_id).info.status == "RUNNING"  # it is not ours to end
    assert client.get_run(parent.info.run_id).info.run_name == "mlflow run main"  # MLflow had drawn a name
    monkeypatch.setenv("MLFLOW_RUN_ID", "f" * 32)  # of another store
    with start_run(stage="train", params=params, paths=paths):
        pass
    tags = latest(paths).data.tags
    assert "mlflow.parentRunId" not in tags


def train(paths: Paths, params: Params, content: str = "weights") -> str:
    """A run of train that makes a model with this content; its id."""
    with start_run(stage="train", params=params, paths=paths) as run:
        run.log_metrics({"loss": 1.0}, step=0)
        run.set_tags({CHECKSUM: checksum(make_model(paths, content))})
        run.describe("trained", accuracy="70.0%")
    assert run.run_id is not None
    return run.run_id


def test_evaluate_adds_to_the_run_of_its_model(paths: Paths, params: Params) -> None:
    run_id = train(paths, params)
    train(paths, params, content="other weights")
    make_model(paths)
    with attach_run(stage="train", params=params, paths=paths) as again:
        assert again.run_id == run_id
        again.log_metrics({"test.accuracy": 0.75})
    record = client_of(paths.root).get_run(run_id)
    assert record.data.metrics == {"loss": 1.0, "test.accuracy": 0.75} and record.info.status == "FINISHED"
    with pytest.raises(RuntimeError), attach_run(stage="train", params=params, paths=paths):
        raise RuntimeError("evaluation failed")
    assert client_of(paths.root).get_run(run_id).info.status == "FINISHED"


def test_of_two_runs_with_the_same_weights_the_one_with_the_same_out_is_meant(paths: Paths, params: Params) -> None:
    own = Paths(root=paths.root, out=paths.root / "out")
    first, of_try, second = train(paths, params), train(own, params), train(paths, params)
    for where, expected in ((paths, second), (own, of_try)):
        with attach_run(stage="train", params=params, paths=where) as run:
            assert run.run_id == expected != first


def test_a_try_leaves_the_run_of_the_pipeline_alone(paths: Paths, params: Params) -> None:
    run_id = train(paths, params)
    other = dataclasses.replace(params, focal=dataclasses.replace(params.focal, gamma=3.5))
    own = Paths(root=paths.root, out=paths.root / "out")
    with attach_run(stage="train", params=other, paths=own) as figures:
        figures.describe("test accuracy 1%")
    assert figures.run_id != run_id
    client = client_of(paths.root)
    assert client.get_run(run_id).data.tags["mlflow.note.content"] == "trained"
    record = client.get_run(figures.run_id)
    assert record.data.tags[OF_RUN] == run_id
    assert (record.data.tags["origin"], record.data.tags["out"]) == ("try", str(own.out))
    assert record.info.run_name.startswith("try: demo ") and "focal.gamma=3.5" in record.info.run_name


def test_a_model_of_another_store_gets_one_run(paths: Paths, params: Params) -> None:
    make_model(paths)
    ids = []
    for accuracy in (0.5, 0.75):
        with attach_run(stage="train", params=params, paths=paths) as run:
            run.log_metrics({"test.accuracy": accuracy})
        ids.append(run.run_id)
    assert ids[0] == ids[1] is not None
    record = client_of(paths.root).get_run(ids[0])
    assert record.data.tags[ORIGINAL] == f"{CHECKSUM} = {checksum(weights_of(paths))}"
    assert record.data.params["seed"] == str(params.seed) and record.info.status == "FINISHED"
    assert record.data.metrics == {"test.accuracy": 0.75}


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def mute_port() -> Iterator[int]:
    """A server that accepts connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(50)
        yield int(server.getsockname()[1])


@pytest.mark.parametrize("kind", ["closed_port", "mute_port"])
def test_a_dead_server_ends_no_training(
    kind: str,
    request: pytest.FixtureRequest,
    params: Params,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{request.getfixturevalue(kind)}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    paths = Paths(root=tmp_path)
    with start_run(stage="train", params=params, paths=paths) as run:
        start = time.monotonic()
        for epoch in range(50):
            run.log_metrics({"loss": 1.0}, step=epoch)
        assert time.monotonic() - start < 20  # one that waited for each answer would take 50
        assert run.run_id is None
    warnings = capsys.readouterr().err
    assert warnings.count("cannot be reached") == 1 and "records wait in" in warnings
    written = [path.read_text() for path in (tmp_path / "checkpoints").rglob("*.json")]
    assert written and "secret" not in warnings + "".join(written)


def test_records_of_an_outage_arrive_in_order(
    paths: Paths, params: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    connect = delivery.connect
    tries: list[str] = []

    def connect_later(uri: str) -> Any:
        tries.append(uri)
        if len(tries) < 5:
            raise ConnectionError("the server restarts")
        return connect(uri)

    monkeypatch.setattr(delivery, "connect", connect_later)
    monkeypatch.setattr(delivery, "RETRY_AFTER", 0.0)
    with start_run(stage="train", params=params, paths=paths) as run:
        for epoch in range(6):
            run.log_metrics({"loss": float(epoch)}, step=epoch)
    client = client_of(paths.root)
    assert latest(paths).info.run_id == run.run_id is not None
    record = client.get_run(run.run_id)
    assert record.info.status == "FINISHED" and record.data.params["seed"] == str(params.seed)
    assert [m.value for m in client.get_metric_history(run.run_id, "loss")] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    warnings = capsys.readouterr().err
    assert warnings.count("cannot be reached") == 1 and "records wait" not in warnings


def test_a_refused_record_does_not_hold_up_the_rest(
    paths: Paths, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    with start_run(stage="train", params=params, paths=paths) as run:
        run.log_metrics({"a?b#c": 1.0})
        run.log_metrics({"good": 1.0})
    assert run.run_id is not None
    assert client_of(paths.root).get_run(run.run_id).data.metrics == {"good": 1.0}
    assert capsys.readouterr().err.count("refused") == 1


def test_other_processes_than_the_first_record_nothing(paths: Paths, params: Params) -> None:
    with start_run(stage="train", params=params, paths=paths, recorded=False) as run:
        run.log_metrics({"loss": 1.0})
    assert run.run_id is None and not (paths.root / "models").exists()


def test_wrong_calls(paths: Paths, params: Params) -> None:
    with pytest.raises(ValueError, match="train_enhancer"), start_run(stage="x", params=params, paths=paths):
        pass
    with (
        pytest.raises(FileNotFoundError, match="gone"),
        start_run(stage="train", params=params, paths=paths) as run,
    ):
        run.log_artifact(paths.root / "gone.png")


def test_importing_tracking_does_not_import_mlflow() -> None:
    code = "import sys; import darkaction.tracking; sys.exit('mlflow' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT / "src", timeout=60, check=False).returncode == 0


# Spools of other machines


def test_spool_of_another_machine_is_left_alone_while_it_moves(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path / "a", {"created": 0.0})
    opening = spool.opening
    assert orphans(tmp_path) == []
    spool.write_opening(opening | {"owner": opening["owner"] | {"host": "elsewhere", "pid": 1, "started": 0.0}})
    assert orphans(tmp_path) == []
    long_ago = time.time() - 2 * SILENT_FOR
    os.utime(spool.folder, (long_ago, long_ago))
    assert [found.folder for found in orphans(tmp_path)] == [spool.folder]


def test_damaged_spool_does_not_keep_others_from_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/mlflow.db")
    damaged = root / "checkpoints/spool/damaged"
    damaged.mkdir(parents=True)
    (damaged / "opening.json").write_text("{")
    with start_run(stage="train", params=Params.load(), paths=Paths(root=root)) as run:
        run.log_metrics({"loss": 1.0})
    assert run.run_id is not None
    assert f"{damaged}/opening.json is damaged" in capsys.readouterr().err


def test_damaged_record_does_not_keep_others_from_being_delivered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths, params = Paths(root=tmp_path), Params.load()
    with monkeypatch.context() as away:
        away.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        for loss in (1.0, 2.0):
            with start_run(stage="train", params=params, paths=paths) as run:
                run.log_metrics({"loss": loss})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    spools = [Spool(path) for path in sorted((tmp_path / "checkpoints/spool").iterdir())]
    for spool in spools:  # as if their processes were gone, and for the store that is there now
        owner = spool.opening["owner"] | {"pid": 1, "started": 0.0}
        spool.write_opening(spool.opening | {"owner": owner, "store": "sqlite:///mlflow.db"})
    next(spools[0].folder.glob("[0-9]*.json")).write_text("{")
    capsys.readouterr()
    deliver_waiting(paths)
    assert f"{spools[0].folder} is damaged" in capsys.readouterr().err
    assert spools[0].folder.exists() and not spools[1].folder.exists()
