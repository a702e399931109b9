"""Stages on a Ray cluster: the same bytes as on one machine, a GPU for each, and the work of the dead done again."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_evaluate import make_project
from test_resume import contents, make_videos

import enhance
import evaluate
import prepare
from darkaction.core.errors import UserError
from darkaction.jobs.map_tasks import OnRay
from servers import ray_cluster

pytestmark = pytest.mark.slow  # tests/code/test_parallel.py tests the same without a cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Of two processors and two GPUs that are none."""
    with ray_cluster({**os.environ, "PYTHONPATH": str(Path(__file__).parent)}, "--num-gpus", "2") as address:
        yield address


def run(program: object, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["program.py", *arguments])
    program.main()  # type: ignore[attr-defined]


def test_prepare_and_enhance_give_the_same_bytes(cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ["demo", "--profile", "smoke", "--set", "data.classes=[sit,walk]", "--set", "datasets=[demo]"]
    settings += ["--set", "split.strategy=random", "--set", "split.validation=none", "--set", "enhance.method=gamma"]
    for out, ray in ((tmp_path / "here", []), (tmp_path / "there", ["--ray-address", cluster])):
        for action in ("Sit", "Walk"):
            make_videos(out / "data/raw/demo", 4, action)
        for program in (prepare, enhance):
            run(program, monkeypatch, *settings, "--out", str(out), *ray)
    assert len(contents(tmp_path / "here")) > 8
    assert contents(tmp_path / "here") == contents(tmp_path / "there")


def test_evaluate_gives_the_same_predictions(cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = make_project(tmp_path, folds=2)
    predictions = []
    for ray in ([], ["--ray-address", cluster]):
        run(evaluate, monkeypatch, *command[1:], *ray, "--set", "evaluate.batch_size=2")
        predictions.append((tmp_path / "reports/predictions.csv").read_bytes())
    assert predictions[0] == predictions[1]


def test_each_task_has_its_gpu_and_the_work_of_the_dead_is_done_again(
    cluster: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(number: int) -> str:
        mark = tmp_path / str(number)
        if number == 2 and not mark.exists():
            mark.touch()
            os._exit(9)
        time.sleep(1)
        return os.environ["CUDA_VISIBLE_DEVICES"]

    found = dict(OnRay(cluster, 1 / 2, (tmp_path,))(work, range(6)))
    assert sorted(found) == list(range(6)) and set(found.values()) == {"0", "1"}
    assert "its part is done again" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"does not see .*nowhere"):
        list(OnRay(cluster, 0, (tmp_path, tmp_path / "nowhere"))(work, [1]))
