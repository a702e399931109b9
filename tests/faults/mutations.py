"""Videos of five containers, and ways in which files get damaged."""

import random
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from darkaction.data.video import write_video
from video_files import ODD

ODD_FILES = ("index_first.mp4", "fragmented.mp4", "whole.avi", "piped.avi", "late.mkv", "piped.mkv", "whole.webm")

WRITTEN = (("mpeg4.mp4", "mp4v"), ("mpeg4.mov", "mp4v"), ("jpeg.avi", "MJPG"), ("lossless.avi", "FFV1"))
"""Written here with OpenCV: (name, codec)."""

EXTREMES = (0, 1, 0x7F, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)

MARKS = re.compile(
    rb"ftyp|moov|mdat|trak|mdia|minf|stbl|stsd|stts|stsz|stco|stsc|avcC|tkhd|mvhd|moof|traf|trun"
    rb"|RIFF|LIST|avih|strh|strf|movi|idx1|00d[bc]"
    rb"|\x1aE\xdf\xa3|\x18S\x80g|\x16T\xaek|\x1fC\xb6u|\xa3[\x40-\xff]"
)
"""Names of boxes, chunks and elements, beside which sizes stand."""

Mutation = Callable[[bytearray, random.Random], None]


def write_originals(folder: Path) -> list[Path]:
    """Whole videos of MP4, MOV, AVI, Matroska and WebM, of five codecs."""
    paths = [Path(shutil.copy(ODD / name, folder / name)) for name in ODD_FILES]
    rng = np.random.default_rng(0)
    background = cv2.resize(rng.integers(20, 90, (6, 8, 3), dtype=np.uint8), (64, 48))
    frames = np.stack([np.roll(background, 2 * number, axis=1) for number in range(30)])
    for name, codec in WRITTEN:
        path = folder / name
        if codec == "FFV1":
            write_video(path, frames, fps=30.0, codec=codec)
        else:
            writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), 30.0, (64, 48))
            for frame in frames:
                writer.write(frame)
            writer.release()
        paths.append(path)
    return paths


def _range(data: bytearray, rng: random.Random, longest: float = 0.2) -> tuple[int, int]:
    first = rng.randrange(len(data))
    return first, min(len(data), first + rng.randrange(1, max(2, int(longest * len(data)))))


def flip_bits(data: bytearray, rng: random.Random) -> None:
    """One to 64 bits anywhere."""
    for _ in range(2 ** rng.randrange(7)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def cut_off(data: bytearray, rng: random.Random) -> None:
    """The end is missing."""
    del data[rng.randrange(1, len(data)) :]


def remove(data: bytearray, rng: random.Random) -> None:
    """A part is missing."""
    first, last = _range(data, rng)
    del data[first:last]


def duplicate(data: bytearray, rng: random.Random) -> None:
    """A part stands twice."""
    first, last = _range(data, rng)
    data[last:last] = data[first:last]


def randomize(data: bytearray, rng: random.Random) -> None:
    """A part is noise."""
    first, last = _range(data, rng, 0.05)
    data[first:last] = rng.randbytes(last - first)


def zero(data: bytearray, rng: random.Random) -> None:
    """A part is zeros."""
    first, last = _range(data, rng)
    data[first:last] = bytes(last - first)


def change_header(data: bytearray, rng: random.Random) -> None:
    """A number among the first kilobytes, or behind a mark, is extreme."""
    marks = [mark.end() for mark in MARKS.finditer(bytes(data[: len(data) - 64]))]
    position = rng.choice(marks) + 4 * rng.randrange(12) if marks else rng.randrange(len(data) // 2)
    position = max(0, min(position, len(data) - 4))
    struct.pack_into(rng.choice("<>") + "I", data, position, rng.choice(EXTREMES))


def change_size(data: bytearray, rng: random.Random) -> None:
    """The size of a box, chunk or element is wrong."""
    marks = list(MARKS.finditer(bytes(data[8 : len(data) - 8])))
    mark = rng.choice(marks)
    if bytes(data[:4]) == b"RIFF":
        [size] = struct.unpack_from("<I", data, mark.end() + 8)
        struct.pack_into("<I", data, mark.end() + 8, _other(size, rng))
    elif bytes(data[:4]) == b"\x1aE\xdf\xa3":
        data[mark.end() + 8] = rng.randrange(256)
    else:
        [size] = struct.unpack_from(">I", data, mark.start() + 4)
        struct.pack_into(">I", data, mark.start() + 4, _other(size, rng))


def _other(size: int, rng: random.Random) -> int:
    return rng.choice((*EXTREMES, size + rng.randrange(1, 9), max(0, size - rng.randrange(1, 9)), 2 * size)) % 2**32


def change_many(data: bytearray, rng: random.Random) -> None:
    """Several of the others."""
    for _ in range(rng.randrange(2, 5)):
        if len(data) > 64:
            rng.choice((flip_bits, remove, duplicate, randomize, zero, change_header))(data, rng)


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits,
    cut_off,
    remove,
    duplicate,
    randomize,
    zero,
    change_header,
    change_size,
    change_many,
)


def mutate(original: bytes, number: int, seed: int) -> tuple[bytes, str]:
    """The damaged file of that number, always the same, and the name of what was done."""
    rng = random.Random(f"{seed} {number}")
    mutation = MUTATIONS[number % len(MUTATIONS)]
    data = bytearray(original)
    mutation(data, rng)
    return bytes(data), mutation.__name__
