"""Flip, rotation and translation of a whole clip (section 3.4): one draw per clip, the same for each frame. Optical
flow in the last two channels turns with the picture."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from darkaction.data import flow

RGB = 3


@dataclass(frozen=True, kw_only=True)
class Augmenter:
    """flip: probability; rotation: degrees; translation: fraction of height and width. Zero each: nothing happens."""

    flip: float
    rotation: float
    translation: float

    def __call__(self, frames_THWC: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """Augmented uint8 frames of the same shape, C = 3 or, with flow as it is stored, 5. What comes in from outside
        the picture is black and still."""
        height, width = frames_THWC.shape[1:3]
        flipped = rng.uniform() < self.flip
        angle = rng.uniform(-self.rotation, self.rotation)
        shift_x = width * rng.uniform(-self.translation, self.translation)
        shift_y = height * rng.uniform(-self.translation, self.translation)
        if self.rotation or self.translation:
            frames_THWC = warp(frames_THWC, angle=angle, shift_xy=(shift_x, shift_y))
        return mirror(frames_THWC) if flipped else frames_THWC


def warp(frames_THWC: NDArray[np.uint8], *, angle: float, shift_xy: tuple[float, float]) -> NDArray[np.uint8]:
    """Each frame rotated about its centre by `angle` degrees (counter-clockwise) and shifted by `shift_xy` pixels."""
    height, width = frames_THWC.shape[1:3]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    turn = matrix[:, :2].astype(np.float32)
    matrix[:, 2] += np.array(shift_xy)
    warped = np.empty_like(frames_THWC)
    for t, frame_HWC in enumerate(frames_THWC):
        if frame_HWC.shape[-1] == RGB:
            cv2.warpAffine(frame_HWC, matrix, (width, height), dst=warped[t])
            continue
        colour, motion = np.split(frame_HWC, [RGB], axis=-1)
        warped[t, ..., :RGB] = cv2.warpAffine(colour, matrix, (width, height))
        still = (flow.STILL, flow.STILL)
        moved_HW2 = cv2.warpAffine(motion, matrix, (width, height), borderValue=still)
        warped[t, ..., RGB:] = flow.quantise(flow.restore(np.asarray(moved_HW2, dtype=np.uint8)) @ turn.T)
    return warped


def mirror(frames_THWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Left and right exchanged; motion to the left becomes motion to the right."""
    mirrored = frames_THWC[:, :, ::-1]
    if frames_THWC.shape[-1] > RGB:
        mirrored = mirrored.copy()
        mirrored[..., RGB] = 2 * flow.STILL - mirrored[..., RGB].astype(np.int16)
    return mirrored
