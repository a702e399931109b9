"""Repeated movements: walking, running, waving. N frames."""

from dataclasses import dataclass

import numpy as np

from darkaction.synthetic.human.motion import blend
from darkaction.synthetic.human.skeleton import Floats, Motion


@dataclass(frozen=True, kw_only=True)
class Gait:
    """A manner of walking or running: angles in degrees, steps a second, metres a second."""

    steps: float
    speed: float
    thigh: float
    lead: float
    bend: float
    knee: float
    arm: float
    elbow: float
    lean: float
    flight: float  # metres

    def pose(self, motion: Motion, weight_N: Floats, phase_N: Floats) -> None:
        """Blend in the gait at the given phases: thighs and knees swing a quarter cycle apart, arms against legs."""
        for side in range(2):
            phase = phase_N + np.pi * side
            blend(motion.hip_N2[:, side], weight_N, np.radians(self.lead + self.thigh * np.sin(phase)))
            swing = np.maximum(0, np.cos(phase - 0.25)) ** 1.3
            blend(motion.knee_N2[:, side], weight_N, np.radians(self.bend + self.knee * swing))
            blend(motion.arm_swing_N2[:, side], weight_N, np.radians(3 - self.arm * np.sin(phase)))
            blend(motion.elbow_N2[:, side], weight_N, np.radians(self.elbow - 0.25 * self.arm * np.sin(phase)))
            blend(motion.arm_turn_N2[:, side], weight_N, np.radians(-12))
            blend(motion.arm_out_N2[:, side], weight_N, np.radians(9))
        blend(motion.lean_N, weight_N, np.radians(self.lean))
        blend(motion.squat_N, weight_N, 0.0)
        motion.twist_N += weight_N * np.radians(0.2 * self.arm) * np.sin(phase_N)


def sample_walking(rng: np.random.Generator, *, tempo: float, vigour: float) -> Gait:
    """A manner of walking."""
    pace = rng.uniform(0.8, 1.25) * tempo
    return Gait(
        steps=1.8 * pace, speed=1.25 * pace, thigh=rng.uniform(23, 30) * vigour, lead=3, bend=6,
        knee=rng.uniform(42, 55), arm=rng.uniform(18, 32) * vigour, elbow=rng.uniform(8, 25),
        lean=rng.uniform(0, 5), flight=0.0,
    )  # fmt: skip


def sample_running(rng: np.random.Generator, *, tempo: float, vigour: float) -> Gait:
    """A manner of running."""
    pace = rng.uniform(0.8, 1.2) * tempo
    return Gait(
        steps=2.75 * pace, speed=2.7 * pace, thigh=rng.uniform(36, 46) * vigour, lead=14, bend=18,
        knee=rng.uniform(85, 108), arm=rng.uniform(32, 48) * vigour, elbow=rng.uniform(80, 105),
        lean=rng.uniform(9, 18), flight=rng.uniform(0.05, 0.11),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Waving:
    """A manner of waving: angles in degrees, beats a second."""

    sides: tuple[int, ...]
    beats: float
    swing: float
    out: float
    elbow: float
    shoulder: float  # share of the swing that the upper arm joins
    ahead: bool  # the arm is raised in front of the body instead of beside it

    def pose(self, motion: Motion, weight_N: Floats, phase_N: Floats) -> None:
        """Blend in raised arms at the given phases of the beat."""
        beat_N = np.sin(phase_N) * self.swing
        for side in self.sides:
            raised_N = np.radians(self.out + self.shoulder * beat_N)
            blend(motion.arm_swing_N2[:, side], weight_N, raised_N if self.ahead else 0.0)
            blend(motion.arm_out_N2[:, side], weight_N, np.radians(12) if self.ahead else raised_N)
            blend(motion.arm_turn_N2[:, side], weight_N, 0.0 if self.ahead else np.radians(90))
            blend(motion.elbow_N2[:, side], weight_N, np.radians(self.elbow + beat_N))


def sample_waving(rng: np.random.Generator, *, vigour: float, yaw: float) -> Waving:
    """A manner of waving that can be seen: a person in profile mostly raises the arm ahead, else beside the body."""
    in_profile = abs(np.sin(yaw)) > 0.7
    return Waving(
        ahead=bool(rng.random() < (0.95 if in_profile else 0.05)),
        sides=((0,), (1,), (0, 1))[rng.choice(3, p=[0.35, 0.35, 0.3])],
        beats=rng.uniform(1.3, 2.3), swing=rng.uniform(40, 56) * vigour,
        out=rng.uniform(75, 140), elbow=rng.uniform(45, 80), shoulder=rng.uniform(0.1, 0.5),
    )  # fmt: skip
