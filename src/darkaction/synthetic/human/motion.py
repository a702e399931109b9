"""When a person acts, and the curves that movements consist of.

The action fills 40 to 85 % of a clip of the demo. The time around it (`idle_motion`) holds the same gestures, poses and
small turns of the body in every class, many of them frozen moments of the actions themselves, and in most clips it
covers the middle frame: no single pose, yaw or length names the action, only movement does.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from darkaction.synthetic.human.skeleton import Floats
from darkaction.synthetic.ranges import uniform
from darkaction.synthetic.settings import DomainRandomization

Action = Literal["run", "sit", "stand", "turn", "walk", "wave", "jump", "drink", "pick", "pour", "push"]
# A clip's random numbers depend on its action's place here: new actions go to the end.
ACTIONS: tuple[Action, ...] = (
    "run", "sit", "stand", "turn", "walk", "wave", "jump", "drink", "pick", "pour", "push",
)  # fmt: skip
MIN_FRAMES, MAX_FRAMES = 33, 225
MIDDLE_IDLE = 0.92  # share of clips whose middle frame lies outside the action
# Median length in frames: classes differ, as in ARID, by less than clips of one class do.
MEDIAN_FRAMES: dict[Action, float] = {
    "run": 74, "sit": 82, "stand": 80, "turn": 84, "walk": 88, "wave": 90, "jump": 78,
    "drink": 86, "pick": 80, "pour": 88, "push": 86,
}  # fmt: skip
SEATED = float(np.radians(86.0))


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Frames of the clip, and the action's half-open range of frames."""

    num_frames: int
    start: int
    stop: int


def sample_demo_timing(rng: np.random.Generator, action: Action) -> Timing:
    """Length of a clip of the demo and place of the action in it."""
    length = MEDIAN_FRAMES[action] * np.exp(rng.normal(0, 0.42))
    num_frames = int(np.clip(round(length), MIN_FRAMES, MAX_FRAMES))
    middle = num_frames // 2
    if num_frames >= 44 and rng.random() < MIDDLE_IDLE:
        duration = max(20, round(num_frames * rng.uniform(0.42, 0.48)))
        start = int(rng.integers(0, max(1, middle - duration)))
        if rng.random() < 0.5:
            start = num_frames - start - duration
    else:
        duration = max(20, round(num_frames * rng.uniform(0.5, 0.85)))
        start = int(rng.integers(0, num_frames - duration + 1))
    return Timing(num_frames=num_frames, start=start, stop=start + duration)


def smooth_step(num_frames: int, start: float, stop: float) -> Floats:
    """0 before `start`, 1 from `stop` on, a smooth rise between (N,)."""
    phase = np.clip((np.arange(num_frames) - start) / max(stop - start, 1.0), 0, 1)
    return np.asarray(phase * phase * (3 - 2 * phase))


def envelope(num_frames: int, start: float, stop: float, ramp: float) -> Floats:
    """1 inside [start, stop], 0 outside, smooth ramps within the interval (N,)."""
    ramp = min(ramp, (stop - start) / 2)
    rise = smooth_step(num_frames, start, start + ramp) if start > 0 else np.ones(num_frames)
    fall = smooth_step(num_frames, stop - ramp, stop) if stop < num_frames else np.zeros(num_frames)
    return rise * (1 - fall)


def blend(channel: Floats, weight_N: Floats, value: Floats | float) -> None:
    """Move a channel (N,) towards a value by a weight, in place."""
    channel *= 1 - weight_N
    channel += weight_N * value


def sample_angle(rng: np.random.Generator, low: float, high: float) -> float:
    """An angle between two in degrees; radians."""
    return float(np.radians(rng.uniform(low, high)))


def sample_timing(rng: np.random.Generator, action: Action, ranges: DomainRandomization) -> Timing:
    """Length of a clip and place of the action in it, from the ranges `frames`, `action_share` and `position`.

    Lengths are normal around the middle of the range, as those of real clips; with `length_bias` they go by the action.
    """
    low, high = ranges.frames
    length = rng.normal((low + high) / 2, (high - low) / 4.5)
    if ranges.length_bias:
        rank = (ACTIONS.index(action) + 0.5) / len(ACTIONS)
        own = low + (high - low) * (rank if ranges.length_bias > 0 else 1 - rank)
        length += abs(ranges.length_bias) * (own - length)
    num_frames = int(np.clip(round(length), low, high))
    duration = int(np.clip(round(num_frames * rng.uniform(*ranges.action_share)), 1, num_frames))
    start = int(rng.integers(0, num_frames - duration + 1))
    if ranges.position != (0, 1):
        start = round((num_frames - duration) * uniform(rng, ranges.position))
    return Timing(num_frames=num_frames, start=start, stop=start + duration)


def seated_squat(raised: float, thigh: float) -> float:
    """The squat (radians) of who sits `raised` metres higher than with SEATED; `thigh` is the bone's length."""
    return float(np.arccos(np.clip(np.cos(SEATED) + raised / thigh, -0.7, 0.7)))


def confine(place_N2: Floats, yaw: float, reach: tuple[float, float]) -> None:
    """Centre a path on the origin and shorten it to `reach` metres across and along a camera's yaw, in place."""
    right = np.array([np.cos(yaw), np.sin(yaw)])
    forward = np.array([-right[1], right[0]])
    across_N, along_N = place_N2 @ right, place_N2 @ forward
    for axis_N, limit in zip((across_N, along_N), reach, strict=True):
        axis_N -= (axis_N.max() + axis_N.min()) / 2
        axis_N *= min(1.0, limit / max(np.ptp(axis_N) / 2, 1e-6))
    place_N2[:] = across_N[:, None] * right + along_N[:, None] * forward
