"""What shows that a training went wrong: losses or weights that are no numbers, darker or flatter frames."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from darkaction.core.errors import UserError
from darkaction.data.video import Frames
from darkaction.enhancement import Enhancer

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


REMEDIES = {
    "zero_dce": Remedies(
        darker="raise zero_dce.exposure, zero_dce.weights.exp, zero_dce.epochs or zero_dce.images",
        flatter="raise zero_dce.weights.spa, lower zero_dce.weights.exp, or set zero_dce.losses to published",
    ),
    "enlightengan": Remedies(
        darker="raise enlightengan.epochs or enlightengan.images, or brighter images in enlightengan.normal_light_data",
        flatter="raise enlightengan.epochs or enlightengan.images, or more contrast in enlightengan.normal_light_data",
    ),
}
"""By method."""


def add_terms(
    sums: dict[str, float], terms: Mapping[str, torch.Tensor], *, share: float, epoch: int, network: str, remedy: str
) -> None:
    """Adds the loss terms of a batch, weighted by its share of the epoch's images.

    Raises:
        UserError: naming `network`, the term and `remedy`, where a term is not finite.
    """
    for name, value in terms.items():
        number = value.item()
        if not math.isfinite(number):
            raise UserError(f"training of {network}: the loss '{name}' is {number} in epoch {epoch}; {remedy}")
        sums[name] = sums.get(name, 0.0) + share * number


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
