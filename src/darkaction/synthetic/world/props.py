"""Shapes of the objects that people use: cups, bottles, balls, parcels, boxes, carts, panels, and what they stand on.

N frames.
"""

import numpy as np

from darkaction.synthetic.camera.render import Painter
from darkaction.synthetic.colours import Colour
from darkaction.synthetic.human.skeleton import Floats
from darkaction.synthetic.world.objects import SceneObject

_FACES = ((0, 1, 3, 2, 1.0), (4, 5, 7, 6, 1.0), (0, 1, 5, 4, 0.78), (2, 3, 7, 6, 0.78), (1, 3, 7, 5, 1.2))
"""Corners of a cuboid's sides and top, and how bright each face is; the bottom is never seen."""


def _grey(luma: float) -> Colour:
    return luma * 1.04, luma, luma * 0.92


def _axes(yaw_N: Floats) -> tuple[Floats, Floats]:
    """Unit vectors to the right of and ahead of a heading (N, 3)."""
    zero_N = np.zeros_like(yaw_N)
    right_N3 = np.stack([np.cos(yaw_N), np.sin(yaw_N), zero_N], -1)
    return right_N3, np.stack([-right_N3[:, 1], right_N3[:, 0], zero_N], -1)


def _cuboid(
    painter: Painter, centre_N3: Floats, yaw_N: Floats, size: tuple[float, float, float], luma: float, nudge: float
) -> None:
    right_N3, forward_N3 = _axes(yaw_N)
    wide, deep, tall = size
    up = np.array([0.0, 0.0, tall / 2])
    corners = [
        centre_N3 + x * right_N3 * wide / 2 + y * forward_N3 * deep / 2 + z * up
        for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)
    ]  # fmt: skip
    for a, b, c, d, factor in _FACES:
        painter.patch(np.stack([corners[k] for k in (int(a), int(b), int(c), int(d))], 1), _grey(luma * factor), nudge)


def _legs(painter: Painter, centre_N3: Floats, yaw_N: Floats, size: tuple[float, float], top: float) -> None:
    right_N3, forward_N3 = _axes(yaw_N)
    for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
        head = centre_N3 + x * right_N3 * size[0] / 2 + y * forward_N3 * size[1] / 2
        head = np.concatenate([head[:, :2], np.full((len(head), 1), top)], 1)
        painter.limb(head, head * np.array([1.0, 1.0, 0.0]), (0.025, 0.025), _grey(70.0), 0.0)


def _add_support(painter: Painter, item: SceneObject) -> None:
    """A table, or where it is low a crate, under what waits on it."""
    waits = np.flatnonzero(~item.held.carried_N)
    count = len(item.yaw_N)
    spot_N3 = np.repeat(item.centre_N3[waits[:1]], count, 0)
    yaw_N = np.repeat(item.yaw_N[waits[:1]], count)
    luma = 0.5 * item.held.luma + 40
    if item.support > 0.6:
        spot_N3[:, 2] = item.support - 0.02
        _cuboid(painter, spot_N3, yaw_N, (0.9, 0.5, 0.04), luma, 0.0)
        _legs(painter, spot_N3, yaw_N, (0.82, 0.44), item.support - 0.04)
    else:
        spot_N3[:, 2] = item.support / 2
        _cuboid(painter, spot_N3, yaw_N, (0.42, 0.36, item.support), luma, 0.0)


def _add_cart(painter: Painter, item: SceneObject) -> None:
    wide, deep, tall = item.held.size
    body = item.centre_N3 - np.array([0.0, 0.0, 0.12])
    _cuboid(painter, body, item.yaw_N, (wide, deep, tall - 0.42), item.held.luma, 0.0)
    _legs(painter, item.centre_N3, item.yaw_N, (0.8 * wide, 0.8 * deep), 0.16)
    right_N3, forward_N3 = _axes(item.yaw_N)
    grip = item.centre_N3 - forward_N3 * deep / 2 + np.array([0.0, 0.0, tall / 2 - 0.03])
    for sign in (-1, 1):
        end = grip + sign * right_N3 * wide / 2
        painter.limb(end, end - np.array([0.0, 0.0, 0.4]), (0.02, 0.02), _grey(90.0), 0.0)
    painter.limb(grip - right_N3 * wide / 2, grip + right_N3 * wide / 2, (0.022, 0.022), _grey(110.0), 0.01)


def _add_vessel(painter: Painter, item: SceneObject, others: tuple[SceneObject, ...]) -> None:
    wide, _, tall = item.held.size
    top, bottom = (item.centre_N3 + sign * item.up_N3 * tall / 2 for sign in (1, -1))
    colour = _grey(item.held.luma)
    if item.held.kind == "cup":
        painter.limb(bottom, top, (0.4 * wide, 0.52 * wide), colour, 0.06)
        return
    neck = item.centre_N3 + item.up_N3 * tall * 0.18
    painter.limb(bottom, neck, (0.5 * wide, 0.46 * wide), colour, 0.06)
    painter.limb(neck, top, (0.34 * wide, 0.17 * wide), colour, 0.061)
    if item.held.into is not None:
        cup = others[item.held.into].centre_N3
        flows_N1 = (item.held.tilt_N > 1.45)[:, None]
        # Where nothing flows the stream shrinks to a point inside the cup.
        painter.limb(np.where(flows_N1, top, cup), cup, (0.009, 0.007), _grey(150.0), 0.0)


def add_objects(painter: Painter, objects: tuple[SceneObject, ...]) -> None:
    """Add the objects of a clip."""
    for item in objects:
        held = item.held
        if item.support:
            _add_support(painter, item)
        if held.kind in ("box", "panel", "parcel"):
            _cuboid(painter, item.centre_N3, item.yaw_N, held.size, held.luma, 0.12 if held.hands else 0.0)
        elif held.kind == "cart":
            _add_cart(painter, item)
        elif held.kind == "ball":
            radius = held.size[0] / 2
            painter.limb(item.centre_N3, item.centre_N3 + 0.005 * item.up_N3, (radius, radius), _grey(held.luma), 0.08)
        else:
            _add_vessel(painter, item, objects)
