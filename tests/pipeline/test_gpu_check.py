"""make gpu-check: its table, and its paths on the CPU."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from conftest import ROOT

CI = ROOT / ".ci"
sys.path.append(str(CI))

import gpu_check  # noqa: E402


def test_the_table_says_what_failed_and_why() -> None:
    rows = [
        gpu_check.Row(name="enhance", seconds=3.2, gpu_bytes=3 * 1024**3),
        gpu_check.Row(name="train", reason="CUDA error: a | b", seconds=60.0, gpu_bytes=0),
        gpu_check.Row(name="train on two devices", reason="not run here"),
    ]
    assert [row.failed for row in rows] == [False, True, False]
    assert gpu_check.table(rows, "two GPUs").splitlines() == [
        "two GPUs",
        "",
        "| What | Result | Seconds | GPU memory |",
        "|---|---|---|---|",
        "| enhance | ok | 3 | 3.0 GiB |",
        "| train | failed: CUDA error: a / b | 60 | 0.0 GiB |",
        "| train on two devices | not run here | 0 |  |",
    ]


def test_the_reason_is_the_line_that_says_why() -> None:
    assert gpu_check.reason_in("warning\nerror: data/x: no such file\nmore\n") == "data/x: no such file"
    assert gpu_check.reason_in("Traceback\n  x\nRuntimeError: no kernel image\n\n") == "RuntimeError: no kernel image"
    assert gpu_check.reason_in("") == ""


def test_a_command_that_fails_is_a_row(tmp_path: Path) -> None:
    failing = ["-c", "import sys; sys.exit('error: no')"]
    row = gpu_check.run("x", failing, tmp_path, {}, gpus=0)
    assert (row.reason, row.failed, row.gpu_bytes) == ("no", True, None)
    assert gpu_check.run("x", ["-c", ""], tmp_path, {}, gpus=0).reason is None
    assert gpu_check.run("x", [], tmp_path, {}, gpus=0).reason == "not run here"


def test_the_most_memory_of_all_gpus_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_memory_used", lambda gpu: 2 + gpu)
    row = gpu_check.run("x", ["-c", "import time; time.sleep(1)"], tmp_path, {}, gpus=2)
    assert row.gpu_bytes == 2 + 3


def test_two_devices_need_two_gpus(tmp_path: Path) -> None:
    for gpus, runs in ((0, True), (1, False), (2, True)):
        assert bool(dict(gpu_check.commands(tmp_path, gpus=gpus))["train on two devices"]) == runs


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu_check.py"])
    with pytest.raises(SystemExit, match=r"no GPU here: .* GPU_CHECK=--cpu runs the same"):
        gpu_check.main()


@pytest.mark.slow
@pytest.mark.timeout(3600)  # four minutes of computing, on a machine that may be busy
def test_every_path_runs_on_the_cpu() -> None:
    done = subprocess.run([sys.executable, CI / "gpu_check.py", "--cpu"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in done.stdout.partition("| What |")[2].splitlines() if line.startswith("| ")]
    assert len(rows) == len(gpu_check.commands(Path(), gpus=0))
    assert all("| ok |" in row or "| not run here |" in row for row in rows), done.stdout
