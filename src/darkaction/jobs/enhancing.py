"""The enhancement of a dataset, and the training of the enhancement, as params.yaml describes them."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from darkaction.core.agreement import recorded_in, require_same
from darkaction.core.errors import UserError
from darkaction.core.folders import new_folder
from darkaction.core.paths import Paths
from darkaction.core.processes import usable_processors
from darkaction.data.index import OK, read_index, require_settings
from darkaction.enhancement import LEARNT
from darkaction.enhancement.apply import Clip, Settings, enhance_dataset
from darkaction.enhancement.contact_sheet import FRAMES, write_contact_sheet
from darkaction.enhancement.training import judge
from darkaction.enhancement.training_images import Source, draw_frames
from darkaction.enhancement.trainings import train_enlightengan, train_zero_dce, training_clips
from darkaction.jobs.identity import enhancer_settings, index_settings
from darkaction.params import Params
from darkaction.tracking.runs import Run, start_run

PROBE = 32
"""Training frames, evenly spaced, on which the light before and after is measured."""

TRAIN = "python src/train_enhancer.py"


def run_stage(params: Params, paths: Paths, name: str) -> None:
    """The stage `enhance` of the dataset `name`.

    Raises:
        UserError: when it is no dataset in use, or its index or the enhancer was made with other settings.
    """
    if name not in params.datasets:
        raise UserError(f"dataset '{name}' is not one of datasets in params.yaml: {', '.join(params.datasets)}")
    require_settings(paths.read(Paths.index(name)), index_settings(params)[name])
    weights = paths.read(Paths.ENHANCER) / "weights.safetensors"
    enhance(paths, name, settings(params, name, weights=weights), paths.write(Paths.clips(name)))


def enhance(paths: Paths, name: str, used: Settings, store: Path) -> None:
    """Makes the clip store of a dataset."""
    index = read_index(paths.read(Paths.index(name)))
    raw = paths.read(Paths.raw(name))
    usable = index[index["status"] == OK]
    clips = [
        Clip(clip_id=clip_id, path=raw / path, frames=frames)
        for clip_id, path, frames in zip(usable["clip_id"], usable["path"], usable["frames"], strict=True)
    ]
    enhance_dataset(clips, store, used, workers=usable_processors())


def settings(params: Params, name: str, *, weights: Path) -> Settings:
    """How the clips of a dataset are enhanced, with the weights of a method that learns.

    Raises:
        UserError: when these were trained with other settings.
    """
    method = params.enhance.method if params.enhance.apply[name] else "none"
    if method in LEARNT:
        recorded = recorded_in(weights.with_name("metrics.json"), section="settings", command=TRAIN)
        require_same(recorded, enhancer_settings(params), made=weights.parent, command=TRAIN)
    return Settings(
        method=method,
        gamma=params.enhance.gamma,
        weights=weights,
        curve_scale=params.enhance.curve_scale,
        device="cuda" if torch.cuda.is_available() else "cpu",
        height=params.enhance.height,
        width=params.enhance.width,
        flow=params.enhance.flow,
    )


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
    before, after = judge(trained.enhance, probe_NHWC, remedies=trained.remedies)
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
        shown = list(draw_frames(sources, images=FRAMES, seed=params.seed + 1))
        write_contact_sheet(folder / "contact_sheet.png", trained.enhance, shown)
    for name in ("luma", "contrast"):
        print(f"{name} of training frames: {metrics['before'][name]:.1f} -> {metrics['after'][name]:.1f} of 255")


def write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n")
