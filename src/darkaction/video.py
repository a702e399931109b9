"""Decoding and encoding: the only room that opens a video file.

Frames are RGB uint8, frame_HWC alone and frames_NHWC together (N frames of the video, H W pixels, C colour).
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from darkaction.errors import UserError

Frames = NDArray[np.uint8]

CONTAINERS = {".mp4": "MP4", ".m4v": "MP4", ".mov": "MP4", ".avi": "AVI", ".mkv": "Matroska", ".webm": "Matroska"}
"""File endings taken for videos. What a file is, its first bytes tell: ARID's .avi names may hold MP4."""

CODECS = {"mp4v": (".mp4",), "FFV1": (".avi", ".mkv")}
"""Codecs to write with, and the endings each goes with. No H.264: OpenCV's wheels hold no encoder for it. FFV1 is
lossless; in .avi the same frames give the same bytes, in .mkv not (a random identifier is written)."""

ISO_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
"""Types of the first box by which an MP4 or QuickTime file is known."""

MISSING_FRAMES = 0.02
"""Share of the frames a container announces that may be absent (at least one): AVI files of HMDB-51 announce one frame
more than they hold, and edit lists hide a few."""


class VideoError(UserError):
    """A video that cannot be used. `path` says which and `reason` why, without the path."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)  # all arguments, so that the error survives the way out of a worker process
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What the container announces. `frames` may be wrong, or 0 where it does not say."""

    frames: int
    fps: float
    width: int
    height: int


def probe(path: Path) -> VideoInfo:
    """Reads the header of a video.

    Raises:
        VideoError: when the file is missing, empty, cut short or no video.
    """
    capture = _open(path)
    try:
        return _info(capture)
    finally:
        capture.release()


def _info(capture: cv2.VideoCapture) -> VideoInfo:
    return VideoInfo(
        frames=max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT))),
        fps=float(capture.get(cv2.CAP_PROP_FPS)),
        width=int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
        height=int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
    )


def open_video(path: Path) -> tuple[VideoInfo, Iterator[Frames]]:
    """What `probe` and `iter_frames` give, with one opening of the file, which costs as much as decoding some frames.

    Raises:
        VideoError: as `probe`; the frames as `iter_frames`.
    """
    capture = _open(path)
    return _info(capture), _frames(capture, path)


def iter_frames(path: Path) -> Iterator[Frames]:
    """Decodes a video frame by frame, in constant memory.

    Yields:
        frame_HWC: uint8 RGB, each a new array.

    Raises:
        VideoError: on the first step when the file is missing, empty, cut short, no video or without frames; at the
            end when it gave clearly fewer frames than its container announces.
    """
    yield from _frames(_open(path), path)


def _frames(capture: cv2.VideoCapture, path: Path) -> Iterator[Frames]:
    try:
        announced = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        count = 0
        while True:
            read, frame_bgr = capture.read()
            if not read:
                break
            count += 1
            yield cv2.cvtColor(frame_bgr, cv2.COLOR_BGR2RGB)  # type: ignore[misc]  # the stubs know no dtype
    finally:
        capture.release()
    if count == 0:
        raise VideoError(path, "no frame can be decoded")
    if count < announced - max(1, round(MISSING_FRAMES * announced)):
        raise VideoError(path, f"truncated or damaged: {count} of {announced} frames can be decoded")


def count_frames(path: Path) -> int:
    """The number of frames that decode, in constant memory; the container's own number may be wrong.

    Raises:
        VideoError: as `iter_frames`.
    """
    return sum(1 for _ in iter_frames(path))


def read_video(path: Path) -> Frames:
    """Decodes a whole video into frames_NHWC, uint8 RGB. Raises VideoError as `iter_frames` does."""
    return np.stack(list(iter_frames(path)))


def write_video(path: Path, frames: Iterable[Frames], *, fps: float, codec: str) -> int:
    """Encodes frames and checks the result by decoding it. Nothing is left behind on an error.

    Args:
        path: where to write; its ending must go with the codec (see CODECS).
        frames: frame_HWC, uint8 RGB, of one size, height and width even (the encoders cut odd ones).
        fps: frames per second.
        codec: mp4v or FFV1. mp4v darkens dark levels by 2 to 4 of 255.

    Returns:
        The number of frames written.

    Raises:
        VideoError: when frames or codec do not fit, or the file does not decode to as many frames of that size.
    """
    if codec not in CODECS:
        raise VideoError(path, f"codec '{codec}' is not one of {', '.join(CODECS)}")
    if path.suffix.lower() not in CODECS[codec]:
        raise VideoError(path, f"codec {codec} needs a file ending in {' or '.join(CODECS[codec])}")
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        count, shape = _encode(path, partial, frames, fps=fps, codec=codec)
        try:
            decoded = [frame.shape for frame in iter_frames(partial)]
        except VideoError as error:  # the encoder does not say what became of its writes
            raise VideoError(path, f"what was written does not decode; is the disk full? ({error.reason})") from None
        if decoded != [shape] * count:
            raise VideoError(path, f"wrote {count} frames of {shape}, but {len(decoded)} of {set(decoded)} decode")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return count


def _encode(
    path: Path, partial: Path, frames: Iterable[Frames], *, fps: float, codec: str
) -> tuple[int, tuple[int, ...]]:
    """Writes `partial`; errors name `path`. Returns the number of frames and the shape (H, W, 3) of each."""
    _quiet()
    writer: cv2.VideoWriter | None = None
    shape: tuple[int, ...] = ()
    count = 0
    try:
        for frame in frames:
            if writer is None:
                shape = frame.shape
                _require_frame(path, frame, shape)
                size = (shape[1], shape[0])
                fourcc = cv2.VideoWriter.fourcc(*codec)
                writer = cv2.VideoWriter(str(partial), cv2.CAP_FFMPEG, fourcc, fps, size)
                if not writer.isOpened():  # later writes would be silently lost
                    raise VideoError(path, f"the encoder {codec} cannot write here ({size[0]}x{size[1]}, {fps} fps)")
            _require_frame(path, frame, shape)
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
            count += 1
    finally:
        if writer is not None:
            writer.release()
    if count == 0:
        raise VideoError(path, "no frames to write")
    return count, shape


def _require_frame(path: Path, frame: Frames, shape: tuple[int, ...]) -> None:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.shape[0] % 2 or frame.shape[1] % 2:
        raise VideoError(
            path, f"frames must be uint8 (H, W, 3) with even H and W, this one is {frame.dtype} {frame.shape}"
        )
    if frame.shape != shape:
        raise VideoError(path, f"frames differ in size: {shape}, then {frame.shape}")


def _open(path: Path) -> cv2.VideoCapture:
    """An opened capture of a file that begins like a video and is as long as its container says."""
    _require_whole_file(path)
    _quiet()
    # One decoder thread: clips are short and worker processes decode several at once.
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    if not capture.isOpened():
        capture.release()
        raise VideoError(path, "no video stream can be opened (damaged, truncated, or a codec OpenCV does not know)")
    return capture


def _quiet() -> None:
    """Keeps the decoder's remarks on damaged files off the terminal; our errors say what matters. Both variables are
    OpenCV's own and win when set.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    if "OPENCV_LOG_LEVEL" not in os.environ:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def _require_whole_file(path: Path) -> None:
    """Raises a VideoError when the file is missing, empty, not of a known container, or shorter than it says.

    Only known containers go on to the decoder, which would also play text, pictures and playlists naming other files.
    """
    if path.is_dir():
        raise VideoError(path, "is a folder, expected a video file")
    try:
        size = path.stat().st_size
        if size == 0:
            raise VideoError(path, "empty file (0 bytes)")
        with path.open("rb") as file:
            end = _announced_end(file, size)
    except FileNotFoundError:
        reason = "dangling link" if path.is_symlink() else "no such file"
        raise VideoError(path, reason) from None
    except OSError as error:
        raise VideoError(path, f"cannot be read ({error.strerror})") from None
    if end is None:
        known = ", ".join(dict.fromkeys(CONTAINERS.values()))
        raise VideoError(path, f"not a video (its first bytes are not those of {known})")
    if end > size:
        raise VideoError(path, f"truncated: {size} bytes, its container announces {end}")


def _announced_end(file: BinaryIO, size: int) -> int | None:
    """Where the container says the file ends, in bytes (`size` where it does not say); None for unknown containers."""
    head = file.read(12)
    if head[:4] == b"\x1aE\xdf\xa3":  # EBML, the start of Matroska; its length may be left open
        return size
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return int.from_bytes(head[4:8], "little") + 8
    if head[4:8] in ISO_BOXES:
        return _end_of_boxes(file, size)
    return None


def _end_of_boxes(file: BinaryIO, size: int) -> int:
    """The end of the last top-level box of an ISO media file: 32-bit size (1: a 64-bit one follows the type; 0: up to
    the end of the file), then the type (ISO/IEC 14496-12, section 4.2).
    """
    offset = 0
    while offset + 8 <= size:
        file.seek(offset)
        header = file.read(16)
        length = int.from_bytes(header[:4], "big")
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        if length < 8:  # to the end of the file, or padding after the last box
            break
        offset += length
    return offset
