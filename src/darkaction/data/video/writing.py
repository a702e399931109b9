"""Encoding, checked by decoding."""

import os
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from darkaction.data.video.capture import VideoError, prepare_opencv
from darkaction.data.video.reading import Frames, iter_frames

CODECS = {"mp4v": (".mp4",), "FFV1": (".avi", ".mkv")}
"""Codecs to write with, and the endings each goes with. No H.264: OpenCV's wheels hold no encoder for it. FFV1 is
lossless; in .avi the same frames give the same bytes, in .mkv not (a random identifier is written)."""


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
    # An absolute path: FFmpeg takes `http:/a.mp4` for an address.
    partial = path.absolute().with_name(f".{path.stem}.partial{path.suffix}")
    try:
        str(partial).encode()
    except UnicodeEncodeError:  # OpenCV crashes
        raise VideoError(path, "cannot be written: its name is not valid UTF-8") from None
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
    prepare_opencv()
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
