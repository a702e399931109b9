"""Workers: what does not need a running Ray, and shares of GPUs that are none."""

import subprocess
import sys

import pytest
import ray

from conftest import ROOT
from darkaction.core.errors import UserError
from darkaction.jobs import pool


def failing(times: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Makes Ray fail to start so often; what is called, in order."""
    calls: list[str] = []

    def init(**_settings: object) -> None:
        calls.append("init")
        if calls.count("init") <= times:
            raise RuntimeError("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: calls.append("shutdown"))
    return calls


def test_a_slow_start_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = failing(1, monkeypatch)
    pool._start_here(num_cpus=2)
    assert calls == ["init", "shutdown", "init"]


def test_a_start_that_fails_again_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = failing(9, monkeypatch)
    with pytest.raises(RuntimeError, match="timed out during startup"):
        pool._start_here(num_cpus=2)
    assert calls == ["init", "shutdown"] * pool.STARTS


def test_workers_that_fit_on_gpus() -> None:
    assert pool._on_gpus(2, None, 1.0, cores=16) == 2
    assert pool._on_gpus(2, None, 0.25, cores=16) == 8
    assert pool._on_gpus(2, None, 0.25, cores=4) == 4
    assert pool._on_gpus(1, None, 0.1, cores=16) == 10
    assert pool._on_gpus(2, None, 0.4, cores=16) == 4  # two on each: no worker takes a part of both
    assert pool._on_gpus(2, 3, 0.5, cores=1) == 3
    with pytest.raises(UserError, match="--workers 3: 2 GPUs take 2 workers with --gpus-per-worker 1"):
        pool._on_gpus(2, 3, 1.0, cores=16)
    with pytest.raises(UserError, match=r"--workers 9: 2 GPUs take 8 workers with --gpus-per-worker 0\.25"):
        pool._on_gpus(2, 9, 0.25, cores=16)


SHARING = """
import os, time
from darkaction.jobs import pool
pool._prepare_environment(None)
import ray

def gpu():
    time.sleep(2)
    return os.environ["CUDA_VISIBLE_DEVICES"]

init = ray.init
ray.init = lambda **settings: init(num_gpus=2, **settings)
with pool.start_pool(address=None, workers=4, gpu=0.5) as workers:
    for number in range(4):
        workers.submit(number, gpu)
    done = []
    while workers.busy:
        done += workers.wait(60.0)
print(workers.size, *sorted(task.result for task in done))
"""
"""Tasks that all run at once, on two GPUs that Ray believes in."""


@pytest.mark.slow
def test_workers_share_gpus() -> None:
    done = subprocess.run([sys.executable, "-c", SHARING], cwd=ROOT / "src", capture_output=True, text=True)
    assert done.stdout.split() == ["4", "0", "0", "1", "1"], done.stderr[-3000:]
