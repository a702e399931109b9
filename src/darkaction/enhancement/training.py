"""The training of each enhancement that learns, as its section of params.yaml describes it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from darkaction.core.errors import UserError
from darkaction.core.paths import ROOT, Paths
from darkaction.data.index import OK, read_index
from darkaction.data.video import Frames
from darkaction.enhancement import Enhancer, enlightengan, enlightengan_training, zero_dce, zero_dce_training
from darkaction.enhancement.checks import check_finite
from darkaction.enhancement.networks import save_weights
from darkaction.enhancement.settings import EnlightenGan, ZeroDce
from darkaction.enhancement.training_images import Source, pictures, training_frames

OnEpoch = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained enhancement."""

    images: int  # that it learned from, dark and light
    dark_NHWC: Frames
    enhance: Enhancer
    save: Callable[[Path], None]


def training_clips(dataset: str, paths: Paths) -> list[Source]:
    """The training clips of the first fold. (With two folds the second one's test clips are among them: one enhancer
    serves both. It sees their frames but no labels; metrics.json says so.)"""
    index = read_index(paths.read(Paths.index(dataset)))
    chosen = index[(index["status"] == OK) & (index["fold_0"] == "train")]
    if not len(chosen):
        raise UserError(f"{paths.read(Paths.index(dataset))}: has no training clip to train the enhancement on")
    raw = paths.read(Paths.raw(dataset))
    return [Source(path=raw / path, frames=n) for path, n in zip(chosen["path"], chosen["frames"], strict=True)]


def train_zero_dce(settings: ZeroDce, sources: list[Source], *, seed: int, on_epoch: OnEpoch) -> Trained:
    """Zero-DCE, on frames of clips and then the extra pictures."""
    frames_NHWC = _frames(settings, sources, seed=seed)
    if settings.extra_images is not None:
        folder = ROOT / settings.extra_images  # an absolute path stays as it is
        extra_NHWC = pictures(
            folder,
            most=settings.max_extra_images,
            size=settings.image_size,
            seed=seed,
            key="zero_dce.extra_images",
        )
        frames_NHWC = np.concatenate([frames_NHWC, extra_NHWC])
    network = zero_dce_training.train(frames_NHWC, settings, seed=seed, device=device(), on_epoch=on_epoch)
    check_finite(network, section="zero_dce")
    return Trained(
        images=len(frames_NHWC),
        dark_NHWC=frames_NHWC,
        enhance=partial(zero_dce.enhance_frames, network),
        save=partial(save_weights, network),
    )


def _frames(settings: ZeroDce | EnlightenGan, sources: list[Source], *, seed: int) -> Frames:
    """Training frames as the section of an enhancement says."""
    return training_frames(
        sources,
        images=settings.images,
        size=settings.image_size,
        seed=seed,
        uniform_over=settings.uniform_over,
    )


def train_enlightengan(
    settings: EnlightenGan, sources: list[Source], paths: Paths, *, seed: int, on_epoch: OnEpoch
) -> Trained:
    """EnlightenGAN, on frames of clips and as many images in normal light."""
    dark_NHWC = _frames(settings, sources, seed=seed)
    bright_NHWC = bright_images(settings, paths, seed=seed)
    network = enlightengan_training.train(
        dark_NHWC,
        bright_NHWC,
        settings,
        vgg=None if settings.vgg is None else paths.read(settings.vgg),
        seed=seed,
        device=device(),
        on_epoch=on_epoch,
    )
    check_finite(network, section="enlightengan")
    return Trained(
        images=len(dark_NHWC) + len(bright_NHWC),
        dark_NHWC=dark_NHWC,
        enhance=partial(enlightengan.enhance_frames, network),
        save=partial(save_weights, network),
    )


def bright_images(settings: EnlightenGan, paths: Paths, *, seed: int) -> Frames:
    """Images in normal light: frames of the training clips of a dataset, or the pictures of a folder, whichever
    enlightengan.normal_light_data names.

    Raises:
        UserError: when it names neither.
    """
    if paths.read(f"{Paths.index(settings.normal_light_data)}/index.csv").is_file():
        return _frames(settings, training_clips(settings.normal_light_data, paths), seed=seed)
    folder = ROOT / settings.normal_light_data
    if not folder.is_dir():
        raise UserError(
            f"enlightengan.normal_light_data: '{settings.normal_light_data}' is no indexed dataset (add it to "
            "datasets, and for a synthetic one to synthesize.domains, then dvc repro) and no folder of pictures"
        )
    return pictures(
        folder, most=settings.images, size=settings.image_size, seed=seed, key="enlightengan.normal_light_data"
    )


def device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
