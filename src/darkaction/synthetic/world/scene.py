"""Where it is filmed: a drawn room (wall, floor, furniture, a chair) and its light."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from darkaction.synthetic.human.skeleton import Floats
from darkaction.synthetic.human.subject import Colour

Image = NDArray[np.uint8]

WALL_SCALE = 24.0  # texture pixels a metre
WALL_WIDTH, WALL_HEIGHT = 44.0, 5.0  # metres
FLOOR_SCALE = 20.0
FLOOR_DEPTH = 14.0  # metres from the wall towards the camera


@dataclass(frozen=True, kw_only=True)
class Box:
    """A piece of furniture: an upright cuboid."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    colour: Colour


@dataclass(frozen=True, kw_only=True)
class Room:
    """Textures of the two planes, furniture, and the chair's looks."""

    wall_HWC: Image
    floor_HWC: Image
    wall_y: float  # metres behind the person's place
    boxes: tuple[Box, ...]
    chair: Colour
    chair_back: float  # height of the back rest over the seat, 0 for a stool


def tinted(rng: np.random.Generator, luma: float, strength: float = 18.0) -> Colour:
    """A random hue of a given brightness."""
    tint = rng.uniform(-1, 1, 3)
    tint -= tint @ np.array([0.299, 0.587, 0.114])
    red, green, blue = np.clip(luma + strength * tint, 4, 250)
    return float(red), float(green), float(blue)


def grain(rng: np.random.Generator, shape: tuple[int, int], cell: float, strength: float) -> Floats:
    """Blotches of about `cell` pixels (H, W, 1)."""
    small = rng.normal(0, 1, (max(2, int(shape[0] / cell)), max(2, int(shape[1] / cell)))).astype(np.float32)
    return np.asarray(cv2.resize(small, shape[::-1], interpolation=cv2.INTER_CUBIC)[..., None] * strength, np.float64)


def wall_image(rng: np.random.Generator, luma: float, *, length: float, tall: float, scale: float) -> Image:
    """A wall with doors, windows and pictures, `length` by `tall` metres in `scale` pixels each."""
    height, width = int(tall * scale), int(length * scale)
    image = np.full((height, width, 3), tinted(rng, luma), np.float64)
    kind = rng.integers(4)
    if kind == 1:  # panels
        image[:, :: int(rng.integers(14, 40))] *= 0.75
    elif kind == 2:  # bricks
        image[:: int(rng.integers(8, 14))] *= 0.82
    elif kind == 3:  # a darker lower part
        image[int(height - rng.uniform(0.7, 1.2) * scale) :] *= rng.uniform(0.7, 0.85)
    image += grain(rng, (height, width), 30, 5) + grain(rng, (height, width), 5, 3)
    left = 0.0
    while left < length - 3:  # doors, windows, pictures along the wall
        left += rng.uniform(0.6, 2.6)
        sort = rng.integers(3)
        wide = (rng.uniform(0.8, 1.1), rng.uniform(0.8, 2.0), rng.uniform(0.4, 1.1))[sort]
        low, high = ((0.0, 2.05), (0.9, 2.1), (1.2, 1.2 + rng.uniform(0.4, 0.8)))[sort]
        shade = tinted(rng, float(np.clip(luma + rng.choice([-1, 1]) * rng.uniform(10, 28), 8, 235)))
        rows = slice(int(height - high * scale), int(height - low * scale))
        columns = slice(int(left * scale), int((left + wide) * scale))
        image[rows, columns] = shade
        image[rows, columns][[0, -1]] *= 0.7
        image[rows, columns][:, [0, -1]] *= 0.7
        left += wide
    image[-3:] *= 0.6  # skirting board
    return np.clip(image, 0, 255).astype(np.uint8)


def _floor(rng: np.random.Generator, luma: float) -> Image:
    height, width = int(FLOOR_DEPTH * FLOOR_SCALE), int(WALL_WIDTH * FLOOR_SCALE)
    image = np.full((height, width, 3), tinted(rng, luma), np.float64)
    kind = rng.integers(3)
    step = int(rng.integers(10, 24))
    if kind == 0:
        image[::step] *= 0.8
        image[:, ::step] *= 0.8
    elif kind == 1:
        image *= 1 + rng.normal(0, 0.06, (height // step + 1, 1, 1)).repeat(step, 0)[:height]
        image[::step] *= 0.85
    image += grain(rng, (height, width), 16, 5)
    return np.clip(image, 0, 255).astype(np.uint8)


def make_room(rng: np.random.Generator, *, lit: bool, wall_y: float) -> Room:
    """A random room, darker than the clothes worn in it."""
    luma = rng.uniform(65, 100) if lit else rng.uniform(36, 78)
    boxes = []
    for _ in range(rng.integers(2, 7)):
        x, wide, tall, deep = rng.uniform(-7, 7), rng.uniform(0.5, 1.8), rng.uniform(0.4, 1.6), rng.uniform(0.3, 0.6)
        shade = tinted(rng, float(np.clip(luma + rng.choice([-1, 1]) * rng.uniform(10, 30), 10, 230)))
        boxes.append(Box(low=(x, wall_y - deep, 0.0), high=(x + wide, wall_y, tall), colour=shade))
    return Room(
        wall_HWC=wall_image(rng, luma, length=WALL_WIDTH, tall=WALL_HEIGHT, scale=WALL_SCALE),
        floor_HWC=_floor(rng, float(np.clip(luma * rng.uniform(0.6, 1.05), 20, 220))),
        wall_y=wall_y,
        boxes=tuple(boxes),
        chair=tinted(rng, float(np.clip(luma + 35, 10, 220))),
        chair_back=float(rng.choice([0.0, rng.uniform(0.35, 0.5)])),
    )


def plane_matrix(room: Room, projection_34: Floats, *, floor: bool) -> Floats:
    """Homography (3, 3) from texture pixels of the wall or the floor to image pixels."""
    if floor:  # texture row 0 lies at the wall, rows grow towards the camera
        scale = FLOOR_SCALE
        basis = np.array([[1 / scale, 0, -WALL_WIDTH / 2], [0, -1 / scale, room.wall_y], [0, 0, 0], [0, 0, 1.0]])
    else:
        scale = WALL_SCALE
        top = WALL_HEIGHT
        basis = np.array([[1 / scale, 0, -WALL_WIDTH / 2], [0, 0, room.wall_y], [0, -1 / scale, top], [0, 0, 1.0]])
    return np.asarray(projection_34 @ basis)
