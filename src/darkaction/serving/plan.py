"""Which frames of a video the networks are shown.

Legend of names: D sampling draws, M frames that are in a draw, N needed frames, T sampled frames.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darkaction.data.flow import between
from darkaction.data.video import Frames


class Decoded:
    """Frames in memory, and their flow where it was asked for."""

    def __init__(self, frames_MHWC: Frames, flow_MHW2: Frames | None) -> None:
        self._frames_MHWC = frames_MHWC
        self._flow_MHW2 = flow_MHW2

    def load(self, clip_id: str) -> Frames:
        """frames_MHWC."""
        return self._frames_MHWC

    def load_flow(self, clip_id: str) -> Frames:
        """flow_MHW2."""
        assert self._flow_MHW2 is not None
        return self._flow_MHW2


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which frames of a clip or window are shown to the networks."""

    num_frames: int
    draws: list[NDArray[np.int64]]  # (D, T) of each network, BLANK for padding
    wanted: NDArray[np.int64]  # (M,) frames that are in a draw, in order
    flow: bool

    @property
    def needed(self) -> NDArray[np.int64]:
        """Frames to enhance, in order: the flow of a frame needs the next one, that of the last one the one before."""
        return np.unique(np.concatenate([self.wanted, *self._pairs()])) if self.flow else self.wanted

    def _pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        following = np.minimum(self.wanted + 1, self.num_frames - 1)
        return np.maximum(following - 1, 0), following

    def decoded(self, frames_NHWC: Frames) -> Decoded:
        """The wanted ones of the needed frames, with their flow as flow.py defines it."""
        needed = self.needed
        frames_MHWC = frames_NHWC[np.searchsorted(needed, self.wanted)]
        if not self.flow:
            return Decoded(frames_MHWC, None)
        pairs = zip(*(np.searchsorted(needed, side) for side in self._pairs()), strict=True)
        flow_MHW2 = np.stack([between(frames_NHWC[first], frames_NHWC[second]) for first, second in pairs])
        return Decoded(frames_MHWC, flow_MHW2)
