"""The frozen enhancement over every clip of a dataset: decode, enhance, resize, store; a few frames at a time."""

import hashlib
import multiprocessing
import signal
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from tqdm import tqdm

from darkaction.core.errors import UserError
from darkaction.core.folders import new_folder
from darkaction.core.processes import end_with_parent
from darkaction.data.clips import ENHANCER, StoredClip, write_clip, write_list, write_settings
from darkaction.data.video import Frames, VideoError, iter_frames
from darkaction.enhancement import LEARNT, Enhancer, enlightengan, zero_dce
from darkaction.enhancement.gamma import correct_gamma, gamma_table
from darkaction.enhancement.networks import OnDevice
from darkaction.enhancement.settings import frame_settings
from darkaction.enhancement.training_images import resize

CHUNK = 32
CHUNK_BYTES = 32 * 1024**2
"""Most frames of a clip that are in memory at once, and fewer where they are so large that they take more bytes."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How clips are enhanced and stored. Plain values, so that it can be sent to worker processes."""

    method: str  # none | gamma | zero_dce | enlightengan
    gamma: float  # for gamma
    weights: Path  # for zero_dce and enlightengan: safetensors
    curve_scale: float  # for zero_dce
    device: str  # for these two: cpu, cuda or cuda:<number>
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
    raise ValueError(f"enhance.method is '{settings.method}'; valid: none, gamma, zero_dce, enlightengan")


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


def enhance_dataset(clips: Sequence[Clip], store: Path, settings: Settings, *, workers: int) -> None:
    """Makes the clip store of a dataset in `store`, whole or not at all; the result does not depend on `workers`.

    Raises:
        UserError: naming the clip that does not decode, or the weights that do not fit.
    """
    build_enhancer(settings)  # a wrong setting fails here, before any process starts
    longest_first = sorted(clips, key=lambda clip: (-clip.frames, clip.clip_id))
    stored = []
    with (
        new_folder(store) as folder,
        tqdm(total=sum(clip.frames for clip in clips), desc="enhance", unit="frame") as progress,
        _worker_pool(settings, folder, workers=min(workers, len(clips))) as pool,
    ):
        for done in as_completed([pool.submit(_store_clip, clip) for clip in longest_first]):
            stored.append(done.result())
            progress.update(stored[-1].frames)
        write_settings(folder, recorded(settings))
        write_list(folder, stored)


@contextmanager
def _worker_pool(settings: Settings, folder: Path, *, workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that run `_store_clip`. When the block ends by an error, clips that have not begun are dropped."""
    # spawn: a fork would copy the locks of the parent's threads.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(settings, folder))
    try:
        yield pool
    except BrokenProcessPool:
        raise UserError("enhance: a worker process died, perhaps for want of memory; nothing was written") from None
    finally:
        pool.shutdown(cancel_futures=True)


_worker: tuple[Settings, Path, Enhancer]
"""What a worker process keeps between clips; set by `_start_worker`."""


def _start_worker(settings: Settings, folder: Path) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers Ctrl-C
    end_with_parent()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    _worker = settings, folder, build_enhancer(settings)


def _store_clip(clip: Clip) -> StoredClip:
    settings, folder, enhancer = _worker
    size = {"height": settings.height, "width": settings.width}
    try:
        chunks = enhance_clip(iter_frames(clip.path), enhancer, **size)
        return write_clip(folder, clip.clip_id, chunks, frames=clip.frames, **size, flow=settings.flow)
    except VideoError as error:
        raise UserError(f"clip {clip.clip_id}: {error}; python src/prepare.py sets damaged clips aside") from None
