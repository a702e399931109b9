"""Clips whose containers are as other programs write them, made from our own byte by byte."""

import struct


def announcing_one_more(avi: bytes) -> bytes:
    """An AVI that announces one frame more than it holds, as those of HMDB-51 do."""
    for mark, offset in ((b"avih", 24), (b"strh", 40)):  # dwTotalFrames, dwLength
        start = avi.index(mark) + offset
        [count] = struct.unpack_from("<I", avi, start)
        avi = avi[:start] + struct.pack("<I", count + 1) + avi[start + 4 :]
    return avi


def table_first(mp4: bytes) -> bytes:
    """An MP4 as those of ARID: the table of its frames (moov) before the frames (mdat), whose size has 64 bits."""
    boxes = {}
    position = 0
    while position < len(mp4):
        size, name = struct.unpack_from(">I4s", mp4, position)
        boxes[name] = mp4[position : position + size]
        position += size
    head, table, frames = boxes[b"ftyp"], boxes[b"moov"], boxes[b"mdat"][8:]
    shift = len(head) + len(table) + 16 - (mp4.index(b"mdat") + 4)
    start = table.index(b"stco") + 8  # then the number of chunks, then where in the file each of them begins
    [chunks] = struct.unpack_from(">I", table, start)
    offsets = struct.unpack_from(f">{chunks}I", table, start + 4)
    moved = struct.pack(f">{chunks}I", *(offset + shift for offset in offsets))
    table = table[: start + 4] + moved + table[start + 4 + 4 * chunks :]
    return head + table + struct.pack(">I4sQ", 1, b"mdat", 16 + len(frames)) + frames


def without_pictures(mp4: bytes) -> bytes:
    """An MP4 without a video stream: the box of its track becomes free space."""
    start = mp4.rindex(b"trak", 0, mp4.index(b"mp4v", mp4.index(b"moov")))
    return mp4[:start] + b"free" + mp4[start + 4 :]
