"""Optical flow between the frames of a clip, as two more channels of 8 bits (section 4.3, study 4).

    frames_NHWC ── grey ── Farnebäck ── flow_NHW2 ── quantised: 128 is no motion, 8 steps are a pixel

The paper names the method and nothing else. Ours: from each frame to the next (the last frame repeats the one before
it), on the enhanced frames at the network's size, with OpenCV's parameters from its tutorial scaled to small frames.
"""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from darkaction.data.video import Frames

STILL = 128
"""The stored value of no motion; also that of blank frames."""

STEPS_PER_PIXEL = 8
"""So that motion of up to 15.9 pixels from frame to frame is stored to an eighth of a pixel."""


def quantise(flow_HW2: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Pixels of motion -> stored values; longer motion is cut."""
    return np.rint(flow_HW2 * STEPS_PER_PIXEL + STILL).clip(1, 255).astype(np.uint8)


def restore(stored: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Stored values -> pixels of motion."""
    return (stored.astype(np.float32) - np.float32(STILL)) / np.float32(STEPS_PER_PIXEL)


def between(first_HWC: Frames, second_HWC: Frames) -> NDArray[np.uint8]:
    """The stored flow from one RGB frame to the next: (H, W, 2) of x to the right and y downwards."""
    first_HW, second_HW = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (first_HWC, second_HWC))
    flow_HW2 = np.zeros((*first_HW.shape, 2), dtype=np.float32)
    cv2.calcOpticalFlowFarneback(
        first_HW,
        second_HW,
        flow_HW2,
        pyr_scale=0.5,
        levels=3,
        winsize=9,
        iterations=3,
        poly_n=5,
        poly_sigma=1.1,
        flags=0,
    )
    return quantise(flow_HW2)


def of_frames(chunks: Iterable[Frames]) -> Iterator[NDArray[np.uint8]]:
    """The stored flow of a clip whose frames come in chunks: flow_NHW2 chunks, as many frames in sum."""
    last_HWC: Frames | None = None
    flow_HW2: NDArray[np.uint8] | None = None
    for chunk_NHWC in chunks:
        found = []
        for frame_HWC in chunk_NHWC:
            if last_HWC is not None:
                flow_HW2 = between(last_HWC, frame_HWC)
                found.append(flow_HW2)
            last_HWC = frame_HWC
        if found:
            yield np.stack(found)
    if last_HWC is not None:
        yield (np.full((*last_HWC.shape[:2], 2), STILL, dtype=np.uint8) if flow_HW2 is None else flow_HW2)[None]
