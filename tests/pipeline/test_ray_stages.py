"""Stages on a Ray cluster: the same bytes as on one machine, a GPU for each, and the work of the dead done again."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_evaluate import make_project
from test_resume import contents, make_videos

from darkaction.core.paths import ROOT
from servers import ray_cluster

pytestmark = pytest.mark.slow  # tests/code/test_parallel.py tests the same without a cluster

TASKS = """
import os, sys, time
from pathlib import Path
from darkaction.core.errors import UserError
from darkaction.jobs.map_tasks import OnRay

address, folder = sys.argv[1], Path(sys.argv[2])

def work(number):
    mark = folder / str(number)
    if number == 2 and not mark.exists():
        mark.touch()
        os._exit(9)
    time.sleep(1)
    return os.environ["CUDA_VISIBLE_DEVICES"]

found = dict(OnRay(address, 1 / 2, (folder,))(work, range(6)))
print(sorted(found), sorted(set(found.values())))
try:
    list(OnRay(address, 0, (folder, folder / "nowhere"))(work, [1]))
except UserError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Of two processors and two GPUs that are none."""
    with ray_cluster(os.environ, "--num-gpus", "2") as address:
        yield address


def run(*command: str, cluster: str = "") -> str:
    """What Python prints; a process of its own, since Ray reads its environment once."""
    environment = {**os.environ, "RAY_ADDRESS": cluster, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_prepare_and_enhance_give_the_same_bytes(cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ["demo", "--profile", "smoke", "--set", "data.classes=[sit,walk]", "--set", "datasets=[demo]"]
    settings += ["--set", "split.strategy=random", "--set", "split.validation=none", "--set", "enhance.method=gamma"]
    for out, address in ((tmp_path / "here", ""), (tmp_path / "there", cluster)):
        for action in ("Sit", "Walk"):
            make_videos(out / "data/raw/demo", 4, action)
        for program in ("prepare", "enhance"):
            run(f"src/{program}.py", *settings, "--out", str(out), cluster=address)
    assert len(contents(tmp_path / "here")) > 8
    assert contents(tmp_path / "here") == contents(tmp_path / "there")


def test_pretrain_generates_the_same_clips(cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ["--profile", "smoke", "--set", "enhance.method=gamma", "--set", "pretrain.enabled=true"]
    settings += ["--set", "pretrain.scenes=2", "--set", "pretrain.takes=1"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    trained = []
    for out, address in ((tmp_path / "here", ""), (tmp_path / "there", cluster)):
        run("src/pretrain.py", *settings, "--out", str(out), cluster=address)
        trained.append((out / "models/pretraining/fold_0/weights.safetensors").read_bytes())
    assert trained[0] == trained[1]


def test_evaluate_gives_the_same_predictions(cluster: str, tmp_path: Path) -> None:
    _, *arguments = make_project(tmp_path, folds=2)
    predictions = []
    for ray in ([], ["--ray-address", cluster]):
        run("src/evaluate.py", *arguments, "--set", "evaluate.batch_size=2", *ray)
        predictions.append((tmp_path / "reports/predictions.csv").read_bytes())
    assert predictions[0] == predictions[1]


def test_each_task_has_its_gpu_and_the_work_of_the_dead_is_done_again(cluster: str, tmp_path: Path) -> None:
    lines = run("-c", TASKS, cluster, str(tmp_path)).splitlines()  # among them what Ray says of the dead, at any time
    assert sum(line.endswith("its part is done again") for line in lines) == 1
    assert "[0, 1, 2, 3, 4, 5] ['0', '1']" in lines
    [refused] = [line for line in lines if f"does not see {tmp_path}/nowhere" in line]
    assert "all machines of the cluster must have the project" in refused
