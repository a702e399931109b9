"""Trains the enhancement that enhance.method names, on frames of the target's training clips: -> models/enhancer.

With none and gamma there is nothing to train, and the folder says only that.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from darkaction.core import cli
from darkaction.core.errors import UserError
from darkaction.core.folders import new_folder
from darkaction.core.paths import ROOT, Paths
from darkaction.data.index import OK, read_index, require_settings
from darkaction.data.video import Frames
from darkaction.enhancement import Enhancer, enlightengan, enlightengan_training, training, zero_dce
from darkaction.enhancement.contact_sheet import FRAMES, write_contact_sheet
from darkaction.enhancement.training import Remedies, check_finite, judge
from darkaction.enhancement.training_images import Source, draw_frames, pictures, training_frames
from darkaction.jobs.identity import enhancer_settings, index_settings
from darkaction.params import Params, settings_of
from darkaction.tracking.runs import Run, start_run

PROBE = 32
"""Training frames, evenly spaced, on which the light before and after is measured."""

OnEpoch = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained enhancement."""

    images: int  # that were learnt from, dark and light
    dark_NHWC: Frames
    enhance: Enhancer
    save: Callable[[Path], None]
    remedies: Remedies


def main() -> None:
    arguments = cli.stage_arguments(__doc__)
    params, paths = settings_of(arguments)
    train_enhancer(params, paths)


def train_enhancer(params: Params, paths: Paths) -> None:
    """Makes models/enhancer."""
    method, target = params.enhance.method, paths.write(Paths.ENHANCER)
    if method not in TRAININGS:
        with new_folder(target) as folder:
            write_json(folder / "metrics.json", {"method": method})
        return
    dataset = params.datasets[0]
    require_settings(paths.read(Paths.index(dataset)), index_settings(params)[dataset])
    sources = training_clips(dataset, paths)
    with start_run(stage="train_enhancer", params=params, paths=paths) as run:
        train_and_write(params, paths, sources, target, run)
        run.log_artifact(target)


def training_clips(dataset: str, paths: Paths) -> list[Source]:
    """The training clips of the first fold. (With two folds the second one's test clips are among them: one enhancer
    serves both. It sees their frames but no labels; metrics.json says so.)"""
    index = read_index(paths.read(Paths.index(dataset)))
    chosen = index[(index["status"] == OK) & (index["fold_0"] == "train")]
    if not len(chosen):
        raise UserError(f"{paths.read(Paths.index(dataset))}: has no training clip to train the enhancement on")
    raw = paths.read(Paths.raw(dataset))
    return [Source(path=raw / path, frames=n) for path, n in zip(chosen["path"], chosen["frames"], strict=True)]


def train_zero_dce(params: Params, paths: Paths, sources: list[Source], on_epoch: OnEpoch) -> Trained:
    """Zero-DCE, on frames of clips and then the extra pictures."""
    settings = params.zero_dce
    frames_NHWC = training_frames(sources, images=settings.images, size=settings.image_size, seed=params.seed)
    if settings.extra_images is not None:
        folder = ROOT / settings.extra_images  # an absolute path stays as it is
        extra_NHWC = pictures(
            folder,
            most=settings.max_extra_images,
            size=settings.image_size,
            seed=params.seed,
            key="zero_dce.extra_images",
        )
        frames_NHWC = np.concatenate([frames_NHWC, extra_NHWC])
    network = training.train(
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
        device=device(),
        on_epoch=on_epoch,
    )
    check_finite(network, section="zero_dce")
    return Trained(
        images=len(frames_NHWC),
        dark_NHWC=frames_NHWC,
        enhance=partial(zero_dce.enhance_frames, network),
        save=partial(zero_dce.save_weights, network),
        remedies=training.ZERO_DCE_REMEDIES,
    )


def train_enlightengan(params: Params, paths: Paths, sources: list[Source], on_epoch: OnEpoch) -> Trained:
    """EnlightenGAN, on frames of clips and as many light images."""
    settings = params.enlightengan
    dark_NHWC = training_frames(sources, images=settings.images, size=settings.image_size, seed=params.seed)
    bright_NHWC = bright_images(params, paths)
    network = enlightengan_training.train(
        dark_NHWC,
        bright_NHWC,
        base_width=settings.base_width,
        discriminator_width=settings.discriminator_width,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        lr=settings.lr,
        discriminator_rate=settings.discriminator_rate,
        patches=settings.patches,
        patch_size=settings.patch_size,
        seed=params.seed,
        device=device(),
        vgg=None if settings.vgg is None else paths.read(settings.vgg),
        on_epoch=on_epoch,
    )
    check_finite(network, section="enlightengan")
    return Trained(
        images=len(dark_NHWC) + len(bright_NHWC),
        dark_NHWC=dark_NHWC,
        enhance=partial(enlightengan.enhance_frames, network),
        save=partial(enlightengan.save_weights, network),
        remedies=training.ENLIGHTENGAN_REMEDIES,
    )


def bright_images(params: Params, paths: Paths) -> Frames:
    """Images in normal light: frames of the training clips of a dataset, or the pictures of a folder, whichever
    enlightengan.normal_light_data names.

    Raises:
        UserError: when it names neither.
    """
    settings = params.enlightengan
    if paths.read(f"{Paths.index(settings.normal_light_data)}/index.csv").is_file():
        return training_frames(
            training_clips(settings.normal_light_data, paths),
            images=settings.images,
            size=settings.image_size,
            seed=params.seed,
        )
    folder = ROOT / settings.normal_light_data
    if not folder.is_dir():
        raise UserError(
            f"enlightengan.normal_light_data: '{settings.normal_light_data}' is no indexed dataset (add it to "
            "datasets, and for a synthetic one "
            "to synthesize.domains, then dvc repro) and no folder of pictures"
        )
    return pictures(
        folder, most=settings.images, size=settings.image_size, seed=params.seed, key="enlightengan.normal_light_data"
    )


def train_and_write(params: Params, paths: Paths, sources: list[Source], target: Path, run: Run) -> None:
    """Trains, judges and writes weights, metrics and contact sheet to `target`, whole or not at all."""
    history: list[dict[str, float]] = []

    def on_epoch(epoch: int, metrics: dict[str, float]) -> None:
        history.append(metrics)
        run.log_metrics({f"loss.{name}": value for name, value in metrics.items()}, step=epoch)

    trained = TRAININGS[params.enhance.method](params, paths, sources, on_epoch)
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


def device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n")


TRAININGS = {"zero_dce": train_zero_dce, "enlightengan": train_enlightengan}
"""enhance.method -> its training."""


if __name__ == "__main__":
    cli.run(main)
