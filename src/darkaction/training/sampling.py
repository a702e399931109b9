"""Which frames the network sees: delta sampling (section 3.3, equations 6-10) and the strategies it is compared with.

Pure index arithmetic. N frames in the video, T wanted, S the sampling rate, L frames kept; the kept frames stand
between P1 and P2 = T - L - P1 blank ones. A result is T indices, BLANK where the frame is blank.
"""

import math
import zlib
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

BLANK = -1
"""Index of a blank (black) frame."""

TRAINING_DRAW = -1
"""The draw number of training; test draws count from 0."""


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """A sampling strategy with its settings; see params.yaml `sampling`.

    min_frames and max_frames are N_min and N_max over the training split (constant and variable only).
    """

    strategy: str
    num_frames: int
    delta_min: float
    delta_max: float
    max_rate: float
    min_frames: int
    max_frames: int

    def draw(self, num_video_frames: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """One random draw in training: indices (T,) into the video's frames, BLANK for padding."""
        rate, kept = self._rate(num_video_frames, rng.uniform(), self.delta_max)
        return place(num_video_frames, rate, kept, self.num_frames, rng.uniform())

    def draw_ramped(self, num_video_frames: int, rng: np.random.Generator, ramp: float) -> NDArray[np.int64]:
        """As `draw`, with the range of delta shrunk to delta_min + ramp * (delta_max - delta_min), ramp in [0, 1]."""
        delta_max = self.delta_min + ramp * (self.delta_max - self.delta_min)
        rate, kept = self._rate(num_video_frames, rng.uniform(), delta_max)
        return place(num_video_frames, rate, kept, self.num_frames, rng.uniform())

    def draw_test(
        self, num_video_frames: int, rng: np.random.Generator, draw: int, num_draws: int
    ) -> NDArray[np.int64]:
        """Draw `draw` of `num_draws` at test time. Where the kept frames exceed T, the windows are spread evenly over
        the video instead of drawn, so that together the draws see all of it."""
        rate, kept = self._rate(num_video_frames, rng.uniform(), self.delta_max)
        place_at = rng.uniform()
        if kept > self.num_frames:
            place_at = draw / (num_draws - 1) if num_draws > 1 else 0.5
        return place(num_video_frames, rate, kept, self.num_frames, place_at)

    def _rate(self, num_video_frames: int, uniform: float, delta_max: float) -> tuple[Fraction, int]:
        """Sampling rate S and number of kept frames L for a `uniform` number in [0, 1)."""
        if self.strategy == "delta":
            delta = self.delta_min + uniform * (delta_max - self.delta_min)
            return delta_rate(num_video_frames, delta, self.num_frames, self.max_rate)
        if self.strategy == "length_adjusted":
            return Fraction(num_video_frames, self.num_frames), self.num_frames
        if self.strategy == "constant":
            return fixed_rate(num_video_frames, Fraction(self.max_frames, self.num_frames))
        if self.strategy == "variable":
            frames = self.min_frames + uniform * (self.max_frames - self.min_frames)
            return fixed_rate(num_video_frames, Fraction(frames) / self.num_frames)
        raise ValueError(f"sampling strategy '{self.strategy}' is none of delta, constant, length_adjusted, variable")


def delta_rate(num_video_frames: int, delta: float, num_frames: int, max_rate: float) -> tuple[Fraction, int]:
    """Equation 7: S = min((N + T delta) / T, max_rate), and L = floor(N / S), at least 1.

    With delta below 0 a part of the clip is shown, more densely, but no frame twice for it: S is at least 1, or N / T
    where that is less. Exact rational numbers: the quotient of floats N / S is wrong by one for many N.
    """
    span = Fraction(num_video_frames) + num_frames * Fraction(delta)
    rate = min(span / num_frames, Fraction(max_rate))
    if delta < 0:
        rate = max(rate, min(Fraction(1), Fraction(num_video_frames, num_frames)))
    return rate, max(1, math.floor(num_video_frames / rate))


def fixed_rate(num_video_frames: int, rate: Fraction) -> tuple[Fraction, int]:
    """A rate given from outside, and L = floor(N / S), at least 1."""
    return rate, max(1, math.floor(num_video_frames / rate))


def place(num_video_frames: int, rate: Fraction, kept: int, num_frames: int, position: float) -> NDArray[np.int64]:
    """Equations 8-10: the kept frames X[floor(k S)] within T slots.

    Args:
        position: in [0, 1]; where P1 stands in its range 0..T-L, or, when L > T, where the window of T of the L kept
            frames stands.
    """
    last = num_video_frames - 1
    frame_indices = np.array([min(k * rate.numerator // rate.denominator, last) for k in range(kept)], dtype=np.int64)
    free = num_frames - kept
    offset = min(int(position * (abs(free) + 1)), abs(free))
    if free < 0:
        return frame_indices[offset : offset + num_frames]
    padded = np.full(num_frames, BLANK, dtype=np.int64)
    padded[offset : offset + kept] = frame_indices
    return padded


def generator(*, seed: int, epoch: int, clip_id: str, draw: int) -> np.random.Generator:
    """The random numbers of one clip in one epoch (or test draw). They depend on nothing else, so the order of clips,
    the number of loader processes and a resume never change a result."""
    return np.random.default_rng([seed, epoch, zlib.crc32(clip_id.encode()), draw - TRAINING_DRAW])


def ramp(epoch: int, epochs: int, fraction: float) -> float:
    """How much of the range of delta is used in `epoch` (from 0): grows linearly over the first `fraction` of
    training, then stays 1. With fraction 0 it is always 1."""
    ramp_epochs = fraction * epochs
    return 1.0 if ramp_epochs <= 0 else min(1.0, epoch / ramp_epochs)
