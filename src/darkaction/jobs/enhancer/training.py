"""The stage `train_enhancer`: trains the enhancement that enhance.method names: -> models/enhancer."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from darkaction.core.folders import new_folder
from darkaction.core.paths import Paths
from darkaction.data.index import require_settings
from darkaction.enhancement import LEARNT
from darkaction.enhancement.checks import REMEDIES, judge
from darkaction.enhancement.contact_sheet import FRAMES, write_contact_sheet
from darkaction.enhancement.training import train_enlightengan, train_zero_dce, training_clips
from darkaction.enhancement.training_images import Source, draw_frames
from darkaction.jobs.identity import enhancer_settings, index_settings
from darkaction.params import Params
from darkaction.tracking.runs import Run, start_run

PROBE = 32
"""Training frames, evenly spaced, on which the light before and after is measured."""


def train_enhancer(params: Params, paths: Paths) -> None:
    """Makes models/enhancer."""
    method, target = params.enhance.method, paths.write(Paths.ENHANCER)
    if method not in LEARNT:
        with new_folder(target) as folder:
            write_json(folder / "metrics.json", {"method": method})
        return
    dataset = params.datasets[0]
    require_settings(paths.read(Paths.index(dataset)), index_settings(params)[dataset])
    sources = training_clips(dataset, paths)
    with start_run(stage="train_enhancer", params=params, paths=paths) as run:
        train_and_write(params, paths, sources, target, run)
        run.log_artifact(target)


def train_and_write(params: Params, paths: Paths, sources: list[Source], target: Path, run: Run) -> None:
    """Trains, judges and writes weights, metrics and contact sheet to `target`, whole or not at all."""
    history: list[dict[str, float]] = []

    def on_epoch(epoch: int, metrics: dict[str, float]) -> None:
        history.append(metrics)
        run.log_metrics({f"loss.{name}": value for name, value in metrics.items()}, step=epoch)

    if params.enhance.method == "zero_dce":
        trained = train_zero_dce(params.zero_dce, sources, seed=params.seed, on_epoch=on_epoch)
    else:
        trained = train_enlightengan(params.enlightengan, sources, paths, seed=params.seed, on_epoch=on_epoch)
    probe_NHWC = trained.dark_NHWC[np.linspace(0, len(trained.dark_NHWC) - 1, PROBE).astype(int)]
    before, after = judge(trained.enhance, probe_NHWC, remedies=REMEDIES[params.enhance.method])
    metrics: dict[str, Any] = {
        "method": params.enhance.method,
        "settings": enhancer_settings(params),
        "images": trained.images,
        "frames_of_test_clips_seen": params.split.folds > 1,
        "loss": history[-1],
        "before": asdict(before),
        "after": asdict(after),
    }
    run.log_metrics({f"after.{name}": value for name, value in asdict(after).items()}, step=len(history) - 1)
    run.describe(f"luma {before.luma:.0f} -> {after.luma:.0f}, contrast {before.contrast:.0f} -> {after.contrast:.0f}")
    with new_folder(target) as folder:
        trained.save(folder / "weights.safetensors")
        write_json(folder / "metrics.json", metrics)
        shown = list(draw_frames(sources, images=FRAMES, seed=params.seed + 1, uniform_over="frames"))
        write_contact_sheet(folder / "contact_sheet.png", trained.enhance, shown)
    for name in ("luma", "contrast"):
        print(f"{name} of training frames: {metrics['before'][name]:.1f} -> {metrics['after'][name]:.1f} of 255")


def write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n")
