"""Darkness: exposure, uneven light, photon and read noise, 8 bits."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from darkaction.datasets.demo.scene import Image
from darkaction.datasets.demo.skeleton import Floats

_DRAWS = 512  # noise draws kept for each level
_GAMMA = 2.2


@dataclass(frozen=True, kw_only=True)
class Light:
    """Light and sensor of a scene."""

    lamp_HW: NDArray[np.float32]  # brightness factor of every pixel, 0..1
    mean_luma: float  # wanted mean of the 8-bit frame before the codec
    photons: float  # photons that make a pixel white
    read_noise: float  # electrons


def make_light(rng: np.random.Generator, size_HW: tuple[int, int], *, lit: bool) -> Light:
    """A pool of lamp light or a vignette, and how dark the scene is."""
    height, width = size_HW
    y, x = np.mgrid[:height, :width]
    centre_x, centre_y = width * rng.uniform(0.35, 0.65), height * rng.uniform(0.3, 0.6)
    spread = rng.uniform(0.55, 1.0) * width
    pool = np.exp(-((x - centre_x) ** 2 + (y - centre_y) ** 2) / (2 * spread**2))
    lowest = rng.uniform(0.7, 0.9) if lit else rng.uniform(0.3, 0.7)
    return Light(
        lamp_HW=(lowest + (1 - lowest) * pool).astype(np.float32),
        mean_luma=float(rng.uniform(100, 125)) if lit else float(np.clip(17.5 * np.exp(rng.normal(0, 0.28)), 8.5, 34)),
        photons=float(rng.uniform(6000, 12000)) if lit else float(np.exp(rng.uniform(np.log(2200), np.log(5500)))),
        read_noise=float(rng.uniform(0.5, 1.5)),
    )


def _response(levels: Floats, light: Light, gain: float, rng: np.random.Generator) -> Floats:
    """8-bit answer (256, draws) to lamp-lit levels; gamma 2.2 between light and level."""
    photons = light.photons * (levels / 255.0 * gain) ** _GAMMA
    shape = (len(levels), _DRAWS)
    electrons = rng.poisson(photons[:, None], shape) + light.read_noise * rng.standard_normal(shape)
    return np.clip(255.0 * (np.maximum(electrons, 0) / light.photons) ** (1 / _GAMMA), 0, 255)


def expose(frames_NHWC: Image, light: Light, rng: np.random.Generator) -> Image:
    """Film clean frames (N, H, W, 3) in the scene's light; returns noisy 8-bit frames of the same shape.

    Photon noise is Poisson, read noise normal, both drawn once into a table of 512 answers for each of the 256 levels;
    every pixel takes a random answer of its level.
    """
    lamp_HWC = np.repeat(light.lamp_HW[..., None], 3, axis=2)
    first = cv2.multiply(frames_NHWC[0], lamp_HWC, dtype=cv2.CV_8U)
    mean = float(cv2.cvtColor(first, cv2.COLOR_RGB2GRAY).mean())
    table = np.rint(_response(np.arange(256.0), light, light.mean_luma / max(mean, 1.0), rng)).astype(np.uint8).ravel()
    noisy_NHWC = np.empty_like(frames_NHWC)
    for number, frame in enumerate(frames_NHWC):
        lit = cv2.multiply(frame, lamp_HWC, dtype=cv2.CV_8U)
        draw = np.frombuffer(rng.bytes(2 * lit.size), np.uint16).reshape(lit.shape) & np.uint16(_DRAWS - 1)
        np.take(table, lit.astype(np.int32) * _DRAWS + draw, out=noisy_NHWC[number])
    return noisy_NHWC
