"""Windows over videos longer than every training clip.

Legend of names: W windows.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darkaction.core.errors import UserError

Span = tuple[float, float]

FPS = 30.0
"""Frames per second of a video that does not tell, and of the training clips: cards count their frames alone."""

MIN_FRAMES = 2
"""Of a window; fewer show no action."""


def rate(fps: float) -> float:
    """Frames per second to count with."""
    return fps if 1 <= fps <= 240 else FPS


def clock(seconds: float) -> str:
    """m:ss.s, or h:mm:ss.s."""
    tenths = round(seconds * 10)
    hours, minutes, rest = tenths // 36000, tenths // 600 % 60, tenths % 600 / 10
    return f"{hours}:{minutes:02}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


@dataclass(frozen=True)
class Windows:
    """How a long video is cut into windows that overlap, in seconds.

    Where `seconds` is None, a video up to the longest training clip is one piece, and windows over a longer one last
    as the mean of the shortest and the longest training clip. Where `stride` is None, it is half a window.

    Raises:
        UserError: for lengths that leave frames out or are none.
    """

    seconds: float | None = None
    stride: float | None = None

    def __post_init__(self) -> None:
        for option, value in (("--window", self.seconds), ("--stride", self.stride)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise UserError(f"{option} {value:g}: expected seconds, a number above 0")
        if self.seconds is not None:
            self.lengths((self.seconds, self.seconds))

    def lengths(self, trained: Span) -> Span:
        """Seconds of a window and of the stride; `trained` are those of the shortest and the longest training clip."""
        seconds = sum(trained) / 2 if self.seconds is None else self.seconds
        stride = seconds / 2 if self.stride is None else self.stride
        if stride > seconds:
            raise UserError(f"--stride {stride:g}: expected at most the {seconds:.3g} s of a window (--window)")
        return seconds, stride

    def cut(self, num_frames: int, fps: float, trained: Span) -> "Cut":
        """The windows over a video. Together they hold every frame; one window is the whole video."""
        seconds, stride = self.lengths(trained)
        length, step = round(seconds * rate(fps)), max(1, round(stride * rate(fps)))
        if length < MIN_FRAMES:
            least = f"expected {MIN_FRAMES / rate(fps):.2g} or more"
            raise UserError(f"--window {seconds:g}: less than {MIN_FRAMES} frames at {rate(fps):g} fps; {least}")
        if num_frames <= (round(trained[1] * rate(fps)) if self.seconds is None else length):
            return whole(num_frames)
        starts_W = np.append(np.arange(0, num_frames - length, step), num_frames - length)
        return Cut(starts_W=starts_W, length=length, step=step, num_frames=num_frames)


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Windows over a video, in frames."""

    starts_W: NDArray[np.int64]
    length: int
    step: int  # between two starts; the last two may be nearer
    num_frames: int  # of the video


def whole(num_frames: int) -> Cut:
    """A video as one window."""
    return Cut(starts_W=np.zeros(1, np.int64), length=num_frames, step=num_frames, num_frames=num_frames)
