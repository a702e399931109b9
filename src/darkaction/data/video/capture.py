"""OpenCV's capture of a file, and what goes wrong with it."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import cv2

from darkaction.core.errors import UserError
from darkaction.data.settings import VideoLimits


class VideoError(UserError):
    """A video that cannot be used. `path` says which and `reason` why, without the path."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)  # all arguments, so that the error survives the way out of a worker process
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def open_file(path: Path) -> BinaryIO:
    """Opens a file to read; a VideoError when it is missing, empty, a folder or not readable."""
    try:
        if path.is_dir():
            raise VideoError(path, "is a folder, expected a video file")
        if path.stat().st_size == 0:
            raise VideoError(path, "empty file (0 bytes)")
        return path.open("rb")
    except FileNotFoundError:
        reason = "dangling link" if path.is_symlink() else "no such file"
        raise VideoError(path, reason) from None
    except OSError as error:
        raise VideoError(path, f"cannot be read ({error.strerror})") from None
    except ValueError:  # a zero byte in the name
        raise VideoError(path, "no such file") from None


def open_capture(path: Path, file: BinaryIO) -> cv2.VideoCapture:
    """A capture of the frames of an open file; `path` names it in the VideoError when there is no video in it."""
    capture = _capture(file)
    if not capture.isOpened():
        capture.release()
        raise VideoError(path, f"no video stream can be opened ({codec(path)})")
    return capture


def _capture(file: BinaryIO, *, raw: bool = False) -> cv2.VideoCapture:
    """A capture, perhaps not opened, of frames, or (raw) of samples, for which no decoder is needed. The file may be
    closed afterwards.

    FFmpeg takes names for addresses (`http:/a.mp4`), protocols (`10:30.mp4`) and patterns (`img_%03d.png`), and OpenCV
    crashes on those that are no UTF-8. So they get the number of the open file, which has none of that.
    """
    prepare_opencv()
    # One decoder thread: clips are short and worker processes decode several at once.
    options = [cv2.CAP_PROP_N_THREADS, 1, *([cv2.CAP_PROP_FORMAT, -1] if raw else [])]
    return cv2.VideoCapture(f"/dev/fd/{file.fileno()}", cv2.CAP_FFMPEG, options)


def prepare_opencv() -> None:
    """Settings that OpenCV takes from the environment alone; where they are set they stay."""
    # The decoder's remarks on damaged files stay off the terminal; our errors say what matters.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    if "OPENCV_LOG_LEVEL" not in os.environ:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    # Packets of other streams before the next frame, after which it gives up: by default 4096, some 90 s of sound.
    os.environ.setdefault("OPENCV_FFMPEG_READ_ATTEMPTS", "10000000")


def decode(
    capture: cv2.VideoCapture, path: Path, limits: VideoLimits | None
) -> Iterator[tuple[cv2.typing.MatLike, float]]:
    """Frames in BGR with their times in milliseconds; a VideoError when decoding takes longer than allowed."""
    count, spent = 0, 0.0
    while True:
        before = time.monotonic()
        read, frame_bgr = capture.read()
        spent += time.monotonic() - before
        if not read:
            return
        count += 1
        if limits is not None and spent > limits.max_seconds:
            raise VideoError(
                path, f"takes longer to decode than video.max_seconds {limits.max_seconds:g} ({count} frames by then)"
            )
        yield frame_bgr, float(capture.get(cv2.CAP_PROP_POS_MSEC))


def codec(path: Path) -> str:
    """Names the codec of a video that does not decode."""
    with open_file(path) as file:
        capture = _capture(file, raw=True)
    code = int(capture.get(cv2.CAP_PROP_FOURCC)) if capture.isOpened() else 0
    capture.release()
    if code <= 0:
        return "damaged, truncated, or of a codec that the decoder does not know"
    name = code.to_bytes(4, "little").decode("ascii", "backslashreplace").lower()
    return f"codec {name}: damaged, or the decoder does not know it; H.264, VP9 and MPEG-4 it does"
