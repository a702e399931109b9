"""What people sit on: chairs, benches, stools, steps, or nothing that can be seen."""

from dataclasses import dataclass

import numpy as np

from darkaction.synthetic.camera.render import Painter
from darkaction.synthetic.colours import Colour, shade
from darkaction.synthetic.human.skeleton import Floats
from darkaction.synthetic.ranges import uniform
from darkaction.synthetic.settings import DomainRandomization, SeatKind

_DEEP = 0.38  # metres from front to back of a bench or a step
_CLEAR = 0.6  # metres between a wide seat and the camera


@dataclass(frozen=True, kw_only=True)
class Seat:
    """The seat of a scene."""

    kind: SeatKind
    raised: float  # metres above the height that suits the person
    wide: float  # metres; a chair has a size of its own


CHAIR = Seat(kind="chair", raised=0.0, wide=0.42)


def sample_seat(rng: np.random.Generator, ranges: DomainRandomization) -> Seat:
    """A random seat of one of the wanted kinds."""
    kind = ranges.seats[int(rng.integers(len(ranges.seats)))]
    low, high = {"bench": (1.1, 1.8), "stool": (0.34, 0.5), "step": (1.5, 2.4)}.get(kind, (CHAIR.wide, CHAIR.wide))
    return Seat(kind=kind, raised=uniform(rng, ranges.seat_height), wide=float(rng.uniform(low, high)))


def add_seat(
    painter: Painter, seat: Seat, colour: Colour, place: tuple[float, float], yaw: float, top: float, *,
    eye_3: Floats, count: int,
) -> None:  # fmt: skip
    """Add a bench, stool or step `top` metres high at `place`, facing `yaw`, as seen from `eye_3`."""
    at = np.array([*place, 0.0])
    if seat.kind == "stool":
        _block(painter, colour, at, yaw, (seat.wide, seat.wide, 0.0, top), eye_3, count)
        return
    away = float(np.linalg.norm(eye_3[:2] - at[:2]))
    wide = max(0.4, min(seat.wide, 2 * (away - _CLEAR)))  # what reached the camera would be distorted
    if seat.kind == "step":
        _block(painter, colour, at, yaw, (wide, _DEEP, 0.0, top), eye_3, count)
        return
    right = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    for sign in (-1, 1):
        leg = at + sign * 0.4 * wide * right
        _block(painter, shade(colour, 0.8), leg, yaw, (0.08, 0.8 * _DEEP, 0.0, top - 0.07), eye_3, count)
    _block(painter, colour, at, yaw, (wide, _DEEP, top - 0.07, top), eye_3, count)


def _block(
    painter: Painter, colour: Colour, at: Floats, yaw: float, size: tuple[float, float, float, float], eye_3: Floats,
    count: int,
) -> None:  # fmt: skip
    """Add the faces of a cuboid (wide, deep, from the one height to the other) that are turned to the eye."""
    wide, deep, low, high = size
    right, forward = np.array([np.cos(yaw), np.sin(yaw), 0.0]), np.array([-np.sin(yaw), np.cos(yaw), 0.0])
    up = np.array([0.0, 0.0, 1.0])
    middle = at + up * (low + high) / 2
    x, y, z = right * wide / 2, forward * deep / 2, up * (high - low) / 2
    for out, a, b, factor, nudge in (
        # Who sits is painted over the top, whichever side the camera is on.
        (z, x, y, 1.15, -0.3), (y, x, z, 1.0, 0.0), (-y, x, z, 1.0, 0.0), (x, y, z, 0.75, 0.0), (-x, y, z, 0.75, 0.0)
    ):  # fmt: skip
        if (eye_3 - middle - out) @ out > 0:
            corners = middle + out + np.stack([-a - b, a - b, a + b, b - a])
            painter.patch(np.broadcast_to(corners, (count, 4, 3)), shade(colour, factor), nudge)
