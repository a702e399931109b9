"""Things that are handled: which hands carry them when, and where that puts them. N frames."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from darkaction.synthetic.human.skeleton import INDEX, Floats, Motion

Kind = Literal["cup", "bottle", "ball", "parcel", "box", "cart", "panel"]


@dataclass(frozen=True, kw_only=True)
class HeldObject:
    """An object of a performance, and how it moves with the person."""

    kind: Kind
    hands: tuple[int, ...]  # by which it goes, 0 left, 1 right; none: it keeps its place to the feet
    ahead: tuple[float, float, float]  # metres right, forward and up of the feet, where no hand carries it
    carried_N: NDArray[np.bool_]  # else it stays where it was put down, or where it will be taken up
    tilt_N: Floats  # radians from upright
    heading: float  # of the tilt, radians to the left of the person's front
    size: tuple[float, float, float]  # metres wide, deep, tall
    luma: float  # 0..255
    into: int | None  # a bottle: index of the object that it is poured into


@dataclass(frozen=True, kw_only=True)
class SceneObject:
    """An object of a clip, placed in the world."""

    held: HeldObject
    centre_N3: Floats  # metres
    up_N3: Floats  # unit vectors
    yaw_N: Floats  # radians
    support: float  # height of what it stands on while nobody carries it, metres; 0: the floor


def _last_carried(carried_N: NDArray[np.bool_], otherwise: int) -> NDArray[np.intp]:
    """For every frame the frame that says where an object is (N,)."""
    frames = np.flatnonzero(carried_N)
    if not len(frames):
        return np.full(len(carried_N), otherwise)
    latest = np.maximum.accumulate(np.where(carried_N, np.arange(len(carried_N)), -1))
    return np.where(latest < 0, frames[0], latest)


def _follow(held: HeldObject, motion: Motion, joints_NJ3: Floats, start: int) -> SceneObject:
    source_N = _last_carried(held.carried_N, start)
    yaw_N = motion.yaw_N[source_N]
    support = 0.0
    if held.hands:
        grips = []
        for side in held.hands:
            hand, elbow = (joints_NJ3[:, INDEX[f"{part}_{'lr'[side]}"]] for part in ("hand", "elbow"))
            arm = hand - elbow
            grips.append(hand + 0.07 * arm / np.linalg.norm(arm, axis=1, keepdims=True))
        centre_N3 = np.mean(grips, 0)[source_N]
        if not held.carried_N.all():
            low = float(centre_N3[~held.carried_N, 2].min()) - held.size[2] / 2
            support = low if low > 0.2 else 0.0
            if not support:  # what lies on the floor is as low as the hand comes
                centre_N3[~held.carried_N, 2] = held.size[2] / 2
    else:
        right, forward, up = held.ahead
        across = np.stack([np.cos(yaw_N), np.sin(yaw_N)], -1)
        along = np.stack([-across[:, 1], across[:, 0]], -1)
        ground_N2 = motion.place_N2[source_N] + right * across + forward * along
        centre_N3 = np.concatenate([ground_N2, np.full((len(yaw_N), 1), up + held.size[2] / 2)], 1)
        support = up
    angle_N = yaw_N + held.heading
    lean = np.stack([-np.sin(angle_N), np.cos(angle_N)], -1) * np.sin(held.tilt_N)[:, None]
    up_N3 = np.concatenate([lean, np.cos(held.tilt_N)[:, None]], 1)
    return SceneObject(held=held, centre_N3=centre_N3, up_N3=up_N3, yaw_N=yaw_N, support=support)


def place_objects(
    held: tuple[HeldObject, ...], motion: Motion, joints_NJ3: Floats, start: int
) -> tuple[SceneObject, ...]:
    """Where everything is in every frame; `start` is the frame whose body places what nobody ever carries."""
    return tuple(_follow(one, motion, joints_NJ3, start) for one in held)
