"""Chunks of AVI files (Microsoft's AVI RIFF file reference)."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

from darkaction.data.video.parts import Part, Samples, hole_at

CHUNK = re.compile(rb"RIFF|LIST|JUNK|idx1|ix\d\d|\d\d(db|dc|wb|tx|pc|ix)")
"""Types of chunks down to the frames; what else stands at the end of a file was appended to it."""

FRAMES = re.compile(rb"\d\dd[bc]")

LISTS = (b"movi", b"rec ", b"AVIX")
"""Lists that hold frames."""

UNKNOWN = (0, 0xFFFFFFFF)
"""What is written for a length where a program cannot go back to fill it in: in a pipe, or before a crash."""


def end_of_parts(file: BinaryIO, size: int) -> int:
    """The end of the last chunk; lists of frames are walked from inside only where their length is unknown."""
    return max([12, *(chunk.stop for chunk in _chunks(file, size, inside=False))])


def count_samples(file: BinaryIO, size: int) -> Samples:
    """Frames that are not empty (an empty one repeats the frame before)."""
    counts: Counter[bytes] = Counter()  # by stream
    position, announced_end = 12, 0
    for chunk in _chunks(file, size, inside=True):
        if FRAMES.fullmatch(chunk.kind) and chunk.stop > chunk.body:
            counts[chunk.kind[:2]] += 1
        if chunk.kind == b"RIFF":
            announced_end = chunk.stop
        position = chunk.next
    hole = hole_at(file, position, size, announced_end=announced_end)
    return Samples(count=next(iter(counts.values())) if len(counts) == 1 else 0, hole=hole)


def _chunks(file: BinaryIO, size: int, *, inside: bool) -> Iterator[Part]:
    """The chunks: type, 32-bit length, content, filled up to an even length. RIFF lists, of which a file over 1 GB has
    several, are walked from inside, and lists of frames if `inside` or where their length is unknown."""
    offset, open_end = 0, False
    while offset < size:
        file.seek(offset)
        header = file.read(12)
        kind, length, content = header[:4], int.from_bytes(header[4:8], "little"), header[8:12]
        body, stop = offset + 8, offset + 8 + length
        if len(header) < 8:  # in the middle of a list of frames a chunk that was cut off, else appended
            known = open_end and header[:2].isdigit()
        else:
            known = CHUNK.fullmatch(kind) is not None or (stop <= size and kind.strip().isalnum())
        if not known:
            return
        holds_frames = kind == b"RIFF" or (kind == b"LIST" and content in LISTS)
        unknown = holds_frames and length in UNKNOWN
        open_end |= unknown
        walked = kind == b"RIFF" or unknown or (holds_frames and inside)
        after = body + 4 if walked else stop + length % 2
        yield Part(kind=kind, start=offset, body=body, stop=body + 4 if unknown else stop, next=after)
        offset = after
