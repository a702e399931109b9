"""The actions, and whole performances of them. N frames."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from darkaction.synthetic.human.gaits import Gait, sample_running, sample_walking, sample_waving
from darkaction.synthetic.human.idle_motion import ARM_GESTURES, add_gestures, rest
from darkaction.synthetic.human.motion import SEATED, Action, Timing, blend, envelope, sample_angle, smooth_step
from darkaction.synthetic.human.object_actions import drink, pick, pour, push
from darkaction.synthetic.human.skeleton import Motion
from darkaction.synthetic.human.subject import Subject
from darkaction.synthetic.world.objects import HeldObject

TRAVELLING: tuple[Action, ...] = ("run", "walk", "push")
"""Actions in which the person goes somewhere."""


@dataclass(frozen=True, kw_only=True)
class Performance:
    """One performance: motion, when the action happens, objects held, where the seat stands (metres, radians)."""

    motion: Motion
    timing: Timing
    held: tuple[HeldObject, ...]
    seat_place: tuple[float, float]
    seat_yaw: float
    seated: bool  # the person sits on it at some time
    travels: bool


def go(rng: np.random.Generator, motion: Motion, timing: Timing, gait: Gait, fps: float) -> None:
    """Walk or run along the heading."""
    weight_N = envelope(timing.num_frames, timing.start, timing.stop, 9)
    phase_N = np.cumsum(weight_N) * np.pi * gait.steps / fps + rng.uniform(0, 2 * np.pi)
    gait.pose(motion, weight_N, phase_N)
    motion.lift_N += weight_N * gait.flight * np.maximum(0, -np.cos(2 * phase_N + 0.6))
    step_N = weight_N * gait.speed / fps
    motion.place_N2 += np.cumsum(step_N[:, None] * np.stack([-np.sin(motion.yaw_N), np.cos(motion.yaw_N)], -1), 0)


def _sit_down(rng: np.random.Generator, motion: Motion, timing: Timing) -> None:
    n = timing.num_frames
    down_N = smooth_step(n, timing.start, timing.stop - 0.12 * (timing.stop - timing.start))
    bump_N = np.sin(np.pi * smooth_step(n, timing.start, timing.stop)) ** 1.2
    motion.squat_N[:] = np.maximum(motion.squat_N * (1 - down_N), down_N * SEATED)
    motion.lean_N += bump_N * sample_angle(rng, 28, 42) + down_N * sample_angle(rng, -8, 6)
    reach = sample_angle(rng, 10, 45)
    for side in range(2):
        motion.arm_swing_N2[:, side] += bump_N * reach + down_N * np.radians(20)
        motion.elbow_N2[:, side] += down_N * np.radians(35)
        blend(motion.hip_N2[:, side], down_N, 0.0)
        blend(motion.knee_N2[:, side], down_N, sample_angle(rng, -8, 12))


def _turn(rng: np.random.Generator, motion: Motion, timing: Timing, fps: float) -> None:
    n, duration = timing.num_frames, timing.stop - timing.start
    if rng.random() < 0.4:  # the arms may do something else meanwhile
        ARM_GESTURES[rng.integers(len(ARM_GESTURES))](rng, motion, envelope(n, timing.start, timing.stop, 8))
    most = min(360.0, 9.0 * duration)
    angle = sample_angle(rng, min(130.0, 0.8 * most), most) * rng.choice([-1, 1])
    motion.yaw_N += angle * smooth_step(n, timing.start, timing.stop)
    motion.look_N += 0.3 * np.sign(angle) * np.sin(np.pi * smooth_step(n, timing.start, timing.stop))
    weight_N = envelope(n, timing.start, timing.stop, 6)
    phase_N = np.cumsum(weight_N) * np.pi * rng.uniform(1.8, 2.6) / fps
    for side in range(2):
        lift_N = np.maximum(0, np.sin(phase_N + np.pi * side))
        blend(motion.hip_N2[:, side], weight_N, np.radians(16) * lift_N)
        blend(motion.knee_N2[:, side], weight_N, np.radians(32) * lift_N)
    blend(motion.squat_N, weight_N, 0.0)
    blend(motion.lean_N, weight_N, np.radians(3))


def _wave(rng: np.random.Generator, motion: Motion, timing: Timing, subject: Subject, fps: float) -> None:
    waving = sample_waving(rng, vigour=subject.vigour, yaw=float(motion.yaw_N[timing.start]))
    weight_N = envelope(timing.num_frames, timing.start, timing.stop, 8)
    rate = 2 * np.pi * waving.beats * subject.tempo / fps
    phase_N = np.asarray(rate * np.arange(timing.num_frames) + rng.uniform(0, 2 * np.pi), np.float64)
    waving.pose(motion, weight_N, phase_N)


def _jump(rng: np.random.Generator, motion: Motion, timing: Timing, subject: Subject) -> None:
    n, duration = timing.num_frames, timing.stop - timing.start
    times = max(1, round(duration / rng.uniform(26, 36)))
    height = rng.uniform(0.2, 0.38) * subject.vigour
    crouch, arms = sample_angle(rng, 40, 65), rng.uniform(40, 150)
    for number in range(times):
        a = timing.start + duration * number / times
        phase_N = np.clip((np.arange(n) - a) / (duration / times), 0, 1)
        low_N = np.exp(-(((phase_N - 0.25) / 0.11) ** 2)) + 0.8 * np.exp(-(((phase_N - 0.82) / 0.08) ** 2))
        air_N = np.clip(1 - ((phase_N - 0.55) / 0.19) ** 2, 0, None)
        motion.squat_N += crouch * low_N
        motion.lean_N += np.radians(28) * low_N
        motion.lift_N += height * air_N
        for side in range(2):
            motion.arm_swing_N2[:, side] += np.radians(arms * np.sqrt(air_N) - 40 * low_N)
            motion.knee_N2[:, side] += np.radians(25) * air_N


def sample_demo_yaw(rng: np.random.Generator) -> float:
    """Where the person of a demo clip faces at first: mostly sideways, else anywhere; the same for all classes."""
    if rng.random() < 0.75:
        return float(rng.choice([-1, 1]) * (np.pi / 2) + np.radians(rng.normal(0, 20)))
    return float(rng.uniform(-np.pi, np.pi))


def _act(
    rng: np.random.Generator, action: Action, motion: Motion, timing: Timing, subject: Subject, fps: float
) -> tuple[HeldObject, ...]:
    """Put the action into the motion; returns the objects it uses."""
    tempo, vigour = subject.tempo, subject.vigour
    acts: dict[Action, Callable[[], tuple[HeldObject, ...] | None]] = {
        "run": lambda: go(rng, motion, timing, sample_running(rng, tempo=tempo, vigour=vigour), fps),
        "walk": lambda: go(rng, motion, timing, sample_walking(rng, tempo=tempo, vigour=vigour), fps),
        "sit": lambda: _sit_down(rng, motion, timing),
        "stand": lambda: _sit_down(rng, motion, timing),
        "turn": lambda: _turn(rng, motion, timing, fps),
        "wave": lambda: _wave(rng, motion, timing, subject, fps),
        "jump": lambda: _jump(rng, motion, timing, subject),
        "drink": lambda: drink(rng, motion, timing, subject),
        "pick": lambda: pick(rng, motion, timing, subject),
        "pour": lambda: pour(rng, motion, timing, subject),
        "push": lambda: push(rng, motion, timing, subject, fps),
    }
    return acts[action]() or ()


def perform(
    rng: np.random.Generator, action: Action, subject: Subject, *, timing: Timing, yaw: float, fps: float
) -> Performance:
    """One performance of `action` by a person who faces `yaw` at first and stands near the origin."""
    n = timing.num_frames
    reverse = action == "stand"
    if reverse:  # standing up is sitting down played backwards
        timing = Timing(num_frames=n, start=n - timing.stop, stop=n - timing.start)
    motion = Motion.still(n)
    motion.yaw_N += yaw
    rest(rng, motion)
    seated_through = action == "wave" and rng.random() < 0.35
    sits = action in ("sit", "stand")
    add_gestures(rng, motion, 0, timing.start, seated=seated_through)
    yaw_when_seated = float(motion.yaw_N[timing.start])
    add_gestures(rng, motion, timing.stop, n, seated=seated_through or sits)
    if seated_through:
        motion.squat_N[:] = SEATED
        motion.elbow_N2 += np.radians(30)
        motion.arm_swing_N2 += np.radians(15)
    held = _act(rng, action, motion, timing, subject, fps)
    if reverse:
        motion = motion.reversed()
        timing = Timing(num_frames=n, start=n - timing.stop, stop=n - timing.start)
    seat_yaw = yaw_when_seated if sits or seated_through else float(motion.yaw_N[0]) + rng.normal(0, 0.3)
    back = subject.bones.thigh if sits or seated_through else subject.bones.thigh + rng.uniform(0.0, 0.5)
    return Performance(
        motion=motion,
        timing=timing,
        held=held,
        seat_place=(float(back * np.sin(seat_yaw)), float(-back * np.cos(seat_yaw))),
        seat_yaw=seat_yaw,
        seated=sits or seated_through,
        travels=action in TRAVELLING,
    )
