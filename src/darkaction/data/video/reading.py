"""Decoding. Whether a file is whole, its bytes tell (avi.py, matroska.py, mp4.py) and the frames that decode.

The number of frames and the rate that a container announces are hints: edit lists, pipes and variable rates make those
wrong in files that lack nothing.
"""

import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from darkaction.data.settings import VideoLimits
from darkaction.data.video import avi, matroska, mp4
from darkaction.data.video.capture import VideoError, codec, decode, open_capture, open_file
from darkaction.data.video.parts import Samples

Frames = NDArray[np.uint8]

BT_601 = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in luma."""

CONTAINERS = {".mp4": "MP4", ".m4v": "MP4", ".mov": "MP4", ".avi": "AVI", ".mkv": "Matroska", ".webm": "Matroska"}
"""File endings taken for videos. What a file is, its first bytes tell: ARID's .avi names may hold MP4."""

HINT_TOLERANCE = 0.02
"""Share of the frames (at least one) by which a container's number may differ and still count as right: AVI files of
HMDB-51 announce one frame more than they hold."""

LOST_FRAMES = 0.1
"""Share of the samples of a whole file (at least 3) that need not decode: cutting leaves some whose references are
gone, and a codec may have samples that show nothing."""

MIN_FRAMES = 2
"""Fewer show no action."""


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """Length, rate and size of a video: as its container announces them (`frames` and `fps` may then be wrong, 0 where
    it does not say), or as a pass over the whole of it found them."""

    frames: int
    fps: float
    width: int
    height: int


def probe(path: Path) -> VideoInfo:
    """Reads the header of a video.

    Raises:
        VideoError: when the file is missing, empty, cut short or no video.
    """
    video = Video(path)
    video.close()
    return video.announced


def unusable(info: VideoInfo) -> str:
    """Why a video that decodes is no clip of an action; empty where it is one."""
    return "has only one frame" if info.frames < MIN_FRAMES else ""


class Video:
    """One pass over a video, with one opening of the file, which costs as much as decoding some frames."""

    def __init__(self, path: Path, limits: VideoLimits | None = None) -> None:
        """Opens the file and reads its header.

        Args:
            path: the file; its name is never shown to the decoder, which would take some for addresses or patterns.
            limits: what the file may cost; None for files that were judged before.

        Raises:
            VideoError: when the file is missing, empty, cut short, no video, or its frames are larger than allowed.
        """
        self._path, self._limits = path, limits
        with open_file(path) as file:
            _require_whole(path, file)
            self._capture = open_capture(path, file)
        self.announced = _announced(self._capture)
        self._count = 0
        self._first_ms, self._last_ms = math.inf, -math.inf
        if limits is not None and self.announced.width * self.announced.height > limits.max_pixels:
            self.close()
            raise VideoError(
                path,
                f"frames of {self.announced.width}x{self.announced.height} pixels are over "
                f"video.max_pixels {limits.max_pixels}",
            )

    def close(self) -> None:
        """Lets go of the file; `frames` does so at its end."""
        self._capture.release()

    def frames(self) -> Iterator[Frames]:
        """Decodes frame by frame, in constant memory. To be called once.

        Yields:
            frame_HWC: uint8 RGB, each a new array, all of one size.

        Raises:
            VideoError: on the first step when no frame decodes, later when the video is longer or takes longer than
                allowed, at the end when a good part of it did not decode.
        """
        try:
            for frame_bgr, at_ms in decode(self._capture, self._path, self._limits):
                self._count += 1
                if self._limits is not None and self._count > self._limits.max_frames:
                    raise VideoError(self._path, f"has more frames than video.max_frames {self._limits.max_frames}")
                self._first_ms, self._last_ms = min(self._first_ms, at_ms), max(self._last_ms, at_ms)
                yield cv2.cvtColor(frame_bgr, cv2.COLOR_BGR2RGB)  # type: ignore[misc]  # the stubs know no dtype
        finally:
            self.close()
        if self._count == 0:
            raise VideoError(self._path, f"no frame can be decoded ({codec(self._path)})")
        if not self.as_announced():
            self._require_decoded()

    def as_announced(self) -> bool:
        """Whether as many frames came as the container announces, or nearly so."""
        announced = self.announced.frames
        return announced > 0 and abs(self._count - announced) <= max(1, round(HINT_TOLERANCE * announced))

    def found(self) -> VideoInfo:
        """What `frames` found, once it is through. The rate is the announced one unless the frames' times belie it."""
        return VideoInfo(frames=self._count, fps=self._rate(), width=self.announced.width, height=self.announced.height)

    def _rate(self) -> float:
        announced = self.announced.fps if math.isfinite(self.announced.fps) and self.announced.fps > 0 else 0.0
        steps, seconds = self._count - 1, (self._last_ms - self._first_ms) / 1000
        if steps < 1 or seconds <= 0:  # no times, or all the same
            return announced
        agree = announced > 0 and abs(announced * seconds - steps) <= max(2, 0.1 * steps)
        return announced if agree else steps / seconds

    def _require_decoded(self) -> None:
        """Raises a VideoError when clearly fewer frames decode than the file holds samples."""
        with open_file(self._path) as file:
            size = os.fstat(file.fileno()).st_size
            samples: Samples = _container(file).count_samples(file, size)
            hidden = mp4.edit_lists(file, size)
        decoded, least = self._count, samples.count - max(3, round(LOST_FRAMES * samples.count))
        if samples.hole is not None:
            raise VideoError(self._path, f"damaged at byte {samples.hole}")
        if decoded < least and hidden:
            decoded = self._count_without(hidden)
        if decoded < least:
            raise VideoError(self._path, f"truncated or damaged: {decoded} of {samples.count} frames can be decoded")

    def _count_without(self, edit_lists: list[int]) -> int:
        """Frames that decode in a copy of the file in which edit lists, which hide samples, are called free space."""
        with open_file(self._path) as file, tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(file, copy)
            for position in edit_lists:
                copy.seek(position)
                copy.write(b"free")
            copy.flush()
            capture = open_capture(self._path, copy)
        try:
            return sum(1 for _ in decode(capture, self._path, self._limits))
        finally:
            capture.release()


def _announced(capture: cv2.VideoCapture) -> VideoInfo:
    return VideoInfo(
        frames=max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT))),
        fps=float(capture.get(cv2.CAP_PROP_FPS)),
        width=int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
        height=int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
    )


def iter_frames(path: Path, limits: VideoLimits | None = None) -> Iterator[Frames]:
    """The frames of a video, as `Video.frames` gives them; errors of opening come with the first step."""
    yield from Video(path, limits).frames()


def read_video(path: Path) -> Frames:
    """Decodes a whole video into frames_NHWC, uint8 RGB. Raises VideoError as `Video.frames` does."""
    return np.stack(list(iter_frames(path)))


def _require_whole(path: Path, file: BinaryIO) -> None:
    """Raises a VideoError when the file is of no known container, or shorter than that says.

    Only known containers go on to the decoder, which would also play text, pictures and playlists naming other files.
    """
    size = os.fstat(file.fileno()).st_size
    try:
        container = _container(file)
        end = 0 if container is None else container.end_of_parts(file, size)
    except OSError as error:
        raise VideoError(path, f"cannot be read ({error.strerror})") from None
    if container is None:
        known = ", ".join(dict.fromkeys(CONTAINERS.values()))
        raise VideoError(path, f"not a video (its first bytes are not those of {known})")
    if end > size:
        raise VideoError(path, f"truncated: {size} bytes, its container announces {end}")


def _container(file: BinaryIO) -> Any:
    """The module that walks through files of this container, with `end_of_parts` and `count_samples`; None where the
    container is none of the known ones."""
    file.seek(0)
    head = file.read(12)
    if head[:4] == matroska.MAGIC:
        return matroska
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return avi
    return mp4 if head[4:8] in mp4.FIRST_BOXES else None
