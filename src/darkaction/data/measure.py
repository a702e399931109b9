"""What decoding tells about a clip, each clip once, in processes that a broken file may crash."""

import hashlib
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from darkaction.core.processes import end_with_parent
from darkaction.data.settings import VideoLimits
from darkaction.data.video import BT_601, CONTAINERS, Frames, Video, VideoError, iter_frames, unusable

HASHED_FRAMES = 5
"""Frames of a clip, evenly spaced, that are hashed."""

MEAN_FRAME = (24, 32)
"""Height and width in pixels of the mean frame (average over time) that is kept of each clip."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What decoding told about one file; `reason` is empty for a usable clip."""

    frames: int = 0
    fps: float = 0.0
    width: int = 0
    height: int = 0
    luma: float = 0.0
    sha256: str = ""
    phash: str = ""
    reason: str = ""
    mean_HWC: NDArray[np.float16] | None = field(default=None, compare=False)


def measure(path: Path, limits: VideoLimits | None = None) -> Measured:
    """Decodes a clip, frame by frame, and hashes its file. An unusable clip is no error: it has a reason."""
    if path.suffix.lower() not in CONTAINERS:
        return Measured(reason=f"not named like a video ({', '.join(CONTAINERS)})")
    try:
        video = Video(path, limits)
        positions = _hashed_positions(video.announced.frames)
        hashes: list[str] = []
        total_HWC = np.zeros((0, 0, 3))
        for number, frame_HWC in enumerate(video.frames()):
            if number in positions:
                hashes += [perceptual_hash(frame_HWC)] * positions.count(number)
            total_HWC = total_HWC if number else np.zeros(frame_HWC.shape)
            cv2.accumulate(frame_HWC, total_HWC)
        found = video.found()
        if not video.as_announced():
            hashes = _hash_frames(path, _hashed_positions(found.frames), limits)
    except VideoError as error:
        return Measured(reason=error.reason)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    average_HWC = total_HWC / found.frames
    height, width = average_HWC.shape[:2]
    hashes += hashes[-1:] * (HASHED_FRAMES - len(hashes))  # a clip a frame or two shorter than announced
    return Measured(
        frames=found.frames,
        fps=found.fps,
        width=width,
        height=height,
        luma=float((average_HWC.mean((0, 1)) * BT_601).sum()),
        sha256=sha256,
        phash="".join(hashes),
        reason=unusable(found),
        mean_HWC=cv2.resize(average_HWC, MEAN_FRAME[::-1], interpolation=cv2.INTER_AREA).astype(np.float16),
    )


def _hashed_positions(frames: int) -> list[int]:
    """Numbers of the frames that are hashed; in short clips some stand twice."""
    return [(2 * k + 1) * frames // (2 * HASHED_FRAMES) for k in range(HASHED_FRAMES)]


def _hash_frames(path: Path, positions: list[int], limits: VideoLimits | None) -> list[str]:
    """A second pass, for a video whose container announced another number of frames than it has."""
    hashes: list[str] = []
    for number, frame_HWC in enumerate(iter_frames(path, limits)):
        if number in positions:
            hashes += [perceptual_hash(frame_HWC)] * positions.count(number)
    return hashes


def perceptual_hash(frame_HWC: Frames) -> str:
    """64 bits as 16 hexadecimal digits: signs of the low frequencies against their median, so neither brightness nor
    a new encoding changes many."""
    grey_HW = cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2GRAY)
    return str(imagehash.phash(Image.fromarray(grey_HW)))


def measure_all(
    paths: Sequence[Path], *, workers: int, measure_clip: Callable[[Path], Measured] = measure
) -> dict[Path, Measured]:
    """Calls `measure_clip` (a module's function) on every path in worker processes.

    A crash of the decoder takes its process down and, with it, the pool: the few files then in work are measured again
    one at a time, so that only the one that crashes is set aside, and a new pool goes on with the rest.
    """
    results: dict[Path, Measured] = {}
    pending = deque(paths)
    suspects: deque[Path] = deque()
    with tqdm(total=len(paths), desc="index", unit="clip") as bar:
        while pending or suspects:
            alone = bool(suspects)
            if alone:
                found = _measure_in_pool(suspects, workers=1, in_work=1, work=measure_clip)
            else:
                found = _measure_in_pool(pending, workers=workers, in_work=4 * workers, work=measure_clip)
            for path, measured in found:
                if measured is not None:
                    results[path] = measured
                    bar.update()
                elif alone:
                    results[path] = Measured(reason="crashes the decoder")
                    bar.update()
                else:
                    suspects.append(path)
    return results


def _measure_in_pool(
    queue: deque[Path], *, workers: int, in_work: int, work: Callable[[Path], Measured]
) -> Iterator[tuple[Path, Measured | None]]:
    """Takes paths from `queue`, at most `in_work` at a time, and yields results until the queue is empty or a worker
    dies; then those in work come with None and the rest stays in the queue.
    """
    futures: dict[Future[Measured], Path] = {}
    try:
        with _pool(min(workers, len(queue))) as pool:
            while queue or futures:
                while queue and len(futures) < in_work:
                    futures[pool.submit(work, queue[0])] = queue[0]
                    queue.popleft()
                for future in wait(futures, return_when=FIRST_COMPLETED).done:
                    measured = future.result()
                    yield futures.pop(future), measured
    except BrokenProcessPool:
        yield from ((path, None) for path in futures.values())


def _pool(workers: int) -> ProcessPoolExecutor:
    # spawn: a fork would copy the locks of the parent's threads.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)


def _start_worker() -> None:
    end_with_parent()
    cv2.setNumThreads(1)
