"""What stands still before the walls: boxes and a chair."""

from dataclasses import dataclass

import numpy as np

from darkaction.synthetic.camera.render import Painter
from darkaction.synthetic.colours import Colour, shade
from darkaction.synthetic.human.skeleton import Floats
from darkaction.synthetic.world.seats import Seat


@dataclass(frozen=True, kw_only=True)
class Box:
    """A piece of furniture: an upright cuboid."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    colour: Colour


@dataclass(frozen=True, kw_only=True)
class Furniture:
    """The boxes along a wall, and what there is to sit on."""

    boxes: tuple[Box, ...]
    angle: float  # radians by which the boxes are turned about the origin, counter-clockwise from above
    seat: Seat
    chair: Colour | None  # of the seat
    chair_back: float  # height of a chair's back rest over the seat, 0 for none


def add_boxes(painter: Painter, furniture: Furniture, count: int, *, eye_2: Floats) -> None:
    """Add the boxes for `count` frames; the side turned away from the eye (metres, on the floor) goes first and is
    hidden by the others.
    """
    angle = furniture.angle
    eye_x = float(eye_2 @ np.array([np.cos(angle), np.sin(angle)]))
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    for number, box in enumerate(furniture.boxes):
        (x0, y0, z0), (x1, y1, z1) = box.low, box.high
        near, far = (x0, x1) if eye_x < (x0 + x1) / 2 else (x1, x0)
        faces = (
            (0.75, [(far, y0, z0), (far, y1, z0), (far, y1, z1), (far, y0, z1)]),
            (1.20, [(x0, y0, z1), (x1, y0, z1), (x1, y1, z1), (x0, y1, z1)]),
            (0.75, [(near, y0, z0), (near, y1, z0), (near, y1, z1), (near, y0, z1)]),
            (1.00, [(x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)]),
        )
        for step, (factor, corners) in enumerate(faces):
            painter.behind(np.array(corners) @ turn.T, shade(box.colour, factor), rank=4 * number + step, count=count)


def add_chair(
    painter: Painter, colour: Colour, rest: float, place: tuple[float, float], yaw: float, seat: float, count: int
) -> None:
    """Add a chair: a seat `seat` metres high at `place`, facing `yaw`, its legs, and a back rest `rest` metres high."""
    centre = np.array([place[0], place[1], 0.0])
    forward, right = np.array([-np.sin(yaw), np.cos(yaw), 0.0]), np.array([np.cos(yaw), np.sin(yaw), 0.0])
    up = np.array([0.0, 0.0, 1.0])

    def still(point: Floats) -> Floats:
        return np.broadcast_to(point, (count, *point.shape))

    corners = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    slab = np.stack([centre + right * 0.21 * x + forward * 0.21 * y + up * seat for x, y in corners])
    painter.patch(still(slab), shade(colour, 1.1), 0.0)
    for x, y in corners:
        foot = centre + right * 0.19 * x + forward * 0.19 * y
        painter.limb(still(foot), still(foot + up * seat), (0.02, 0.022), colour, 0.0)
    if rest:
        low = [centre - forward * 0.22 + right * 0.21 * x + up * (seat + 0.05) for x in (-1, 1)]
        back = np.stack([low[0], low[1], low[1] + up * rest, low[0] + up * rest])
        painter.patch(still(back), colour, 0.0)
