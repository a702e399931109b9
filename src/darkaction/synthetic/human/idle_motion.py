"""Before and after the action: sway, gestures, small turns of the body. N frames."""

import numpy as np

from darkaction.synthetic.camera.camera import smooth_noise
from darkaction.synthetic.human.gaits import sample_running, sample_walking, sample_waving
from darkaction.synthetic.human.motion import blend, envelope, sample_angle, smooth_step
from darkaction.synthetic.human.skeleton import Floats, Motion


def rest(rng: np.random.Generator, motion: Motion) -> None:
    """Sway, breathing, a wandering look, arms that hang a little off the body."""
    n = len(motion.yaw_N)
    motion.lean_N += np.radians(1.2) * smooth_noise(rng, n, period=80) + sample_angle(rng, 0, 5)
    motion.roll_N += np.radians(1.0) * smooth_noise(rng, n, period=90)
    motion.twist_N += np.radians(2.5) * smooth_noise(rng, n, period=80)
    motion.look_N += np.radians(10) * smooth_noise(rng, n, period=70)
    motion.nod_N += sample_angle(rng, -4, 14)
    for side in range(2):
        motion.arm_out_N2[:, side] += sample_angle(rng, 6, 16)
        motion.arm_swing_N2[:, side] += sample_angle(rng, -6, 10) + np.radians(2.5) * smooth_noise(rng, n, period=60)
        motion.elbow_N2[:, side] += sample_angle(rng, 5, 28)
        motion.hip_out_N2[:, side] += sample_angle(rng, 2, 8)


def pose_arm(
    motion: Motion, weight_N: Floats, side: int, *, swing: float, out: float, turn: float, elbow: float
) -> None:
    """Blend in one arm's pose, in degrees."""
    blend(motion.arm_swing_N2[:, side], weight_N, np.radians(swing))
    blend(motion.arm_out_N2[:, side], weight_N, np.radians(out))
    blend(motion.arm_turn_N2[:, side], weight_N, np.radians(turn))
    blend(motion.elbow_N2[:, side], weight_N, np.radians(elbow))


def _scratch(rng: np.random.Generator, motion: Motion, weight_N: Floats) -> None:
    pose_arm(motion, weight_N, int(rng.integers(2)), swing=rng.uniform(60, 100), out=40, turn=30, elbow=135)


def _folded(rng: np.random.Generator, motion: Motion, weight_N: Floats) -> None:
    for side in range(2):
        pose_arm(motion, weight_N, side, swing=25, out=8, turn=-65, elbow=rng.uniform(90, 105))


def _on_hips(rng: np.random.Generator, motion: Motion, weight_N: Floats) -> None:
    for side in range(2):
        pose_arm(motion, weight_N, side, swing=-10, out=rng.uniform(38, 52), turn=-80, elbow=rng.uniform(75, 95))


def _stoop(rng: np.random.Generator, motion: Motion, weight_N: Floats) -> None:
    blend(motion.squat_N, weight_N, sample_angle(rng, 20, 60))
    blend(motion.lean_N, weight_N, sample_angle(rng, 15, 40))


def _hand_up(rng: np.random.Generator, motion: Motion, weight_N: Floats) -> None:
    """One moment of a wave, held."""
    waving = sample_waving(rng, vigour=1.0, yaw=float(motion.yaw_N.mean()))
    waving.pose(motion, weight_N, np.full(len(weight_N), rng.uniform(0, 2 * np.pi)))


def _mid_step(rng: np.random.Generator, motion: Motion, weight_N: Floats) -> None:
    """One moment of a walk or a run, held: a stretch, a start position."""
    gait = (sample_walking, sample_running)[rng.integers(2)](rng, tempo=1.0, vigour=1.0)
    gait.pose(motion, weight_N, np.full(len(weight_N), rng.uniform(0, 2 * np.pi)))


ARM_GESTURES = (_hand_up, _hand_up, _hand_up, _scratch, _folded, _on_hips)
_BODY_GESTURES = (_mid_step, _mid_step, _mid_step, _mid_step, _stoop)


def add_gestures(rng: np.random.Generator, motion: Motion, start: int, stop: int, *, seated: bool) -> None:
    """Fill an idle interval with a held gesture, mostly over all of it, and maybe a small turn of the body."""
    n = len(motion.yaw_N)
    if stop - start < 10:
        return
    if rng.random() < 0.5:
        body = not seated and rng.random() < 0.6
        choices = _BODY_GESTURES if body else ARM_GESTURES
        room = (stop - start) * rng.uniform(0.0, 0.2)
        begin = start + room * rng.random()
        end = stop - room * rng.random()
        # At the ends of the clip a gesture may be under way already.
        begin = -1 if start == 0 and rng.random() < 0.6 else begin
        end = n if stop == n and rng.random() < 0.6 else end
        choices[rng.integers(len(choices))](rng, motion, envelope(n, begin, end, rng.uniform(7, 11)))
    if not seated and rng.random() < 0.3:
        rise = smooth_step(n, start, min(stop, start + rng.uniform(15, 30)))
        motion.yaw_N += (rise if start > 0 else rise - 1) * sample_angle(rng, 15, 50) * rng.choice([-1, 1])
