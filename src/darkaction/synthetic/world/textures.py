"""Textures of walls and floors (H, W, 3), made from random numbers."""

import cv2
import numpy as np
from numpy.typing import NDArray

from darkaction.synthetic.colours import muted, tinted
from darkaction.synthetic.human.skeleton import Floats

Image = NDArray[np.uint8]

SCALE = 16.0  # pixels a metre
FLOOR_SIDE = 40.0  # metres
_TILE = 512  # pixels on a side of a tile of 1/f noise
_BRIGHTEST = 210  # level that stains make nothing brighter than: above are light sources


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


def pink_noise(rng: np.random.Generator) -> NDArray[np.float32]:
    """A tile (512, 512) of noise with the 1/f spectrum of photographs, mean 0, variance 1; opposite edges fit."""
    spectrum = np.fft.rfft2(rng.standard_normal((_TILE, _TILE)))
    frequency = np.hypot(np.fft.fftfreq(_TILE)[:, None], np.fft.rfftfreq(_TILE))
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(spectrum / frequency, (_TILE, _TILE))
    return np.asarray(noise / noise.std(), np.float32)


def textured(rng: np.random.Generator, image_HWC: Image, noise: NDArray[np.float32], amount: float) -> Image:
    """A texture whose brightness follows a random part of the noise, `amount` its deviation in log units."""
    height, width = image_HWC.shape[:2]
    top, left = rng.integers(_TILE, size=2)
    rows, columns = ((first + np.arange(size)) % _TILE for first, size in ((top, height), (left, width)))
    factor_HW1 = np.exp(amount * noise[np.ix_(rows, columns)] - amount**2 / 2)[..., None]
    return np.asarray(np.minimum(image_HWC * factor_HW1, np.maximum(image_HWC, _BRIGHTEST)), np.uint8)
