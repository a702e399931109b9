"""The frozen enhancement over every clip of a dataset: decode, enhance, resize, store; a few frames at a time."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from tqdm import tqdm

from darkaction.core.errors import UserError
from darkaction.core.folders import kept_folder
from darkaction.core.parallel import Mapper, in_worker, worker_number
from darkaction.data.clips import ENHANCER
from darkaction.data.shards import is_written, plan_shards, write_list, write_settings, write_shard
from darkaction.data.video import Frames, VideoError, iter_frames
from darkaction.enhancement import LEARNT, Enhancer, enlightengan, zero_dce
from darkaction.enhancement.gamma import correct_gamma, gamma_table
from darkaction.enhancement.histogram import equalize
from darkaction.enhancement.networks import OnDevice
from darkaction.enhancement.settings import frame_settings
from darkaction.enhancement.training_images import resize

AUTO = "auto"
"""A device: that of the worker process, which may be on another machine."""

CHUNK = 32
CHUNK_BYTES = 32 * 1024**2
"""Most frames of a clip that are in memory at once, and fewer where they are so large that they take more bytes."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How clips are enhanced and stored. Plain values, so that it can be sent to worker processes."""

    method: str  # none | gamma | histogram | zero_dce | enlightengan
    gamma: float  # for gamma
    weights: Path  # for zero_dce and enlightengan: safetensors
    curve_scale: float  # for zero_dce
    device: str  # for these two: cpu, cuda, cuda:<number> or AUTO
    height: int  # pixels of the stored frames
    width: int
    flow: bool  # store the optical flow too


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A usable clip of the index."""

    clip_id: str
    path: Path
    frames: int


def recorded(settings: Settings) -> dict[str, Any]:
    """What a store says it was made with."""
    made = frame_settings(
        method=settings.method,
        gamma=settings.gamma,
        curve_scale=settings.curve_scale,
        height=settings.height,
        width=settings.width,
    )
    if settings.method in LEARNT:
        made[ENHANCER] = hashlib.sha256(settings.weights.read_bytes()).hexdigest()
    return made


def build_enhancer(settings: Settings) -> Enhancer:
    """The enhancement that `settings` names.

    Raises:
        UserError: when the weights of a method that has some are missing or of another architecture.
        ValueError: for an unknown method.
    """
    if settings.method == "none":
        return lambda frames_NHWC: frames_NHWC
    if settings.method == "gamma":
        return partial(correct_gamma, gamma_table(settings.gamma))
    if settings.method == "histogram":
        return equalize
    if settings.method == "zero_dce":
        network = zero_dce.load_weights(settings.weights, curve_scale=settings.curve_scale)
        zero_dce.prepare(network, settings.device)
        if settings.device == "cpu":
            return partial(zero_dce.enhance_frames, network)
        return zero_dce.on_device(network)
    if settings.method == "enlightengan":
        generator = enlightengan.load_weights(settings.weights)
        generator.to(settings.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if settings.device == "cpu":
            return partial(enlightengan.enhance_frames, generator)
        return enlightengan.on_device(generator)
    raise ValueError(f"enhance.method is '{settings.method}'; valid: none, gamma, histogram, zero_dce, enlightengan")


def enhance_clip(frames: Iterable[Frames], enhancer: Enhancer, *, height: int, width: int) -> Iterator[Frames]:
    """Enhances the frames of a video at their own size, as the paper does, and then resizes them.

    Args:
        frames: frame_HWC uint8 RGB, one after the other.
        enhancer: see `build_enhancer`.
        height: pixels to resize to.
        width: pixels to resize to.

    Yields:
        frames_NHWC: uint8 chunks of at most CHUNK frames.
    """
    remaining = iter(frames)
    for first in remaining:
        size = max(1, min(CHUNK, CHUNK_BYTES // first.nbytes))
        chunk = np.stack([first, *islice(remaining, size - 1)])
        yield enhance_and_resize(chunk, enhancer, height=height, width=width)


def enhance_and_resize(frames_NHWC: Frames, enhancer: Enhancer, *, height: int, width: int) -> Frames:
    """Enhances frames at their own size and then resizes them, on a GPU where they are enhanced there."""
    if isinstance(enhancer, OnDevice):
        return enhancer(frames_NHWC, (height, width))
    return np.stack([resize(frame, height, width) for frame in enhancer(frames_NHWC)])


def enhance_dataset(
    clips: Sequence[Clip], store: Path, settings: Settings, *, mapper: Mapper, fingerprint: str
) -> None:
    """Makes the clip store of a dataset in `store`, whole or not at all, the same for any `mapper`. After a stop the
    next one goes on with the shards that are not complete.

    Args:
        mapper: where shards are made.
        fingerprint: of all that decides the frames.

    Raises:
        UserError: naming the clip that does not decode, or the weights that do not fit.
    """
    build_enhancer(replace(settings, device="cpu"))  # a wrong setting fails here, before any process starts
    ordered = sorted(clips, key=lambda clip: clip.clip_id)
    plan = plan_shards([clip.frames for clip in ordered], height=settings.height, width=settings.width)
    shards = [Shard(number, tuple(ordered[k] for k in numbers)) for number, numbers in enumerate(plan)]
    with kept_folder(store, fingerprint) as folder:
        missing = [shard for shard in shards if not is_written(folder, shard.number)]
        done = sum(shard.frames for shard in shards) - sum(shard.frames for shard in missing)
        missing.sort(key=lambda shard: -shard.frames)
        with tqdm(total=sum(clip.frames for clip in clips), initial=done, desc="enhance", unit="frame") as progress:
            for shard, written in mapper(partial(_store_shard, settings, folder), missing):
                if written is None:
                    raise UserError("enhance: a worker process died, perhaps for want of memory; what is done is kept")
                progress.update(shard.frames)
        write_settings(folder, recorded(settings))
        write_list(folder)


@dataclass(frozen=True)
class Shard:
    """Clips that are stored in one file."""

    number: int
    clips: tuple[Clip, ...]

    @property
    def frames(self) -> int:
        return sum(clip.frames for clip in self.clips)


def _store_shard(settings: Settings, folder: Path, shard: Shard) -> bool:
    """Writes a shard, in a worker process."""
    size = {"height": settings.height, "width": settings.width}
    enhancer = worker_enhancer(settings)

    def chunks(clip: Clip) -> Iterator[Frames]:
        try:
            yield from enhance_clip(iter_frames(clip.path), enhancer, **size)
        except VideoError as error:
            raise UserError(f"clip {clip.clip_id}: {error}; python src/prepare.py sets damaged clips aside") from None

    contents = ((clip.clip_id, clip.frames, chunks(clip)) for clip in shard.clips)
    write_shard(folder, shard.number, contents, **size, flow=settings.flow)
    return True


@cache
def worker_enhancer(settings: Settings) -> Enhancer:
    """The enhancement, once for each process: of several, each computes with one thread, on a GPU of its own as far as
    there are as many."""
    if in_worker():
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
    devices = torch.cuda.device_count() if settings.device in ("cuda", AUTO) else 0
    return build_enhancer(replace(settings, device=f"cuda:{worker_number() % devices}" if devices else "cpu"))
