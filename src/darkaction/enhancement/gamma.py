"""Gamma correction, the paper's first baseline (table 1): one fixed curve for every pixel of every clip."""

import numpy as np

from darkaction.data.video import Frames


def gamma_table(gamma: float) -> Frames:
    """out = in^(1 / gamma) for in = 0..255 taken as [0, 1]: 256 uint8 levels. Above 1 brightens.

    Raises:
        ValueError: when gamma is not above 0.
    """
    if not gamma > 0:
        raise ValueError(f"gamma is {gamma}; valid: above 0")
    return np.rint(255 * (np.arange(256) / 255) ** (1 / gamma)).astype(np.uint8)


def correct_gamma(table: Frames, frames_NHWC: Frames) -> Frames:
    """Looks every value of uint8 frames of any shape up in a table of `gamma_table`."""
    return table[frames_NHWC]
