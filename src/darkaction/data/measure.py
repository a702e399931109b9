"""What decoding tells about a clip, each clip once, in processes that a broken file may crash."""

import base64
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from darkaction.core.parallel import Mapper, in_worker
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
    paths: Sequence[Path],
    *,
    mapper: Mapper,
    measure_clip: Callable[[Path], Measured] = measure,
    journal: Path | None = None,
) -> dict[Path, Measured]:
    """Calls `measure_clip` (a module's function) on every path, where `mapper` says. A file that crashes the decoder,
    and its process with it, is set aside.

    Args:
        journal: a file that what was measured is kept in. What an earlier call has kept of files that are the same
            still is not measured again.
    """
    results = {} if journal is None else _read_journal(journal, paths)
    missing = [path for path in paths if path not in results]
    with (
        tqdm(total=len(paths), initial=len(results), desc="index", unit="clip") as bar,
        nullcontext() if journal is None else journal.open("a") as kept,
    ):
        for path, found in mapper(partial(_measure_in_worker, measure_clip), missing):
            results[path] = Measured(reason="crashes the decoder") if found is None else found
            if kept is not None:
                kept.write(json.dumps(_as_record(path, results[path])) + "\n")
                kept.flush()
            bar.update()
    return results


def _measure_in_worker(measure_clip: Callable[[Path], Measured], path: Path) -> Measured:
    if in_worker():
        cv2.setNumThreads(1)
    return measure_clip(path)


def _as_record(path: Path, measured: Measured) -> dict[str, Any]:
    mean_HWC = measured.mean_HWC
    pixels = None if mean_HWC is None else base64.b64encode(mean_HWC.tobytes()).decode()
    values = {field.name: getattr(measured, field.name) for field in fields(Measured)} | {"mean_HWC": pixels}
    return {"path": os.fsencode(path).hex(), "version": _version(path), "measured": values}


def _version(path: Path) -> list[int]:
    """Changes with the content of a file; empty where there is none."""
    try:
        status = path.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def _read_journal(journal: Path, paths: Sequence[Path]) -> dict[Path, Measured]:
    """What was measured before, of files that are the same still. The last line may be cut off: it does not count."""
    results: dict[Path, Measured] = {}
    if not journal.exists():
        return results
    known = set(paths)
    whole = 0
    with journal.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            record = json.loads(line)
            path, values = Path(os.fsdecode(bytes.fromhex(record["path"]))), record["measured"]
            if path in known and record["version"] == _version(path) != []:
                pixels = values["mean_HWC"]
                if pixels is not None:
                    mean_HWC = np.frombuffer(base64.b64decode(pixels), np.float16)
                    values["mean_HWC"] = mean_HWC.reshape(*MEAN_FRAME, 3)
                results[path] = Measured(**values)
    os.truncate(journal, whole)
    return results
