"""Video files that are hard to get otherwise: the folder odd_videos, and headers changed by hand."""

import struct
from pathlib import Path

import numpy as np

from darkaction.data.video import write_video

ODD = Path(__file__).resolve().parent / "odd_videos"

FRAMES = {
    "cut.mp4": 45,
    "fragmented.mp4": 60,
    "index_first.mp4": 60,
    "late.mkv": 30,
    "piped.avi": 60,
    "piped.mkv": 60,
    "variable_rate.webm": 26,
    "whole.avi": 60,
    "whole.webm": 60,
}
"""Frames of the files that can be decoded."""


def write_ffv1(path: Path, frames: int = 20) -> bytearray:
    """A small AVI file and its bytes."""
    rng = np.random.default_rng(0)
    write_video(path, rng.integers(0, 60, (frames, 48, 64, 3), dtype=np.uint8), fps=30.0, codec="FFV1")
    return bytearray(path.read_bytes())


def write_huge(path: Path) -> Path:
    """An AVI file of some kB that says its frames are 8192x8192."""
    data = write_ffv1(path)
    struct.pack_into("<ii", data, data.index(b"strf") + 12, 8192, 8192)
    path.write_bytes(data)
    return path


def write_late(path: Path, chunks: int) -> Path:
    """An AVI file in which so many chunks of sound stand before the first of 20 frames."""
    data = write_ffv1(path)
    header = b"auds" + bytes(16) + struct.pack("<II", 1, 8000) + bytes(28)  # scale, rate: 8000 samples a second
    sound = b"strh" + struct.pack("<I", len(header)) + header
    sound += b"strf" + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)  # PCM of 16 bits, one channel
    stream = b"LIST" + struct.pack("<I", 4 + len(sound)) + b"strl" + sound
    first = data.index(b"LIST", data.index(b"strf"))  # behind the list of the video's stream
    movi = data.index(b"movi") + 4
    data[movi:movi] = (b"01wb" + struct.pack("<I", 2) + bytes(2)) * chunks
    del data[data.rindex(b"idx1") :]
    data[first:first] = stream
    movi += len(stream)
    for position in (4, movi - 8):  # lengths of the whole and of the frames: unknown, as in a pipe
        struct.pack_into("<I", data, position, 0xFFFFFFFF)
    struct.pack_into("<I", data, 16, struct.unpack_from("<I", data, 16)[0] + len(stream))
    struct.pack_into("<I", data, data.index(b"avih") + 8 + 24, 2)  # streams
    path.write_bytes(data)
    return path
