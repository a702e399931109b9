"""Trains Zero-DCE on frames of the target dataset's training clips: -> models/enhancer.

With enhance.method other than zero_dce there is nothing to train, and the folder says only that.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from darkaction import cli, config, layout, tracking
from darkaction.config import Params
from darkaction.datasets.index import OK, read_index
from darkaction.enhancement.contact_sheet import FRAMES, write_contact_sheet
from darkaction.enhancement.training import judge, train
from darkaction.enhancement.training_images import Source, draw_frames, pictures, training_frames
from darkaction.enhancement.zero_dce import save_weights
from darkaction.errors import UserError
from darkaction.folders import new_folder
from darkaction.layout import Layout
from darkaction.tracking import Run
from darkaction.video import Frames

PROBE = 32
"""Training frames, evenly spaced, on which the light before and after is measured."""


def main() -> None:
    arguments = cli.stage_arguments(__doc__)
    params, places = cli.settings(arguments)
    if params.enhance.method != "zero_dce":
        with new_folder(places.write(layout.ENHANCER)) as folder:
            write_json(folder / "metrics.json", {"method": params.enhance.method})
        return
    sources = training_clips(params, places)
    frames_NHWC = read_images(params, sources)
    target = places.write(layout.ENHANCER)
    with tracking.start_run(stage="train_enhancer", params=params, layout=places) as run:
        train_and_write(params, sources, frames_NHWC, target, run)
        run.log_artifact(target)


def training_clips(params: Params, places: Layout) -> list[Source]:
    """The training clips of the first fold of the target. (With two folds the second one's test clips are among them:
    one enhancer serves both. It sees their frames but no labels; metrics.json says so.)"""
    dataset = params.datasets[0]
    index = read_index(places.read(layout.index(dataset)))
    chosen = index[(index["status"] == OK) & (index["fold_0"] == "train")]
    if not len(chosen):
        raise UserError(f"{places.read(layout.index(dataset))}: has no training clip to train Zero-DCE on")
    raw = places.read(layout.raw(dataset))
    return [Source(path=raw / path, frames=n) for path, n in zip(chosen["path"], chosen["frames"], strict=True)]


def read_images(params: Params, sources: list[Source]) -> Frames:
    """What is learnt from: frames of clips, then the extra pictures; frames_NHWC."""
    zero_dce, size = params.zero_dce, params.zero_dce.image_size
    frames_NHWC = training_frames(sources, images=zero_dce.images, size=size, seed=params.seed)
    if zero_dce.extra_images is None:
        return frames_NHWC
    folder = config.ROOT / zero_dce.extra_images  # an absolute path stays as it is
    extra_NHWC = pictures(folder, most=zero_dce.max_extra_images, size=size, seed=params.seed)
    return np.concatenate([frames_NHWC, extra_NHWC])


def train_and_write(params: Params, sources: list[Source], frames_NHWC: Frames, target: Path, run: Run) -> None:
    """Trains, judges and writes weights, metrics and contact sheet to `target`, whole or not at all."""
    history: list[dict[str, float]] = []

    def on_epoch(epoch: int, metrics: dict[str, float]) -> None:
        history.append(metrics)
        run.log_metrics({f"loss.{name}": value for name, value in metrics.items()}, step=epoch)

    settings = params.zero_dce
    network = train(
        frames_NHWC,
        form=settings.losses,
        weights=asdict(settings.weights),
        exposure=settings.exposure,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        grad_clip=settings.grad_clip,
        seed=params.seed,
        device=torch.device("cuda" if torch.cuda.is_available() else "cpu"),
        on_epoch=on_epoch,
    )
    probe_NHWC = frames_NHWC[np.linspace(0, len(frames_NHWC) - 1, PROBE).astype(int)]
    before, after = judge(network, probe_NHWC)
    metrics: dict[str, Any] = {
        "method": "zero_dce",
        "images": len(frames_NHWC),
        "frames_of_test_clips_seen": params.split.folds > 1,
        "loss": history[-1],
        "before": asdict(before),
        "after": asdict(after),
    }
    run.log_metrics({f"after.{name}": value for name, value in asdict(after).items()}, step=settings.epochs - 1)
    with new_folder(target) as folder:
        save_weights(network, folder / "weights.safetensors")
        write_json(folder / "metrics.json", metrics)
        shown = list(draw_frames(sources, images=FRAMES, seed=params.seed + 1))
        write_contact_sheet(folder / "contact_sheet.png", network, shown)
    for name in ("luma", "contrast"):
        print(f"{name} of training frames: {metrics['before'][name]:.1f} -> {metrics['after'][name]:.1f} of 255")


def write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n")


if __name__ == "__main__":
    cli.run(main)
