"""Performances in another time: actions that halt, or are broken off and done again, or speed up and slow down.

N frames.
"""

from dataclasses import fields, replace

import numpy as np

from darkaction.synthetic.camera.camera import smooth_noise
from darkaction.synthetic.human.actions import Performance
from darkaction.synthetic.human.motion import Timing
from darkaction.synthetic.human.skeleton import Floats, Motion
from darkaction.synthetic.world.objects import HeldObject


def _moments(rng: np.random.Generator, timing: Timing, *, travels: bool) -> Floats:
    """Which moment of the undisturbed performance every frame shows (N,)."""
    start, stop = timing.start, timing.stop - 1
    middle = start + rng.uniform(0.35, 0.75) * (stop - start)
    if travels or rng.random() < 0.4:
        length = rng.uniform(0.15, 0.35) * (stop - start)
        knots, moments = [start, middle, middle + length, stop + length], [start, middle, middle, stop]
    else:
        back = start + rng.uniform(0.0, 0.5) * (middle - start)
        knots = [start, middle, 2 * middle - back, 2 * middle - 2 * back + stop]
        moments = [start, middle, back, stop]
    knots_K = start + (np.array(knots) - start) * (stop - start) / max(knots[-1] - start, 1e-6)
    frames_N = np.arange(timing.num_frames, dtype=np.float64)
    inside = (frames_N > start) & (frames_N < stop)
    moment_N = np.where(inside, np.interp(frames_N, knots_K, moments), frames_N)
    padded = np.pad(moment_N, 3, mode="edge")
    smooth_N = np.convolve(padded, np.ones(7) / 7, mode="valid")
    return np.where(inside, smooth_N, frames_N)


def _resample(channel: Floats, moment_N: Floats) -> Floats:
    frames_N = np.arange(len(channel), dtype=np.float64)
    if channel.ndim == 1:
        return np.asarray(np.interp(moment_N, frames_N, channel))
    return np.stack([np.interp(moment_N, frames_N, column) for column in channel.T], 1)


def interrupt(rng: np.random.Generator, performance: Performance) -> Performance:
    """The performance with a break: the action halts, or goes back and on again."""
    return _retimed(performance, _moments(rng, performance.timing, travels=performance.travels))


def change_speed(rng: np.random.Generator, performance: Performance, amount: float) -> Performance:
    """The performance at a speed that wanders by up to `amount`, in log units, to either side of its mean. The first
    and the last pose stay.
    """
    timing, count = performance.timing, performance.timing.num_frames
    log_speed_N = amount * np.clip(smooth_noise(rng, count, period=45) / 1.5, -1, 1)
    moment_N = np.concatenate([[0.0], np.cumsum(np.exp(log_speed_N[1:]))])
    moment_N *= (count - 1) / moment_N[-1]
    start = min(int(np.searchsorted(moment_N, timing.start)), count - 1)
    stop = max(int(np.searchsorted(moment_N, timing.stop)), start + 1)
    return replace(_retimed(performance, moment_N), timing=Timing(num_frames=count, start=start, stop=stop))


def _retimed(performance: Performance, moment_N: Floats) -> Performance:
    """The performance whose every frame shows the given moment of this one."""
    channels = {field.name: getattr(performance.motion, field.name) for field in fields(Motion)}
    motion = Motion(**{name: _resample(channel, moment_N) for name, channel in channels.items()})
    nearest_N = np.rint(moment_N).astype(np.intp)
    held: list[HeldObject] = [
        replace(one, carried_N=one.carried_N[nearest_N], tilt_N=_resample(one.tilt_N, moment_N))
        for one in performance.held
    ]
    return replace(performance, motion=motion, held=tuple(held))
