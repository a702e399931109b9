"""What a training is said to take, against what it takes."""

import json
import os
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import describe_model
from conftest import ROOT
from darkaction.jobs.recognizer.cost import LiveBytes, cost
from darkaction.params import Params
from tiny_models import call

CLIPS = 32

REAL = f"""
import ctypes, json
import psutil, torch
from darkaction.jobs.recognizer import recipe
from darkaction.params import Params
from darkaction.training.focal import FocalLoss
from peak_memory import peak_memory

params = Params.load(overrides=["train.precision=fp32"])
network = recipe.make_recognizer(params, None).train()

def step(clips):
    clip_BCTHW = torch.zeros(clips, 3, 16, 48, 48, dtype=torch.uint8)
    loss = FocalLoss(gamma=2.0, alpha_K=None)(network(clip_BCTHW), torch.zeros(clips, dtype=torch.long))
    loss.backward()
    network.zero_grad()

step(2)
ctypes.CDLL("libc.so.6").malloc_trim(0)
before = psutil.Process().memory_info().rss
step({CLIPS})
print(json.dumps(peak_memory() - before))
"""
"""The bytes that a step adds to those of its process."""


def test_bytes_of_a_chain_are_those_that_live_at_once() -> None:
    with FakeTensorMode():
        network = nn.Sequential(nn.Linear(10, 1000), nn.ReLU(), nn.Linear(1000, 10))
        x = torch.empty(64, 10)
        with LiveBytes(network) as live:
            y = network(x)
            assert live.now == 4 * 64 * (1000 + 10)  # what ReLU saves, and the result
            y.sum().backward()
            del y
    assert live.now == 4 * sum(parameter.numel() for parameter in network.parameters())  # the gradients
    assert live.most >= 4 * 64 * 2010


def test_the_cost_of_the_demo_is_that_of_its_recorded_runs() -> None:
    found = cost(Params.load(profile="demo", overrides=["train.precision=fp32"]))
    assert found.parameters == pytest.approx(1.10e6, abs=0.01e6)
    assert found.gflop_per_clip == pytest.approx(0.70, abs=0.01)
    half = cost(Params.load(profile="demo", overrides=["train.precision=bf16"]))
    assert 0.5 < half.clip_bytes / found.clip_bytes < 0.65


@pytest.mark.slow
def test_memory_of_a_step_is_what_it_takes() -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": "src:tests"}
    environment |= {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}  # freed memory goes back
    done = subprocess.run([sys.executable, "-c", REAL], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = CLIPS * cost(Params.load(overrides=["train.precision=fp32"])).clip_bytes
    assert json.loads(done.stdout) == pytest.approx(expected, rel=0.2)


@pytest.mark.slow
def test_the_figures_of_the_paper_are_those_that_the_docs_have() -> None:
    own = ["--profile", "paper", "--set", "train.precision=fp32"]
    mran = ["--set", "datasets=[arid,hmdb51]", "--set", "model.mran=true", "--set", "train.batch_size=16"]
    found = [call(describe_model, *arguments, folder=ROOT) for arguments in (own, [*own, *mran])]
    assert [done.stdout.splitlines()[-1].split()[2:4] for done in found] == [["7.03", "GiB"], ["48.72", "GiB"]]
    text = (ROOT / "docs/quickstart.md").read_text()
    assert "7 GiB" in text and "49 GiB" in text


def test_a_model_has_settings_of_its_own() -> None:
    done = call(describe_model, "runs:/x", "--profile", "paper", folder=ROOT)
    assert (done.returncode, done.stderr) == (1, "error: runs:/x has settings of its own: no --profile, --set\n")
