"""Twenty steps of the demo's training on small seeded clips; tests/reference/loss_curve.json holds their losses.

`python tests/golden_curve.py` writes that file anew, after a change of training that is meant.
"""

import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import torch
from pytorch_lightning.accelerators import CUDAAccelerator, MPSAccelerator
from safetensors.torch import load_file

sys.path.append(str(Path(__file__).resolve().parents[1] / "src"))  # where pytest does not set it

import golden
from darkaction.core.paths import Paths
from darkaction.jobs.recognizer.recipe import train_fold
from darkaction.params import Params
from darkaction.training.weights import WEIGHTS
from stores import make_store

CURVE = golden.REFERENCE / "loss_curve.json"

SETTINGS = (
    "enhance.height=24", "enhance.width=24", "sampling.num_frames=8", "train.epochs=10", "train.batch_size=8",
    "train.precision=fp32", "bert.head_dropout=0",  # masks of dropout differ between builds of torch
    "optimizer.max_lr=0.001", "optimizer.weight_decay=0.1",  # one that twenty steps show
)  # fmt: skip
"""Laid over the profile demo: its network and method, ten epochs of two steps."""


def frames_of(number: int) -> np.ndarray:
    """Noise (N, 24, 24, 3), and in it a bright bar that moves at a speed of its class."""
    frames_NHWC = (24 * (1 + golden.hash_uniform(f"curve.{number}", (20 + number % 7, 24, 24, 3)))).astype(np.uint8)
    for n, frame_HWC in enumerate(frames_NHWC):
        place = (5 * number + n * (number % 6 - 2)) % 24
        frame_HWC[place : place + 4, :, number % 3] += 150
    return frames_NHWC


def clips_in(folder: Path, classes: list[str]) -> pd.DataFrame:
    """A store of 16 training and 6 validation clips, and their lines of the index."""
    stored, rows = {}, []
    for number in range(22):
        frames_NHWC = frames_of(number)
        clip_id = f"demo/Clip_{number}"
        stored[clip_id] = frames_NHWC
        label, part = classes[number % len(classes)], "train" if number < 16 else "val"
        rows.append((clip_id, "demo", label, len(frames_NHWC), str(number), part))
    make_store(folder, stored)
    table = pd.DataFrame(rows, columns=["clip_id", "dataset", "label", "frames", "sha256", "fold_0"])
    return table.assign(scene=[str(number) for number in range(len(table))], luma=128.0, height=24, width=24)


def curve(*changes: str) -> dict[str, list[float]]:
    """The metrics of each epoch and the norm of the weights at the end, on the CPU with one thread; `changes` are
    settings laid over SETTINGS."""
    params = Params.load(profile="demo", overrides=[*SETTINGS, *changes])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    epochs: list[dict[str, float]] = []
    try:
        with contextlib.ExitStack() as stack:
            name = stack.enter_context(tempfile.TemporaryDirectory())
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            for accelerator in (CUDAAccelerator, MPSAccelerator):  # whose rounding is another
                stack.enter_context(mock.patch.object(accelerator, "is_available", return_value=False))
            paths = Paths(root=Path(name))
            clips = clips_in(paths.write(Paths.clips("demo")), params.data.classes)
            folder = paths.write("model/fold_0")
            folder.mkdir()
            train_fold(
                params, paths, clips, 0, folder, checkpoints=Path(name, "state"), init=None, max_steps=None,
                on_epoch=lambda _, row: epochs.append(row),
            )  # fmt: skip
            weights = load_file(folder / WEIGHTS)
    finally:
        torch.set_num_threads(threads)
    squares = sum(weight.double().square().sum().item() for key, weight in weights.items() if "running" not in key)
    metrics = {key: [row[key] for row in epochs] for key in ("train_loss", "val_loss", "learning_rate")}
    return metrics | {"norm": [squares**0.5]}


if __name__ == "__main__":
    text = {key: [float(f"{value:.7g}") for value in values] for key, values in curve().items()}
    CURVE.write_text(json.dumps(text, indent=0) + "\n")
