"""Histogram equalisation: each frame's levels are spread so that every level is about as frequent as another."""

import cv2
import numpy as np

from darkaction.data.video import Frames


def equalize(frames_NHWC: Frames) -> Frames:
    """Equalises the luma (BT.601) of uint8 RGB frames, each by its own histogram; colour differences stay."""
    return np.stack([_equalized(frame) for frame in frames_NHWC])


def _equalized(frame_HWC: Frames) -> Frames:
    luma_and_colour = cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2YCrCb)
    luma_and_colour[:, :, 0] = cv2.equalizeHist(luma_and_colour[:, :, 0])
    return np.asarray(cv2.cvtColor(luma_and_colour, cv2.COLOR_YCrCb2RGB), np.uint8)
