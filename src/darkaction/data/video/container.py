"""What the bytes of a video file tell: its container, whether it is whole, how many samples (encoded frames) it holds.

The count and the rate that a container announces are not asked: edit lists, pipes and variable rates make those wrong
in files that lack nothing.
"""

from typing import BinaryIO

from darkaction.data.video import avi, matroska, mp4
from darkaction.data.video.parts import Samples


def end_of_parts(file: BinaryIO, size: int) -> int | None:
    """Where the last part of an open file of `size` bytes ends: behind the end of the file when that was cut off. None
    where the file is of no known container."""
    name = _name(file)
    if name is None:
        return None
    walk = {"MP4": mp4.end_of_parts, "AVI": avi.end_of_parts, "Matroska": matroska.end_of_parts}[name]
    return walk(file, size)


def count_samples(file: BinaryIO, size: int) -> Samples:
    """Counts the samples of the video in a file of a known container, which takes a walk through all of it."""
    name = _name(file)
    assert name is not None
    walk = {"MP4": mp4.count_samples, "AVI": avi.count_samples, "Matroska": matroska.count_samples}[name]
    return walk(file, size)


def _name(file: BinaryIO) -> str | None:
    file.seek(0)
    head = file.read(12)
    if head[:4] == matroska.MAGIC:
        return "Matroska"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "AVI"
    return "MP4" if head[4:8] in mp4.FIRST_BOXES else None
