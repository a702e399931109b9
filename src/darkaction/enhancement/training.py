"""Training of Zero-DCE without references (sections 3.2 and 4.1): Adam on the weighted losses of equations 1-5.

A network that small can learn to leave images dark or to paint them grey; `judge` refuses both.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from darkaction.core.errors import UserError
from darkaction.data.video import Frames
from darkaction.enhancement import Enhancer, losses
from darkaction.enhancement.zero_dce import ZeroDCE, initialise

LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G, B in the luma of BT.601."""


@dataclass(frozen=True, kw_only=True)
class Light:
    """How bright and how rich in contrast frames are, in grey levels 0..255."""

    luma: float
    contrast: float


@dataclass(frozen=True, kw_only=True)
class Remedies:
    """What to change where enhanced frames are darker or flatter than before."""

    darker: str
    flatter: str


ZERO_DCE_REMEDIES = Remedies(
    darker="raise zero_dce.exposure, zero_dce.weights.exp, zero_dce.epochs or zero_dce.images",
    flatter="raise zero_dce.weights.spa, lower zero_dce.weights.exp, or set zero_dce.losses to published",
)

ENLIGHTENGAN_REMEDIES = Remedies(
    darker="raise enlightengan.epochs or enlightengan.images, or brighter images in enlightengan.normal_light_data",
    flatter="raise enlightengan.epochs or enlightengan.images, or more contrast in enlightengan.normal_light_data",
)


def train(
    frames_NHWC: Frames,
    *,
    form: str,
    weights: Mapping[str, float],
    exposure: float,
    epochs: int,
    batch_size: int,
    lr: float,
    weight_decay: float,
    grad_clip: float,
    seed: int,
    device: torch.device,
    on_epoch: Callable[[int, dict[str, float]], None],
) -> ZeroDCE:
    """Trains a network on uint8 images (N, H, W, 3), H and W at least 32; the same seed gives the same network.

    Args:
        form: paper or published, see `losses.FORMS`.
        weights: of the loss terms by name.
        exposure: E of equation 2, in [0, 1].
        grad_clip: largest norm of the gradient.
        on_epoch: called with the epoch (from 0) and the mean of each loss term and of the weighted `total`.

    Raises:
        UserError: as soon as a loss is not finite.
    """
    network = ZeroDCE(curve_scale=1.0)
    initialise(network, seed=seed)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(network.parameters(), lr=lr, weight_decay=weight_decay)
    order = torch.Generator().manual_seed(seed)
    images = torch.from_numpy(frames_NHWC).permute(0, 3, 1, 2)
    with tqdm(total=epochs * len(images), desc="Zero-DCE", unit="image") as progress:
        for epoch in range(epochs):
            sums: dict[str, float] = {}
            for batch in torch.randperm(len(images), generator=order).split(batch_size):
                image_BCHW = images[batch].to(device).float() / 255
                terms = losses.FORMS[form](image_BCHW, *network(image_BCHW), exposure=exposure)
                terms |= {"total": losses.total(terms, weights)}
                optimizer.zero_grad()
                terms["total"].backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), grad_clip)
                optimizer.step()
                _add(sums, terms, share=len(batch) / len(images), epoch=epoch)
                progress.update(len(batch))
            progress.set_postfix(loss=f"{sums['total']:.4g}")
            on_epoch(epoch, sums)
    return network.eval().requires_grad_(False)


def _add(sums: dict[str, float], terms: losses.Terms, *, share: float, epoch: int) -> None:
    """Adds a batch's terms, weighted by its share of the epoch's images."""
    for name, value in terms.items():
        number = value.item()
        if not math.isfinite(number):
            raise UserError(
                f"training of Zero-DCE: the loss '{name}' is {number} in epoch {epoch}; lower zero_dce.lr or "
                "zero_dce.grad_clip"
            )
        sums[name] = sums[name] + share * number if name in sums else share * number


def light(frames_NHWC: Frames) -> Light:
    """Mean luma (BT.601) and the standard deviation of luma over the pixels of a frame, averaged over frames."""
    luma_NHW = frames_NHWC.astype(np.float32) @ np.array(LUMA, dtype=np.float32)
    return Light(luma=float(luma_NHW.mean()), contrast=float(luma_NHW.std(axis=(1, 2)).mean()))


def judge(enhance: Enhancer, probe_NHWC: Frames, *, remedies: Remedies) -> tuple[Light, Light]:
    """Light of the probe frames before and after enhancement.

    Raises:
        UserError: when it makes frames darker or flatter than it was given, with the remedy.
    """
    before, after = light(probe_NHWC), light(enhance(probe_NHWC))
    if after.luma <= before.luma:
        raise UserError(
            f"training of the enhancement: enhanced frames are darker (mean luma {before.luma:.1f} -> "
            f"{after.luma:.1f} of 255); {remedies.darker}"
        )
    if after.contrast < before.contrast:
        raise UserError(
            f"training of the enhancement: enhanced frames are flatter (standard deviation of luma "
            f"{before.contrast:.1f} -> {after.contrast:.1f} of 255); {remedies.flatter}"
        )
    return before, after


def check_finite(network: nn.Module, *, section: str) -> None:
    """Raises:
    UserError: when a training with the settings of `section` made weights that are no numbers.
    """
    if not all(bool(weight.isfinite().all()) for weight in network.parameters()):
        raise UserError(f"training of the enhancement: weights are not finite; lower {section}.lr")
