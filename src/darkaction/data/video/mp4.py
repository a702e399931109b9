"""Boxes of MP4 and QuickTime files (ISO/IEC 14496-12)."""

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from darkaction.data.video.parts import Part, Samples, hole_at

FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
"""Types of the first box by which a file is known."""

TOP_BOXES = (
    *FIRST_BOXES,
    b"moof",
    b"mfra",
    b"styp",
    b"sidx",
    b"ssix",
    b"emsg",
    b"prft",
    b"pdin",
    b"uuid",
    b"udta",
    b"meta",
)
"""Types of boxes of the top level; what else stands at the end of a file was appended to it."""


def end_of_parts(file: BinaryIO, size: int) -> int:
    """The end of the last box, or of the last sample that the tables place in the file: behind its end, `size`, when it
    was cut off."""
    end = 0
    for box in _boxes(file, 0, size):
        if box.stop > size and box.kind not in TOP_BOXES:
            break
        end = max(end, box.stop)
        if box.kind == b"moov" and box.stop <= size:
            tables = _inside(file, box, b"trak", b"mdia", b"minf", b"stbl")
            end = max([end, *(_end_of_samples(file, table) for table in tables)])
    return end


def count_samples(file: BinaryIO, size: int) -> Samples:
    """Samples in the table of the video's track, and in its fragments."""
    counts: dict[bytes, int] = {}  # by identifier of the track
    position, fragmented = 0, False
    for box in _boxes(file, 0, size):
        if box.kind == b"moov":
            for track in _inside(file, box, b"trak"):
                counts |= _samples_of_track(file, track)
        if box.kind == b"moof":
            fragmented = True
            for run in _inside(file, box, b"traf"):
                for identifier, count in _samples_of_run(file, run):
                    if identifier in counts:
                        counts[identifier] += count
        position = box.stop
    hole = hole_at(file, position, size) if fragmented else None
    return Samples(count=next(iter(counts.values())) if len(counts) == 1 else 0, hole=hole)


def edit_lists(file: BinaryIO, size: int) -> list[int]:
    """Where the types of the boxes stand that hide samples."""
    return [
        edits.start + 4
        for box in _boxes(file, 0, size)
        if box.kind == b"moov"
        for edits in _inside(file, box, b"trak", b"edts")
    ]


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[Part]:
    """The boxes from `start` on: 32-bit size (1: a 64-bit one follows the type; 0: up to the end), type, content. The
    last one may stop behind `end`."""
    while start + 8 <= end:
        file.seek(start)
        header = file.read(16)
        length, kind, body = int.from_bytes(header[:4], "big"), header[4:8], start + 8
        if length == 1:
            length, body = int.from_bytes(header[8:16], "big"), start + 16
        elif length == 0 and kind in TOP_BOXES:
            length = end - start
        if length < body - start:  # padding after the last box
            return
        yield Part(kind=kind, start=start, body=body, stop=start + length, next=start + length)
        start += length


def _inside(file: BinaryIO, box: Part, *kinds: bytes) -> Iterator[Part]:
    """The boxes that a path of types leads to."""
    for inner in _boxes(file, box.body, box.stop):
        if inner.kind == kinds[0] and inner.stop <= box.stop:
            if len(kinds) == 1:
                yield inner
            else:
                yield from _inside(file, inner, *kinds[1:])


def _content(file: BinaryIO, box: Part, *kinds: bytes) -> bytes:
    """What is in the first box of that path, behind its version and flags; empty where there is none."""
    for inner in _inside(file, box, *kinds):
        file.seek(inner.body)
        return file.read(inner.stop - inner.body)[4:]
    return b""


def _end_of_samples(file: BinaryIO, table: Part) -> int:
    """Where the last chunk of samples of a track ends; 0 where the table does not say (in fragments)."""
    width, chunks = 8, _content(file, table, b"co64")
    if not chunks:
        width, chunks = 4, _content(file, table, b"stco")
    runs, sizes = _content(file, table, b"stsc"), _content(file, table, b"stsz")
    if len(chunks) < 4 + width or len(runs) < 4 + 12 or len(sizes) < 8:
        return 0
    begin = int.from_bytes(chunks[-width:], "big")
    count = int.from_bytes(runs[-8:-4], "big")  # samples in each chunk of the last run
    each = int.from_bytes(sizes[:4], "big")
    if each:
        return begin + each * count
    each_of = np.frombuffer(sizes[: len(sizes) // 4 * 4], ">u4", offset=8)
    return begin + int(each_of[max(0, len(each_of) - count) :].sum())


def _samples_of_track(file: BinaryIO, track: Part) -> dict[bytes, int]:
    """{identifier: samples} of a track of video; empty for others."""
    if _content(file, track, b"mdia", b"hdlr")[4:8] != b"vide":
        return {}
    header = _content(file, track, b"tkhd")
    identifier = header[16:20] if len(header) >= 92 else header[8:12]  # version 1 has times of 64 bits
    return {identifier: int.from_bytes(_content(file, track, b"mdia", b"minf", b"stbl", b"stsz")[4:8], "big")}


def _samples_of_run(file: BinaryIO, fragment: Part) -> Iterator[tuple[bytes, int]]:
    """(identifier of the track, samples) of each run of a track's fragment."""
    identifier = _content(file, fragment, b"tfhd")[:4]
    for run in _inside(file, fragment, b"trun"):
        file.seek(run.body + 4)
        yield identifier, int.from_bytes(file.read(4), "big")
