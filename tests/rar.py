"""Writes RAR 3 archives of stored (not compressed) members, which is all that tests need; no RAR writer is free."""

import stat
import struct
import zlib
from pathlib import Path

UNIX, STORED, COMPRESSED = 3, 0x30, 0x33
LINK = stat.S_IFLNK | 0o777


def block(kind: int, flags: int, fields: bytes) -> bytes:
    """A header: CRC-16 of the rest, type, flags, size, fields."""
    rest = struct.pack("<BHH", kind, flags, 7 + len(fields)) + fields
    return struct.pack("<H", zlib.crc32(rest) & 0xFFFF) + rest


def member(
    name: str, data: bytes, *, mode: int = stat.S_IFREG | 0o644, method: int = STORED, size: int | None = None
) -> bytes:
    """A file's header and data. `size` is what the header announces, where that is not the truth."""
    encoded = name.encode()
    unpacked = len(data) if size is None else size
    fields = struct.pack(
        "<IIBIIBBHI", len(data), unpacked, UNIX, zlib.crc32(data), 0x5A210000, 29, method, len(encoded), mode
    )
    return block(0x74, 0x8000, fields + encoded) + data


def write_rar(path: Path, members: list[bytes]) -> None:
    """An archive of the members."""
    main = block(0x73, 0, bytes(6))
    path.write_bytes(b"Rar!\x1a\x07\x00" + main + b"".join(members) + block(0x7B, 0x4000, b""))
