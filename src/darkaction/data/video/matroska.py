"""Elements of Matroska and WebM files (RFC 8794, RFC 9559)."""

from collections.abc import Iterator
from typing import BinaryIO

from darkaction.data.video.parts import Part, Samples, hole_at

MAGIC = b"\x1aE\xdf\xa3"
SEGMENT, TRACKS, CLUSTER = b"\x18\x53\x80\x67", b"\x16\x54\xae\x6b", b"\x1f\x43\xb6\x75"
TRACK, NUMBER, TYPE = b"\xae", b"\xd7", b"\x83"
SIMPLE_BLOCK, BLOCK_GROUP, BLOCK = b"\xa3", b"\xa0", b"\xa1"

ANYWHERE = "1a45dfa3 18538067 ec bf"  # the last two: unused room, a checksum
IN_SEGMENT = "1654ae6b 1f43b675 114d9b74 1549a966 1c53bb6b 1941a469 1043a770 1254c367"
IN_CLUSTER = "a3 a0 e7 a7 ab af 5854"
IN_BLOCK_GROUP = "a1 9b fb fa fd a4 75a1 75a2 c8 a2 8e"
ELEMENTS = {bytes.fromhex(name) for name in f"{ANYWHERE} {IN_SEGMENT} {IN_CLUSTER} {IN_BLOCK_GROUP}".split()}
"""Identifiers down to the blocks; what else stands at the end of a file was appended to it."""


def end_of_parts(file: BinaryIO, size: int) -> int:
    """The end of the last element."""
    return max([0, *(element.stop for element in _elements(file, 0, size, inside=(SEGMENT,)))])


def count_samples(file: BinaryIO, size: int) -> Samples:
    """Blocks of the video's track."""
    videos: list[int] = []
    count, position, announced_end = 0, 0, 0
    for element in _elements(file, 0, size, inside=(SEGMENT, CLUSTER, BLOCK_GROUP)):
        if element.kind == TRACKS:
            videos = [*_video_tracks(file, element)]
        if element.kind in (SIMPLE_BLOCK, BLOCK):
            file.seek(element.body)
            count += _number(file.read(8)) in videos
        if element.kind == SEGMENT:
            announced_end = element.stop
        position = element.next
    hole = hole_at(file, position, size, announced_end=announced_end)
    return Samples(count=count if len(videos) == 1 else 0, hole=hole)


def _elements(
    file: BinaryIO, start: int, end: int, *, inside: tuple[bytes, ...], any_kind: bool = False
) -> Iterator[Part]:
    """The elements: identifier of 1 to 4 bytes, length of 1 to 8 (all ones: unknown, as in a stream), content. Those of
    unknown length are walked from inside, and the kinds of `inside`."""
    offset = start
    while offset < end:
        file.seek(offset)
        header = file.read(12)
        wide = _width(header)
        kind, body = header[:wide], offset + wide + _width(header[wide:])
        cut = body > offset + len(header)
        known = any(name.startswith(kind) for name in ELEMENTS) if cut else any_kind or kind in ELEMENTS
        length = 0 if cut else _number(header[wide:])
        if not known or length is None:
            return
        unknown = length == (1 << 7 * (body - offset - wide)) - 1
        stop = body if unknown else body + length
        after = body if unknown or kind in inside else stop
        yield Part(kind=kind, start=offset, body=body, stop=stop, next=after)
        offset = after


def _video_tracks(file: BinaryIO, tracks: Part) -> Iterator[int]:
    """Numbers of the tracks that are videos."""
    for track in _elements(file, tracks.body, tracks.stop, inside=(), any_kind=True):
        if track.kind == TRACK:
            values = {}
            for element in _elements(file, track.body, track.stop, inside=(), any_kind=True):
                file.seek(element.body)
                values[element.kind] = int.from_bytes(file.read(min(8, element.stop - element.body)), "big")
            if values.get(TYPE) == 1 and NUMBER in values:
                yield values[NUMBER]


def _width(content: bytes) -> int:
    """Bytes of the number that begins here: one more than the zeros before its first one."""
    return 9 - content[0].bit_length() if content else 1


def _number(content: bytes) -> int | None:
    """The number that begins here, without the marker of its width; None where there is none."""
    width = _width(content)
    if width > min(8, len(content)):
        return None
    return int.from_bytes(content[:width], "big") - (1 << 7 * width)
