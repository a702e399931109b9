"""The demo's room: a back wall parallel to the x axis, a floor, furniture."""

from dataclasses import dataclass

import cv2
import numpy as np

from darkaction.synthetic.camera.camera import CameraPath
from darkaction.synthetic.colours import tinted
from darkaction.synthetic.human.skeleton import Floats
from darkaction.synthetic.world.furniture import Box, Furniture
from darkaction.synthetic.world.seats import CHAIR
from darkaction.synthetic.world.textures import Image, grain, wall_image

WALL_SCALE = 24.0  # texture pixels a metre
WALL_WIDTH, WALL_HEIGHT = 44.0, 5.0  # metres
FLOOR_SCALE = 20.0
FLOOR_DEPTH = 14.0  # metres from the wall towards the camera


@dataclass(frozen=True, kw_only=True)
class Room:
    """Textures of the two planes, and the furniture."""

    wall_HWC: Image
    floor_HWC: Image
    wall_y: float  # metres behind the person's place
    furniture: Furniture


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


def sample_room(rng: np.random.Generator, *, lit: bool) -> Room:
    """A random room, darker than the clothes worn in it."""
    wall_y = float(rng.uniform(1.6, 3.2))
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
        furniture=Furniture(
            boxes=tuple(boxes),
            angle=0.0,
            seat=CHAIR,
            chair=tinted(rng, float(np.clip(luma + 35, 10, 220))),
            chair_back=float(rng.choice([0.0, rng.uniform(0.35, 0.5)])),
        ),
    )


def _plane_matrix(room: Room, projection_34: Floats, *, floor: bool) -> Floats:
    """Homography (3, 3) from texture pixels of the wall or the floor to image pixels."""
    if floor:  # texture row 0 lies at the wall, rows grow towards the camera
        scale = FLOOR_SCALE
        basis = np.array([[1 / scale, 0, -WALL_WIDTH / 2], [0, -1 / scale, room.wall_y], [0, 0, 0], [0, 0, 1.0]])
    else:
        scale = WALL_SCALE
        top = WALL_HEIGHT
        basis = np.array([[1 / scale, 0, -WALL_WIDTH / 2], [0, 0, room.wall_y], [0, -1 / scale, top], [0, 0, 1.0]])
    return np.asarray(projection_34 @ basis)


def render_room(room: Room, camera: CameraPath, size_HW: tuple[int, int], frame: int) -> Image:
    """Floor and wall (H, W, 3) as seen in one frame."""
    height, width = size_HW
    projection = camera.matrix(frame)
    image: Image = cv2.warpPerspective(  # type: ignore[assignment]
        room.floor_HWC, _plane_matrix(room, projection, floor=True), (width, height), borderMode=cv2.BORDER_REPLICATE
    )
    cv2.warpPerspective(
        room.wall_HWC, _plane_matrix(room, projection, floor=False), (width, height), dst=image,
        borderMode=cv2.BORDER_TRANSPARENT,
    )  # fmt: skip
    return image
