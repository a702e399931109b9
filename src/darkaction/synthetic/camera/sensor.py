"""Darkness: exposure, uneven light, photon and read noise, 8 bits.

The demo's sensor has photon and read noise. That of randomized scenes has noise that the camera has smoothed, that the
codec has left standing in blocks, and that flickers in rows.
"""

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from darkaction.synthetic.camera.camera import smooth_noise
from darkaction.synthetic.human.skeleton import Floats
from darkaction.synthetic.ranges import log_uniform, uniform
from darkaction.synthetic.settings import DomainRandomization
from darkaction.synthetic.world.textures import Image

_ANSWERS = 512  # noisy answers kept for each level
_GAMMA = 2.2
HIGHLIGHT = 215  # levels of randomized scenes above this one stand for light sources, up to six times as bright
_FLAT = 7.0  # level of 255
_FIELDS = 8  # noise fields of a scene
_MARGIN = 32  # pixels by which they are larger than a frame
_SWITCHED = 0.2  # share of clips in which a lamp is switched
_BLOCK = 8  # pixels on a side of a codec's block


class Sensor(Protocol):
    """Light and sensor of a scene."""

    def film(self, frames_NHWC: Image, rng: np.random.Generator) -> Image:
        """8-bit frames (N, H, W, 3) of frames in full light of the same shape."""


@dataclass(frozen=True, kw_only=True)
class DemoSensor:
    """Light and sensor of a scene of the demo."""

    lamp_HW: NDArray[np.float32]  # brightness factor of every pixel, 0..1
    mean_luma: float  # wanted mean of the 8-bit frame before the codec
    photons: float  # photons that make a pixel white
    read_noise: float  # electrons

    def film(self, frames_NHWC: Image, rng: np.random.Generator) -> Image:
        """Photon noise is Poisson, read noise normal, both sampled once into a table of 512 answers for each of the 256
        levels; every pixel takes a random answer of its level.
        """
        lamp_HWC = np.repeat(self.lamp_HW[..., None], 3, axis=2)
        first = cv2.multiply(frames_NHWC[0], lamp_HWC, dtype=cv2.CV_8U)
        mean = float(cv2.cvtColor(first, cv2.COLOR_RGB2GRAY).mean())
        answers = self._response(np.arange(256.0), self.mean_luma / max(mean, 1.0), rng)
        table = np.rint(answers).astype(np.uint8).ravel()
        noisy_NHWC = np.empty_like(frames_NHWC)
        for number, frame in enumerate(frames_NHWC):
            lit = cv2.multiply(frame, lamp_HWC, dtype=cv2.CV_8U)
            answer = np.frombuffer(rng.bytes(2 * lit.size), np.uint16).reshape(lit.shape) & np.uint16(_ANSWERS - 1)
            np.take(table, lit.astype(np.int32) * _ANSWERS + answer, out=noisy_NHWC[number])
        return noisy_NHWC

    def _response(self, levels: Floats, gain: float, rng: np.random.Generator) -> Floats:
        """8-bit answers (256, 512) to lamp-lit levels; gamma 2.2 between light and level."""
        photons = self.photons * (levels / 255.0 * gain) ** _GAMMA
        shape = (len(levels), _ANSWERS)
        electrons = rng.poisson(photons[:, None], shape) + self.read_noise * rng.standard_normal(shape)
        return np.clip(255.0 * (np.maximum(electrons, 0) / self.photons) ** (1 / _GAMMA), 0, 255)


def sample_demo_sensor(rng: np.random.Generator, size_HW: tuple[int, int], *, lit: bool) -> DemoSensor:
    """A pool of lamp light or a vignette, and how dark the scene is."""
    height, width = size_HW
    y, x = np.mgrid[:height, :width]
    centre_x, centre_y = width * rng.uniform(0.35, 0.65), height * rng.uniform(0.3, 0.6)
    spread = rng.uniform(0.55, 1.0) * width
    pool = np.exp(-((x - centre_x) ** 2 + (y - centre_y) ** 2) / (2 * spread**2))
    lowest = rng.uniform(0.7, 0.9) if lit else rng.uniform(0.3, 0.7)
    return DemoSensor(
        lamp_HW=(lowest + (1 - lowest) * pool).astype(np.float32),
        mean_luma=float(rng.uniform(100, 125)) if lit else float(np.clip(17.5 * np.exp(rng.normal(0, 0.28)), 8.5, 34)),
        photons=float(rng.uniform(6000, 12000)) if lit else log_uniform(rng, (2200, 5500)),
        read_noise=float(rng.uniform(0.5, 1.5)),
    )


@dataclass(frozen=True, kw_only=True)
class RandomizedSensor:
    """Light and sensor of a randomized scene."""

    dark: bool  # False: full light, no noise
    lamp_HW: NDArray[np.float32]  # brightness factor of every pixel, 0..1
    mean_luma: float  # wanted mean of the first frame
    black: float  # level of no light
    contrast: float  # exponent from rendered to filmed levels
    color_cast: tuple[float, float, float]  # factor of every channel
    photons: float
    read_noise: float
    banding: float  # levels
    softness: float  # pixels
    skip_block_prob: float  # share of blocks that keep the noise of the frame before
    exposure_change: float  # log units by which the brightness wanders or steps
    defocus: float  # pixels
    exposure_time: float  # frames
    chroma_HWC: NDArray[np.float32]  # stains of colour, levels
    noise_KHW: NDArray[np.float32]  # fields of unit variance, larger than a frame

    def film(self, frames_NHWC: Image, rng: np.random.Generator) -> Image:
        if not self.dark:
            return frames_NHWC
        count, height, width, _ = frames_NHWC.shape
        lamp_HWC = np.repeat(self.lamp_HW[..., None], 3, axis=2)
        levels = self._tone(cv2.multiply(frames_NHWC[0], lamp_HWC, dtype=cv2.CV_8U))  # type: ignore[arg-type]
        table = (levels[:, None] * np.array(self.color_cast)).astype(np.float32).reshape(1, 256, 3)
        deviation = self._deviation()[np.rint(levels).astype(np.intp)].reshape(1, 256)
        picks = rng.integers(0, [_FIELDS, _MARGIN + 1, _MARGIN + 1], (count, 3))
        blocks = (count, -(-height // _BLOCK), -(-width // _BLOCK))
        renewed = ((rng.random(blocks, np.float32) >= self.skip_block_prob) * 255).astype(np.uint8)
        wave = 2 * np.pi * (np.arange(height) / rng.uniform(8, 60) + rng.uniform(0.05, 0.5) * np.arange(count)[:, None])
        flicker_NH1 = (self.banding * np.sin(wave)).astype(np.float32)[..., None]
        noise = self.noise_KHW[0, :height, :width].copy()
        filmed_NHWC = np.empty_like(frames_NHWC)
        (changes,) = rng.spawn(1)  # random numbers of their own: those of `rng` stay the same
        gain_N = _gains(changes, count, self.exposure_change)
        black, kernel = self.black * np.array(self.color_cast, np.float32), (0, 0) if self.defocus else (3, 3)
        for number, (field, top, left) in enumerate(picks):
            moved = _exposed(frames_NHWC, number, self.exposure_time)
            soft = cv2.GaussianBlur(moved, kernel, float(np.hypot(self.softness, self.defocus)))
            lit = cv2.multiply(soft, lamp_HWC, dtype=cv2.CV_8U)
            fresh = self.noise_KHW[field, top : top + height, left : left + width]
            mask = cv2.resize(renewed[number], (width, height), interpolation=cv2.INTER_NEAREST)
            cv2.copyTo(fresh, mask, noise)
            gain = gain_N[number]
            rough = noise * cv2.LUT(lit[..., 1], deviation * gain)
            rough += flicker_NH1[number]
            levels_HWC = cv2.LUT(lit, table if gain == 1 else black + gain * (table - black))
            signal = cv2.add(levels_HWC, self.chroma_HWC)
            cv2.add(signal, cv2.merge([rough, rough, rough]), filmed_NHWC[number], dtype=cv2.CV_8U)
        return filmed_NHWC

    def _tone(self, lit_HWC: Image) -> Floats:
        """Filmed level without noise of every rendered level (256,), where the first lamp-lit frame is `lit_HWC`."""
        curve = 255 * (np.arange(256.0) / 255) ** self.contrast  # without light sources
        mean = float(curve[cv2.cvtColor(lit_HWC, cv2.COLOR_RGB2GRAY)].mean())
        gain = max(self.mean_luma - self.black, 1.0) / max(mean, 1.0)
        above = np.clip((np.arange(256.0) - HIGHLIGHT) / (255 - HIGHLIGHT), 0, 1)
        return np.clip(self.black + gain * curve * (1 + 5 * above), 0, 255)

    def _deviation(self) -> NDArray[np.float32]:
        """Standard deviation of the noise at every filmed level (256,): photons and read-out, through the gamma."""
        # Below _FLAT real cameras smooth so much that noise grows no more.
        electrons = self.photons * (np.maximum(np.arange(256.0), _FLAT) / 255) ** _GAMMA
        slope: Floats = 255 / _GAMMA * (electrons / self.photons) ** (1 / _GAMMA - 1) / self.photons
        return np.asarray(np.minimum(slope * np.sqrt(electrons + self.read_noise**2), 30.0), np.float32)


def _gains(rng: np.random.Generator, count: int, amount: float) -> NDArray[np.float32]:
    """Factor on every frame's levels (N,): the camera adapts slowly, and in one of five clips a lamp is switched."""
    if not amount:
        return np.ones(count, np.float32)
    log_N = amount * np.clip(smooth_noise(rng, count, period=80) / 1.5, -1, 1)
    if rng.random() < _SWITCHED:
        log_N[int(count * rng.uniform(0.2, 0.8)) :] += amount * rng.uniform(0.5, 1.0) * rng.choice([-1, 1])
    return np.asarray(np.exp(log_N - log_N.mean()), np.float32)


def _exposed(frames_NHWC: Image, number: int, exposure_time: float) -> Image:
    """One frame as the mean of what moves linearly from the frame before to the frame after, over up to two frames."""
    share = min(exposure_time, 2.0) / 8  # of each neighbour
    if not share:
        return np.asarray(frames_NHWC[number])
    before, after = frames_NHWC[max(number - 1, 0)], frames_NHWC[min(number + 1, len(frames_NHWC) - 1)]
    around = cv2.addWeighted(before, 0.5, after, 0.5, 0)
    return np.asarray(cv2.addWeighted(frames_NHWC[number], 1 - 2 * share, around, 2 * share, 0), np.uint8)


def _noise_fields(rng: np.random.Generator, size_HW: tuple[int, int], grain: float) -> NDArray[np.float32]:
    height, width = (side + _MARGIN for side in size_HW)
    fields = []
    for _ in range(_FIELDS):
        fine = cv2.GaussianBlur(rng.standard_normal((height, width), np.float32), (0, 0), 0.45)
        cells = rng.standard_normal((height // 4 + 1, width // 4 + 1), np.float32)
        coarse = cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)
        field = (1 - grain) * fine / fine.std() + grain * coarse / coarse.std()
        fields.append(field / field.std())
    return np.stack(fields).astype(np.float32)


def sample_sensor(rng: np.random.Generator, ranges: DomainRandomization, size_HW: tuple[int, int]) -> RandomizedSensor:
    """A random light and sensor from the ranges."""
    (changes,) = rng.spawn(1)  # random numbers of their own
    height, width = size_HW
    y, x = np.mgrid[:height, :width]
    spread = rng.uniform(0.4, 1.0) * width
    pool = np.exp(
        -((x - width * rng.uniform(0, 1)) ** 2 + (y - height * rng.uniform(-0.1, 0.9)) ** 2) / (2 * spread**2)
    )
    pool = (pool - pool.min()) / max(float(np.ptp(pool)), 1e-6)
    falloff, grain = uniform(rng, ranges.illumination_falloff), uniform(rng, ranges.noise_grain)
    tint = rng.uniform((0.0, -0.3, -1.0), (1.0, 0.3, 0.6)) * uniform(rng, ranges.color_cast)  # warm lamps mostly
    stains = rng.normal(0, 0.7 * grain, (height // 10 + 1, width // 10 + 1, 3)).astype(np.float32)
    return RandomizedSensor(
        dark=ranges.dark,
        lamp_HW=(1 - falloff + falloff * pool).astype(np.float32),
        mean_luma=log_uniform(rng, ranges.luma),
        black=uniform(rng, ranges.black),
        contrast=uniform(rng, ranges.contrast),
        color_cast=(float(1 + tint[0]), float(1 + tint[1]), float(1 + tint[2])),
        photons=log_uniform(rng, ranges.photons),
        read_noise=uniform(rng, ranges.read_noise),
        banding=uniform(rng, ranges.banding),
        softness=float(rng.uniform(0.3, 0.6)),
        skip_block_prob=uniform(rng, ranges.skip_block_prob),
        exposure_change=uniform(changes, ranges.exposure_change),
        defocus=uniform(changes, ranges.blur),
        exposure_time=uniform(changes, ranges.blur),
        chroma_HWC=np.asarray(cv2.resize(stains, (width, height), interpolation=cv2.INTER_CUBIC), np.float32),
        noise_KHW=_noise_fields(rng, size_HW, grain),
    )
