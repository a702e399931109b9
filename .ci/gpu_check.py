"""What to run first on a machine with GPUs: every path of the project that uses one, in about five minutes.

    make gpu-check
    make gpu-check GPU_CHECK=--cpu      the same paths at tiny size without a GPU

Works in a copy of the project and ends with a table to paste into an issue: what was run, whether it worked or why not,
seconds, and the most GPU memory. Exit code 1 where something failed, or there is no GPU.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from smoke import copy_project

LIMIT = 900.0
"""Seconds for one command."""

LARGER = ("enhance.height=112", "enhance.width=112", "sampling.num_frames=32", "model.widths=[64, 128, 256, 512]")
"""Over profiles/smoke.yaml, on a GPU: the paper's widths."""

NO_GPU = "no GPU here: torch.cuda.is_available() is false. make gpu-check GPU_CHECK=--cpu runs the same on the CPU"

POLL = 0.2


@dataclass(frozen=True, kw_only=True)
class Row:
    """What became of a command."""

    name: str
    reason: str | None = None  # why it failed, or was not run; None: it worked
    seconds: float = 0.0
    gpu_bytes: int | None = None  # the most of all GPUs

    @property
    def failed(self) -> bool:
        return self.reason is not None and not self.reason.startswith("not run")


def commands(out: Path, *, gpus: int) -> list[tuple[str, list[str]]]:
    """Names and arguments, in order; without arguments it is not run here. gpus 0: on the CPU."""
    larger = [part for setting in LARGER for part in ("--set", setting)] if gpus else []
    settings = ["--profile", "smoke", *larger]
    own = [*settings, "--out", str(out)]
    train = ["src/train.py", *own, "--set"]
    share = ["--workers", "2", "--gpus-per-worker", "0.5"]
    model, clips = f"{out}/models/recognizer", f"{out}/data/raw/demo"
    return [
        ("clips", ["src/synthesize.py", "demo", *own]),
        ("index", ["src/prepare.py", "demo", *own]),
        ("train Zero-DCE", ["src/train_enhancer.py", *own]),
        ("enhance", ["src/enhance.py", "demo", *own]),
        ("train fp32", [*train, "train.precision=fp32"]),
        ("train bf16", [*train, "train.precision=bf16"]),
        ("train, not deterministic", [*train, "train.deterministic=false"]),
        ("train with loader processes", [*train, "train.num_workers=2"]),
        ("train on two devices", [*train, "train.devices=2"] if gpus != 1 else []),
        ("evaluate", ["src/evaluate.py", *own]),
        ("predict", ["src/predict.py", clips, "--model", model, "--csv", os.devnull]),
        ("tune, two trials at once", ["src/tune.py", *settings, "--trials", "2", *share, "--out", f"{out}/tune"]),
    ]


def run(name: str, arguments: Sequence[str], folder: Path, environment: dict[str, str], *, gpus: int) -> Row:
    """Runs a command in `folder`."""
    if not arguments:
        return Row(name=name, reason="not run here")
    started = time.monotonic()
    with Memory(gpus) as memory:
        try:
            done = subprocess.run(
                [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT
            )
            reason = None if done.returncode == 0 else reason_in(done.stderr) or f"exit code {done.returncode}"
        except subprocess.TimeoutExpired:
            reason = f"took more than {LIMIT:.0f} s"
    return Row(name=name, reason=reason, seconds=time.monotonic() - started, gpu_bytes=memory.most)


def reason_in(errors: str) -> str:
    """The line of standard error that says why."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("error: ")] or lines
    return told[-1].removeprefix("error: ")[:200] if told else ""


class Memory:
    """The most memory in use on all GPUs within the block, looked at a few times a second."""

    def __init__(self, gpus: int) -> None:
        self.most: int | None = 0 if gpus else None
        self._gpus, self._ended = gpus, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._ended.wait(POLL):
            used = sum(torch.cuda.device_memory_used(gpu) for gpu in range(self._gpus))
            self.most = max(self.most or 0, used)

    def __enter__(self) -> "Memory":
        if self._gpus:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._gpus:
            self._thread.join()


def table(rows: Sequence[Row], machine: str) -> str:
    """As Markdown."""
    lines = [machine, "", "| What | Result | Seconds | GPU memory |", "|---|---|---|---|"]
    for row in rows:
        result = "ok" if row.reason is None else f"failed: {row.reason}" if row.failed else row.reason
        memory = "" if row.gpu_bytes is None else f"{row.gpu_bytes / 1024**3:.1f} GiB"
        lines.append(f"| {row.name} | {result.replace('|', '/')} | {row.seconds:.0f} | {memory} |")
    return "\n".join(lines)


def machine(gpus: int) -> str:
    """Processor or GPUs, and versions."""
    devices = [torch.cuda.get_device_name(gpu) for gpu in range(gpus)] or [f"CPU ({os.cpu_count()} cores)"]
    names = ("pytorch-lightning", "ray", "optuna", "mlflow")
    libraries = ", ".join(f"{name} {version(name)}" for name in names)
    cuda = f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}, " if gpus else ""
    return f"{', '.join(devices)}; {cuda}torch {torch.__version__}, {libraries}, Python {platform.python_version()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu", action="store_true", help="at tiny size, without a GPU")
    on_cpu = parser.parse_args().cpu
    if not on_cpu and not torch.cuda.is_available():
        sys.exit(NO_GPU)
    gpus = 0 if on_cpu else torch.cuda.device_count()
    rows = []
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as temporary:
        folder, out = Path(temporary, "project"), Path(temporary, "out")
        copy_project(folder)
        out.mkdir()
        environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{temporary}/mlflow.db"}
        environment |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"} if on_cpu else {}
        for name, arguments in commands(out, gpus=gpus):
            rows.append(run(name, arguments, folder, environment, gpus=gpus))
            print(table(rows[-1:], "").splitlines()[-1], flush=True)
    print(f"\n{table(rows, machine(gpus))}")
    sys.exit(any(row.failed for row in rows))


if __name__ == "__main__":
    main()
