"""Files of a source: which of them may be unpacked, and how one is written.

Nothing here trusts an archive: names that leave the target folder, links, devices, names that differ only in case,
encrypted members and contents far larger than the archive are refused, by name, before anything is written, and no
member may turn out larger than it announced.
"""

import os
import re
import stat
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import py7zr.io

from darkaction.core.errors import UserError

MAX_RATIO = 100
"""Unpacked size over packed size beyond which an archive is taken for a bomb; video hardly compresses."""

SMALL = 10_000_000
"""Bytes that any archive may unpack to, whatever the ratio."""

CHUNK = 1 << 20

Progress = Callable[[int], object]


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file of a source. `name` is relative, its parts joined by "/"; `size` is in bytes, unpacked."""

    name: str
    size: int


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What an archive says about a member. kind: file | folder | link | device."""

    name: str
    size: int
    kind: str
    encrypted: bool = False


def checked_members(path: Path, entries: list[Entry], packed: int | None = None) -> list[Member]:
    """The files among `entries`; raises for whatever must not be unpacked."""
    seen: dict[str, str] = {}
    for entry in entries:
        reason = _refusal(entry)
        if reason:
            raise UserError(f"{path}: {entry.name!r} {reason}; nothing was imported")
        if entry.kind == "folder":
            continue
        key = unicodedata.normalize("NFC", plain_name(entry.name)).casefold()
        first = seen.setdefault(key, entry.name)
        if first is not entry.name:
            how = "stands twice" if first == entry.name else f"and {first!r} differ only in case or spelling"
            raise UserError(f"{path}: {entry.name!r} {how}; nothing was imported")
    files = [Member(name=plain_name(entry.name), size=entry.size) for entry in entries if entry.kind == "file"]
    unpacked = sum(member.size for member in files)
    if packed is not None and unpacked > max(SMALL, MAX_RATIO * packed):
        raise UserError(
            f"{path}: unpacks to {unpacked:,} bytes, {unpacked // max(packed, 1)} times its size: refused as a bomb; "
            "nothing was imported"
        )
    return sorted(files, key=lambda member: member.name)


def _refusal(entry: Entry) -> str:
    """Why an entry must not be unpacked; empty for one that may."""
    parts = entry.name.replace("\\", "/").split("/")
    if entry.name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", entry.name):
        return "is an absolute path"
    if ".." in parts:
        return "leads out of the folder"
    if any(unicodedata.category(letter) == "Cc" for letter in entry.name):
        return "has control characters in its name"
    if entry.kind == "link":
        return "is a link"
    if entry.kind == "device":
        return "is a device or another special file"
    if entry.encrypted:
        return "is encrypted; unpack it yourself and import the folder"
    return ""


def plain_name(name: str) -> str:
    """The name with "/" between its parts and without empty ones."""
    return "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def file_kind(mode: int) -> str:
    """Kind of a file with these Unix mode bits; archives from other systems have none."""
    kind = stat.S_IFMT(mode)
    if kind in (0, stat.S_IFREG):
        return "file"
    return {stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}.get(kind, "device")


def size_of(path: Path) -> int:
    return path.lstat().st_size


def copy_file(path: Path, target: Path, progress: Progress) -> None:
    try:
        with path.open("rb") as stream:
            save(stream, target, size_of(path), progress)
    except OSError as error:
        raise UserError(f"{path}: cannot be copied ({error.strerror})") from None


def save(stream: IO[bytes], target: Path, size: int, progress: Progress) -> None:
    with Writer(target, size, progress) as writer:
        while chunk := stream.read(CHUNK):
            writer.write(chunk)


class Writer(py7zr.io.Py7zIO):
    """Writes a file of a known size beside `target` and puts it there when it is complete."""

    def __init__(self, target: Path, size: int, progress: Progress) -> None:
        self._target, self._announced, self._progress = target, size, progress
        self._partial = target.with_name(f"{target.name}.part")
        target.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._partial.open("wb")
        self._written = 0

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self.close()
        else:
            self._file.close()

    def write(self, s: bytes | bytearray) -> int:
        self._written += len(s)
        if self._written > self._announced:
            raise UserError(f"{self._target.name}: holds more than the {self._announced} bytes it announces: refused")
        self._progress(len(s))
        return self._file.write(s)

    def close(self) -> None:
        """Puts the file in its place; once."""
        if self._file.closed:
            return
        self._file.close()
        if self._written < self._announced:
            raise UserError(f"{self._target.name}: ends after {self._written} of {self._announced} bytes")
        os.replace(self._partial, self._target)

    def read(self, size: int | None = None) -> bytes:
        return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._written

    def flush(self) -> None:
        self._file.flush()

    def size(self) -> int:
        return self._written
