"""Where the camera stands, how it follows the person, and how it projects.

The back wall of the demo's rooms is parallel to the x axis, so a camera yaw of 0 looks straight at it; randomized
places are turned under a camera of yaw 0 instead.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from darkaction.synthetic.human.skeleton import Floats
from darkaction.synthetic.ranges import log_uniform, uniform
from darkaction.synthetic.settings import DomainRandomization

FollowMode = Literal["static", "pan", "dolly"]


@dataclass(frozen=True, kw_only=True)
class Viewpoint:
    """The camera of a scene: the same stand and manner in all its clips."""

    mode: FollowMode
    yaw: float  # radians
    height: float  # metres
    distance: float  # metres to the person's place
    field_of_view: float  # vertical, radians
    shake: float  # hand-held unrest, metres
    aim: float  # height it is pointed at, metres
    subject_offset: float  # where that is, as a fraction of the frame's width right of its middle


@dataclass(frozen=True, kw_only=True)
class CameraPath:
    """Pose of the camera in every frame, and its lens."""

    position_N3: Floats
    rotation_N33: Floats  # world to camera: rows are right, down, forward
    yaw_N: Floats
    focal: float  # pixels
    centre: tuple[float, float]  # pixels

    @property
    def still(self) -> bool:
        """True where every frame has the same view."""
        return bool(np.ptp(self.position_N3, axis=0).max() == 0 and np.ptp(self.rotation_N33, axis=0).max() == 0)

    @property
    def lens(self) -> Floats:
        """Matrix (3, 3) from what the camera sees, in its own axes, to homogeneous pixels."""
        return np.array([[self.focal, 0, self.centre[0]], [0, self.focal, self.centre[1]], [0, 0, 1.0]])

    def matrix(self, frame: int) -> Floats:
        """Projection matrix (3, 4) of one frame, to homogeneous pixels."""
        rotation = self.rotation_N33[frame]
        return np.asarray(self.lens @ np.concatenate([rotation, -(rotation @ self.position_N3[frame])[:, None]], 1))

    def project(self, points_NJ3: Floats) -> tuple[Floats, Floats]:
        """Pixels (N, J, 2) and depths in metres (N, J) of world points, frame by frame."""
        seen = np.einsum("nab,njb->nja", self.rotation_N33, points_NJ3 - self.position_N3[:, None])
        depth_NJ = np.maximum(seen[..., 2], 0.2)
        pixels = seen[..., :2] / depth_NJ[..., None] * self.focal + np.array(self.centre)
        return pixels, depth_NJ


def sample_demo_viewpoint(rng: np.random.Generator, *, person_height: float, lit: bool) -> Viewpoint:
    """A random stand from which the person fills 66 to 82 % of the frame's height."""
    field_of_view = float(np.radians(rng.uniform(36, 50)))
    scale = rng.uniform(0.66, 0.82)
    modes: tuple[FollowMode, ...] = ("static", "pan", "dolly")
    if lit:
        height = rng.uniform(0.4, 0.9) if rng.random() < 0.5 else rng.uniform(1.7, 2.4)
        yaw = rng.uniform(15, 35) * rng.choice([-1, 1])
    else:
        height, yaw = rng.uniform(0.9, 1.7), rng.uniform(-20, 20)
    return Viewpoint(
        mode=modes[rng.choice(3, p=[0.45, 0.15, 0.4])],
        yaw=float(np.radians(yaw)),
        height=float(height),
        distance=float(person_height / (2 * np.tan(field_of_view / 2) * scale)),
        field_of_view=field_of_view,
        shake=float(rng.choice([0.0, rng.uniform(0.002, 0.012)])),
        aim=0.95,
        subject_offset=0.0,
    )


def sample_viewpoint(rng: np.random.Generator, ranges: DomainRandomization, *, person_height: float) -> Viewpoint:
    """A random stand from the ranges; every clip points the camera itself (`aim`)."""
    field_of_view = float(np.radians(rng.uniform(36, 56)))
    scale = log_uniform(rng, ranges.subject_scale)
    follows = rng.random() < ranges.follow
    return Viewpoint(
        mode=("pan", "dolly")[int(rng.integers(2))] if follows else "static",
        yaw=0.0,
        height=uniform(rng, ranges.camera_height),
        distance=float(person_height / (2 * np.tan(field_of_view / 2) * scale)),
        field_of_view=field_of_view,
        shake=uniform(rng, ranges.shake),
        aim=0.95,
        subject_offset=uniform(rng, ranges.subject_offset),
    )


def smooth_noise(rng: np.random.Generator, num_frames: int, *, period: float) -> Floats:
    """Slow unit-variance wandering (N,): a sum of sines whose periods lie around `period` frames."""
    time = np.arange(num_frames)
    periods = period * np.exp(rng.normal(0, 0.4, 3))
    waves = np.sin(2 * np.pi * time[:, None] / periods + rng.uniform(0, 2 * np.pi, 3))
    return np.asarray(waves.sum(1) * np.sqrt(2 / 3))


def follow(
    rng: np.random.Generator, view: Viewpoint, place_N2: Floats, *, size_HW: tuple[int, int], travels: bool
) -> CameraPath:
    """Film a person who stands at `place_N2` (metres); people who stay are filmed by a camera that moves as much."""
    num_frames = len(place_N2)
    yaw_N = np.full(num_frames, view.yaw + np.radians(rng.normal(0, 2)))
    target_N2 = np.zeros((num_frames, 2))
    if view.mode != "static":
        lag = 0.86
        spot = place_N2[0]
        for frame in range(num_frames):
            spot = lag * spot + (1 - lag) * place_N2[frame]
            target_N2[frame] = spot
    drift = np.clip(smooth_noise(rng, num_frames, period=110), -1.8, 1.8)
    orbit_N = np.zeros(num_frames) if view.mode == "static" else np.radians(2 if travels else 5) * drift
    angle_N = yaw_N + orbit_N
    forward_N2 = np.stack([-np.sin(angle_N), np.cos(angle_N)], -1)
    anchor_N2 = np.zeros((num_frames, 2)) if view.mode == "pan" else target_N2
    position_N3 = np.concatenate([anchor_N2 - view.distance * forward_N2, np.full((num_frames, 1), view.height)], 1)
    for axis in range(3):
        position_N3[:, axis] += view.shake * smooth_noise(rng, num_frames, period=14)
    look_N3 = np.concatenate([target_N2, np.full((num_frames, 1), view.aim + rng.normal(0, 0.02))], 1) - position_N3
    look_N3 /= np.linalg.norm(look_N3, axis=1, keepdims=True)
    right_N3 = np.stack([look_N3[:, 1], -look_N3[:, 0], np.zeros(num_frames)], -1)
    right_N3 /= np.linalg.norm(right_N3, axis=1, keepdims=True)
    down_N3 = np.cross(look_N3, right_N3)
    height, width = size_HW
    return CameraPath(
        position_N3=position_N3,
        rotation_N33=np.stack([right_N3, down_N3, look_N3], 1),
        yaw_N=np.arctan2(-look_N3[:, 0], look_N3[:, 1]),
        focal=float(height / 2 / np.tan(view.field_of_view / 2)),
        centre=((width - 1) / 2 + view.subject_offset * width, (height - 1) / 2),
    )
