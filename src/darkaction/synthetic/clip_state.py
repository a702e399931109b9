"""A clip before and after it is painted."""

from dataclasses import dataclass

import numpy as np

from darkaction.synthetic.camera.camera import CameraPath
from darkaction.synthetic.human.actions import Performance
from darkaction.synthetic.human.skeleton import Floats
from darkaction.synthetic.world.objects import Thing
from darkaction.synthetic.world.scene import Image


@dataclass(frozen=True, kw_only=True)
class StagedClip:
    """A clip before it is painted: N frames, J joints."""

    performance: Performance
    camera: CameraPath
    joints_NJ3: Floats  # world, metres
    joints_NJ2: Floats  # image, pixels
    things: tuple[Thing, ...]


@dataclass(frozen=True, kw_only=True)
class DrawnClip:
    """A painted clip and what is known about it."""

    staged: StagedClip
    clean_NHWC: Image
    dark_NHWC: Image


def confine(place_N2: Floats, yaw: float, reach: tuple[float, float]) -> None:
    """Centre a path on the origin and shorten it to `reach` metres across and along a camera's yaw, in place."""
    right = np.array([np.cos(yaw), np.sin(yaw)])
    forward = np.array([-right[1], right[0]])
    across_N, along_N = place_N2 @ right, place_N2 @ forward
    for axis_N, limit in zip((across_N, along_N), reach, strict=True):
        axis_N -= (axis_N.max() + axis_N.min()) / 2
        axis_N *= min(1.0, limit / max(np.ptp(axis_N) / 2, 1e-6))
    place_N2[:] = across_N[:, None] * right + along_N[:, None] * forward
