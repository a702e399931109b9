"""Flip, rotation and translation of a whole clip (section 3.4): one draw per clip, the same for each frame."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Augmenter:
    """flip: probability; rotation: degrees; translation: fraction of height and width. Zero each: nothing happens."""

    flip: float
    rotation: float
    translation: float

    def __call__(self, frames_THWC: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """Augmented uint8 frames of the same shape. What comes in from outside the picture is black."""
        height, width = frames_THWC.shape[1:3]
        flipped = rng.uniform() < self.flip
        angle = rng.uniform(-self.rotation, self.rotation)
        shift_x = width * rng.uniform(-self.translation, self.translation)
        shift_y = height * rng.uniform(-self.translation, self.translation)
        if self.rotation or self.translation:
            frames_THWC = warp(frames_THWC, angle=angle, shift_xy=(shift_x, shift_y))
        return frames_THWC[:, :, ::-1] if flipped else frames_THWC


def warp(frames_THWC: NDArray[np.uint8], *, angle: float, shift_xy: tuple[float, float]) -> NDArray[np.uint8]:
    """Each frame rotated about its centre by `angle` degrees (counter-clockwise) and shifted by `shift_xy` pixels."""
    height, width = frames_THWC.shape[1:3]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    matrix[:, 2] += np.array(shift_xy)
    warped = np.empty_like(frames_THWC)
    for t, frame_HWC in enumerate(frames_THWC):
        cv2.warpAffine(frame_HWC, matrix, (width, height), dst=warped[t])
    return warped
