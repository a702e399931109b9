"""Flip, rotation and translation of a whole clip (section 3.4), and, ours, its size, brightness, sharpness and noise:
one draw per clip, the same for each frame. Optical flow in the last two channels turns with the picture."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from darkaction.data import flow

RGB = 3

COLOUR_TOGETHER = 4
"""Planes that OpenCV warps in one call as an image of so many channels: the same bytes as three at a time, in half the
time."""

FLOW_TOGETHER = 2
"""OpenCV rounds positions to 1/32 of a pixel in images of two channels, and only in those. The flow of recorded results
was warped so."""

LEAST_BLUR = 0.3
"""Pixels; less changes no level."""

Planes = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Augmenter:
    """What may be done to a clip; all zero, and a scale of 1, nothing.

    Args:
        flip: probability.
        rotation: degrees to either side.
        translation: fraction of height and width to either side.
        scale: least and largest factor of size.
        gamma: largest logarithm, to either side, of an exponent of the levels.
        blur: largest standard deviation, pixels.
        noise: largest standard deviation, levels of 255; another draw for every frame.
    """

    flip: float
    rotation: float
    translation: float
    scale: tuple[float, float] = (1.0, 1.0)
    gamma: float = 0.0
    blur: float = 0.0
    noise: float = 0.0

    def __call__(self, clip_CTHW: Planes, rng: np.random.Generator) -> Planes:
        """Augmented uint8 frames of the same shape, C = 3 or, with flow as it is stored, 5. What comes in from outside
        the picture is black and still, as blank frames are, which therefore need not be among these."""
        height, width = clip_CTHW.shape[2:]
        flipped = rng.uniform() < self.flip
        angle = rng.uniform(-self.rotation, self.rotation)
        shift_x = width * rng.uniform(-self.translation, self.translation)
        shift_y = height * rng.uniform(-self.translation, self.translation)
        factor = 1.0 if self.scale == (1.0, 1.0) else float(np.exp(rng.uniform(*np.log(self.scale))))
        if self.rotation or self.translation or factor != 1.0:
            clip_CTHW = warp(clip_CTHW, angle=angle, shift_xy=(shift_x, shift_y), scale=factor)
        if self.gamma or self.blur or self.noise:
            clip_CTHW = np.concatenate([self._filmed(clip_CTHW[:RGB], rng), clip_CTHW[RGB:]])
        return mirror(clip_CTHW) if flipped else clip_CTHW

    def _filmed(self, clip_3THW: Planes, rng: np.random.Generator) -> Planes:
        """The same levels changed, blurred and with noise."""
        exponent = np.exp(rng.uniform(-self.gamma, self.gamma))
        spread = rng.uniform(0, self.blur)
        deviation = rng.uniform(0, self.noise)
        levels = np.rint(255 * (np.arange(256) / 255) ** exponent).astype(np.uint8)
        clip_3THW = levels[clip_3THW]
        if spread > LEAST_BLUR:
            for frame_HW in clip_3THW.reshape(-1, *clip_3THW.shape[2:]):
                cv2.GaussianBlur(frame_HW, (0, 0), spread, dst=frame_HW)
        if deviation:
            noisy = clip_3THW + deviation * rng.standard_normal(clip_3THW.shape, np.float32)
            clip_3THW = np.rint(noisy).clip(0, 255).astype(np.uint8)
        return clip_3THW


def warp(clip_CTHW: Planes, *, angle: float, shift_xy: tuple[float, float], scale: float = 1.0) -> Planes:
    """Each frame rotated about its centre by `angle` degrees (counter-clockwise), enlarged by `scale` and shifted by
    `shift_xy` pixels."""
    height, width = clip_CTHW.shape[2:]
    matrix = np.asarray(cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, scale), np.float64)
    turn = matrix[:, :2].astype(np.float32)
    matrix[:, 2] += np.array(shift_xy)
    colour_3THW = _warp_planes(clip_CTHW[:RGB], matrix, border=0, together=COLOUR_TOGETHER)
    if len(clip_CTHW) == RGB:
        return colour_3THW
    motion_2THW = _warp_planes(clip_CTHW[RGB:], matrix, border=flow.STILL, together=FLOW_TOGETHER)
    turned_THW2 = flow.restore(motion_2THW).transpose(1, 2, 3, 0) @ turn.T
    return np.concatenate([colour_3THW, flow.quantise(turned_THW2).transpose(3, 0, 1, 2)])


def _warp_planes(clip_CTHW: Planes, matrix: NDArray[np.float64], *, border: int, together: int) -> Planes:
    """Warps every plane (H, W) of a clip, as images of so many planes `together`."""
    height, width = clip_CTHW.shape[2:]
    planes_PHW = clip_CTHW.reshape(-1, height, width)
    images = -(-len(planes_PHW) // together)
    # The first image has plane 0 of each part. Parts overlap where the planes cannot be divided evenly.
    starts = [min(part * images, len(planes_PHW) - images) for part in range(together)]
    image_NHWP = np.empty((images, height, width, together), dtype=np.uint8)
    cv2.merge(
        [planes_PHW[start : start + images].reshape(-1, width) for start in starts],
        image_NHWP.reshape(-1, width, together),
    )
    warped_NHWP = np.empty_like(image_NHWP)
    for image_HWP, warped_HWP in zip(image_NHWP, warped_NHWP, strict=True):
        cv2.warpAffine(image_HWP, matrix, (width, height), dst=warped_HWP, borderValue=(border,) * 4)
    result_PHW = np.empty_like(planes_PHW)
    cv2.split(
        warped_NHWP.reshape(-1, width, together),
        [result_PHW[start : start + images].reshape(-1, width) for start in starts],
    )
    return result_PHW.reshape(clip_CTHW.shape)


def mirror(clip_CTHW: Planes) -> Planes:
    """Left and right exchanged; motion to the left becomes motion to the right."""
    rows = clip_CTHW.reshape(-1, clip_CTHW.shape[-1])
    mirrored_CTHW = np.asarray(cv2.flip(rows, 1), np.uint8).reshape(clip_CTHW.shape)
    if len(clip_CTHW) > RGB:
        mirrored_CTHW[RGB] = 2 * flow.STILL - mirrored_CTHW[RGB].astype(np.int16)
    return mirrored_CTHW
