"""People in the background: somebody walks into view, or out of it, behind the person who acts. N frames, J joints."""

from dataclasses import dataclass

import numpy as np

from darkaction.synthetic.camera.camera import CameraPath
from darkaction.synthetic.human.actions import go
from darkaction.synthetic.human.gaits import sample_walking
from darkaction.synthetic.human.idle_motion import rest
from darkaction.synthetic.human.motion import Timing
from darkaction.synthetic.human.skeleton import Floats, Motion, forward_kinematics
from darkaction.synthetic.human.subject import Subject
from darkaction.synthetic.world.places import Place, rotation

_BEHIND = 0.8  # metres behind the person, at least
_SMALLER = 0.35  # ... and this share of the person's distance
_FARTHEST = 7.0  # metres behind the person, at most
_OFF_WALL = 0.45  # metres from a wall, at least
_HALF_WIDTH = 0.35  # metres of a body
_AWAY = np.array([1e3, 0.0, 0.0])  # metres: where nobody sees it


@dataclass(frozen=True, kw_only=True)
class PasserBy:
    """Who is in the background of a clip, in the world (metres)."""

    subject: Subject
    joints_NJ3: Floats


def _free(segments_K22: Floats, axis: int, level: float) -> tuple[float, float]:
    """How far one can go from 0 to either side before a wall, along the line on which coordinate `axis` is `level`."""
    start_K2, stop_K2 = segments_K22[:, 0], segments_K22[:, 1]
    before_K, after_K = level - start_K2[:, axis], stop_K2[:, axis] - level
    crossed_K = before_K * after_K > 0
    share_K = before_K[crossed_K] / (before_K + after_K)[crossed_K]
    other = 1 - axis
    hit_K = start_K2[crossed_K, other] + share_K * (stop_K2 - start_K2)[crossed_K, other]
    return float(max(hit_K[hit_K < 0], default=-30.0)), float(min(hit_K[hit_K > 0], default=30.0))


def _edges(
    camera: CameraPath, frame: int, bounds: tuple[float, float], depth: float, width: int
) -> tuple[float, float]:
    """The leftmost and rightmost x between the bounds that a frame shows of the line y = depth; equal: none."""
    x_K = np.linspace(*bounds, 200)
    points = np.stack([x_K, np.full_like(x_K, depth), np.ones_like(x_K), np.ones_like(x_K)])
    u_K, _, w_K = camera.matrix(frame) @ points
    seen_K = x_K[(w_K > 0.5) & (u_K >= 0) & (u_K < width * w_K)]
    return (float(seen_K[0]), float(seen_K[-1])) if len(seen_K) else (0.0, 0.0)


def sample_passer_by(
    rng: np.random.Generator, subject: Subject, place: Place, camera: CameraPath, joints_NJ3: Floats, *, width: int,
    fps: float,
) -> PasserBy | None:  # fmt: skip
    """Somebody who walks across the view of the camera, which looks along y, farther than the person, for a part of
    the time; None where a wall leaves no room.
    """
    count = len(joints_NJ3)
    turn = rotation(place.furniture.angle)
    segments_K22 = np.array([[turn @ np.array(wall.start), turn @ np.array(wall.stop)] for wall in place.walls])
    person = float(joints_NJ3[..., 1].max())
    nearest = person + max(_BEHIND, _SMALLER * (person - float(camera.position_N3[:, 1].min())))
    farthest = min(_free(segments_K22, 0, 0.0)[1] - _OFF_WALL, nearest + _FARTHEST)
    if farthest < nearest:
        return None
    depth = float(rng.uniform(nearest, farthest))
    left, right = _free(segments_K22, 1, depth)
    moment = int(count * rng.uniform(0.2, 0.8))
    edges = _edges(camera, moment, (left + _HALF_WIDTH, right - _HALF_WIDTH), depth, width)
    if left + 2 * _HALF_WIDTH > right or edges[0] == edges[1]:
        return None
    side, comes = int(rng.integers(2)), bool(rng.random() < 0.5)
    outward = 2 * side - 1
    pause = int(rng.integers(10, 60))  # frames after which who has come stands, or before which who goes has stood
    start, stop = (0, min(count, moment + pause)) if comes else (max(0, moment - pause), count)
    motion = Motion.still(count)
    motion.yaw_N += (outward if comes else -outward) * np.pi / 2
    rest(rng, motion)
    gait = sample_walking(rng, tempo=subject.tempo, vigour=subject.vigour)
    go(rng, motion, Timing(num_frames=count, start=start, stop=stop), gait, fps)
    motion.place_N2 += np.array([edges[side] + outward * _HALF_WIDTH, depth]) - motion.place_N2[moment]
    walked_NJ3 = forward_kinematics(motion, subject.bones)
    hidden_N = (motion.place_N2[:, 0] < left) | (motion.place_N2[:, 0] > right)  # behind a wall, as in a doorway
    return PasserBy(subject=subject, joints_NJ3=walked_NJ3 + hidden_N[:, None, None] * _AWAY)
