"""What Zero-DCE learns from: frames of training clips and, optionally, a folder of pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from darkaction.core.errors import UserError
from darkaction.data.video import Frames, iter_frames, read_picture
from darkaction.enhancement.settings import UniformOver

PICTURES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""File endings taken for pictures."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A training clip: its file and the number of frames that decode."""

    path: Path
    frames: int


def draw_frames(sources: Sequence[Source], *, images: int, seed: int, uniform_over: UniformOver) -> Iterator[Frames]:
    """Yields `images` frames, chosen at random without repeats from all frames of all clips; all where there are fewer.

    Args:
        uniform_over: frames: every frame has the same chance, so long clips give more. videos: every clip gives as many
            frames, or one more; what short clips lack is spread over the others.

    They come as frame_HWC uint8 RGB of their own size, in the order of the clips. Blank frames (of one single colour)
    teach nothing and are left out.

    Raises:
        UserError: naming a clip that has fewer frames than its source says, or (VideoError) does not decode.
    """
    rng = np.random.default_rng(seed)
    counts_V = np.array([source.frames for source in sources], dtype=np.int64)
    if uniform_over == "videos":
        shares_V = _even_shares(counts_V, images, rng)
        wanted = [rng.choice(n, size=share, replace=False) for n, share in zip(counts_V, shares_V, strict=True)]
    else:
        chosen = np.sort(rng.choice(counts_V.sum(), size=min(images, counts_V.sum()), replace=False))
        starts_V = counts_V.cumsum() - counts_V
        wanted = [
            chosen[(chosen >= start) & (chosen < start + n)] - start
            for n, start in zip(counts_V, starts_V, strict=True)
        ]
    for source, indices in zip(sources, wanted, strict=True):
        yield from (frame for frame in _decode(source.path, np.sort(indices)) if np.ptp(frame) > 0)


def _even_shares(counts_V: NDArray[np.int64], images: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """How many of `images` frames each clip gives: as many each, but none more than the counts_V it has; who gives one
    more, `rng` says."""
    shares_V = np.zeros_like(counts_V)
    order_V = rng.permutation(len(counts_V))
    left = min(images, int(counts_V.sum()))
    while left:
        able = order_V[shares_V[order_V] < counts_V[order_V]]
        able = able if left >= len(able) else able[:left]
        given = np.minimum(left // len(able), counts_V[able] - shares_V[able])
        shares_V[able] += given
        left -= int(given.sum())
    return shares_V


def training_frames(
    sources: Sequence[Source], *, images: int, size: int, seed: int, uniform_over: UniformOver
) -> Frames:
    """Frames of `draw_frames`, resized: frames_NHWC (N, size, size, 3); N is smaller than `images` where they lack.

    Raises:
        UserError: without a usable frame, and as `draw_frames`.
    """
    chosen = draw_frames(sources, images=images, seed=seed, uniform_over=uniform_over)
    frames = [resize(frame, size, size) for frame in tqdm(chosen, total=images, desc="training frames", unit="frame")]
    if not frames:
        raise UserError(
            f"no frame to train Zero-DCE on: the {len(sources)} training clips have none or only blank ones"
        )
    return np.stack(frames)


def pictures(folder: Path, *, most: int, size: int, seed: int, key: str) -> Frames:
    """At most `most` pictures of a folder that the setting `key` names, chosen by the seed: (N, size, size, 3) uint8.

    Raises:
        UserError: when the folder is missing or has no picture, or a picture cannot be read.
    """
    paths = picture_files(folder, key=key)
    if most == 0:
        raise UserError(f"{key}: of the {len(paths)} pictures in {folder} 0 were asked for; ask for 1 or more")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(paths))[:most])
    return np.stack([_read_picture(paths[i], size) for i in tqdm(chosen, desc="pictures", unit="image")])


def picture_files(folder: Path, *, key: str) -> list[Path]:
    """The pictures in a folder that the setting `key` names, and in folders within it, sorted.

    Raises:
        UserError: when the folder is missing or has no picture.
    """
    if not folder.is_dir():
        raise UserError(f"{key}: {folder} is no folder; give a folder of pictures")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)
    if not paths:
        raise UserError(f"{key}: {folder} has no pictures ({', '.join(PICTURES)}); give a folder with some")
    return paths


def resize(frame_HWC: Frames, height: int, width: int) -> Frames:
    """Area average where it shrinks: every pixel counts, so noise averages out."""
    return np.asarray(cv2.resize(frame_HWC, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _decode(path: Path, wanted: NDArray[np.int64]) -> list[Frames]:
    """The frames of a video at the ascending indices `wanted`; decoding ends with the last of them."""
    if not len(wanted):
        return []
    chosen = set(wanted.tolist())
    frames = []
    for i, frame in enumerate(iter_frames(path)):
        if i in chosen:
            frames.append(frame)
        if i == wanted[-1]:
            return frames
    raise UserError(f"{path}: has fewer than the {wanted[-1] + 1} frames of its index; run python src/prepare.py again")


def _read_picture(path: Path, size: int) -> Frames:
    picture_HWC = read_picture(path)
    if picture_HWC is None:
        raise UserError(f"{path}: not a readable picture; repair or remove it")
    return resize(picture_HWC, size, size)
