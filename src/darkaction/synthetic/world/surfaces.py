"""Pictures of walls and floors of varied places (H, W, 3), drawn from random numbers."""

import cv2
import numpy as np

from darkaction.synthetic.human.subject import Colour
from darkaction.synthetic.world.scene import Image, grain, tinted, wall_image

SCALE = 16.0  # pixels a metre
FLOOR_SIDE = 40.0  # metres


def muted(rng: np.random.Generator, luma: float) -> Colour:
    """A colour of little strength, as things have at night."""
    return tinted(rng, luma, 1.5 + 0.09 * luma)


def facade(rng: np.random.Generator, luma: float, length: float, height: float) -> Image:
    """A house front: rows of windows, some of them lit."""
    rows, columns = int(height * SCALE), int(length * SCALE)
    image = np.full((rows, columns, 3), muted(rng, luma), np.float64)
    image += grain(rng, (rows, columns), 24, 5) + grain(rng, (rows, columns), 4, 3)
    step, wide, tall = rng.uniform(1.6, 3.2), rng.uniform(0.7, 1.3), rng.uniform(0.8, 1.5)
    dark = muted(rng, luma * rng.uniform(0.4, 0.75))
    lit = rng.choice([0.0, 0.06])
    for floor_z in np.arange(rng.uniform(0.8, 1.2), height - tall, rng.uniform(2.6, 3.2)):
        for left in np.arange(rng.uniform(0, step), length - wide, step):
            shade = dark
            if rng.random() < lit:
                shade = tinted(rng, float(rng.uniform(170, 235)), 30.0)
            top = int((height - floor_z - tall) * SCALE)
            image[top : int((height - floor_z) * SCALE), int(left * SCALE) : int((left + wide) * SCALE)] = shade
    return np.clip(image, 0, 245).astype(np.uint8)


def greenery(rng: np.random.Generator, luma: float, length: float, height: float) -> Image:
    """Dark trees and bushes with a ragged top."""
    rows, columns = int(height * SCALE), int(length * SCALE)
    image = np.full((rows, columns, 3), (luma * 0.9, luma, luma * 0.8), np.float64)
    strength = 0.3 * luma
    image += grain(rng, (rows, columns), 20, strength) + grain(rng, (rows, columns), 5, strength)
    fade = np.linspace(0.3, 1.0, rows)[:, None, None]
    return np.clip(image * fade, 0, 220).astype(np.uint8)


def plain(rng: np.random.Generator, luma: float, length: float, height: float) -> Image:
    """A wall of ribs, panels, or nothing but stains."""
    rows, columns = int(height * SCALE), int(length * SCALE)
    image = np.full((rows, columns, 3), muted(rng, luma), np.float64)
    kind = rng.integers(3)
    if kind == 0:
        image *= 1 - 0.25 * (np.arange(columns) % int(rng.integers(4, 9)) < 2)[:, None]
    elif kind == 1:
        image[:, :: int(rng.integers(14, 40))] *= 0.75
    image += grain(rng, (rows, columns), 30, 5) + grain(rng, (rows, columns), 5, 3)
    image[-3:] *= 0.6
    return np.clip(image, 0, 220).astype(np.uint8)


def furnished(rng: np.random.Generator, luma: float, length: float, height: float) -> Image:
    """A wall with doors, windows and pictures, paler than the demo's."""
    image = wall_image(rng, luma, length=length, tall=height, scale=SCALE)
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.addWeighted(image, 0.4, grey, 0.6, 0), np.uint8)


def ground(rng: np.random.Generator, luma: float, *, kerb: bool) -> Image:
    """The floor around the origin: tiles, boards, or nothing but stains; with a kerb, a road of another shade."""
    side = int(FLOOR_SIDE * SCALE)
    image = np.full((side, side, 3), muted(rng, luma), np.float64)
    kind, step = rng.integers(4), int(rng.integers(6, 24))
    if kind == 0:
        image[::step] *= 0.8
        image[:, ::step] *= 0.8
    elif kind == 1:
        image[::step] *= 0.85
    if kerb:  # rows run towards the camera; the road lies behind the person or before
        edge = int((FLOOR_SIDE / 2 + rng.choice([-1, 1]) * rng.uniform(0.7, 3.0)) * SCALE)
        image[:edge] *= rng.uniform(0.45, 0.85)
        image[edge : edge + 3] = luma * rng.uniform(1.1, 1.8)
    image += grain(rng, (side, side), 20, 5) + grain(rng, (side, side), 3, 4)
    return np.clip(image, 0, 220).astype(np.uint8)
