"""Where an import reads from, folders, archives (archives.py) and single lists, as members that can be copied out.

Nothing here trusts an archive: names that leave the target folder, links, devices, names that differ only in case,
encrypted members and contents far larger than the archive are refused, by name, before anything is written. No member
turns out larger than it announced: each of the libraries stops there.
"""

import contextlib
import lzma
import os
import re
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

import py7zr.exceptions
import rarfile

from darkaction.core.errors import UserError
from darkaction.data.video import CONTAINERS

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z", ".rar")
"""How names of archives end. What a given file is, its first bytes tell."""

LISTS = (".txt", ".csv", ".tsv")
"""How names of lists end."""

MAX_TEXT = 20_000_000
"""Bytes of the largest list that is read."""

MAX_RATIO = 100
"""Unpacked size over packed size beyond which an archive is taken for a bomb; video hardly compresses."""

SMALL = 10_000_000
"""Bytes that any archive may unpack to, whatever the ratio."""

CHUNK = 1 << 20

ENCRYPTED = "is encrypted; unpack it yourself and import the folder"

REFUSED_KINDS = {"link": "is a link", "device": "is a device or another special file", "encrypted": ENCRYPTED}

INSTALL_UNPACKER = (
    "needs a program that unpacks RAR: on Debian and Ubuntu `apt-get install unar`, on macOS `brew install unar`"
)

Progress = Callable[[int], object]
"""Gets numbers of bytes, as they are written."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file of a source. `name` is relative, its parts joined by "/"; `size` is in bytes, unpacked."""

    source: "Source"
    name: str
    size: int

    @property
    def path(self) -> PurePosixPath:
        """Its name as a path."""
        return PurePosixPath(self.name)

    def is_clip(self) -> bool:
        """Whether it ends like a video."""
        return self.path.suffix.lower() in CONTAINERS

    def is_archive(self) -> bool:
        """Whether it ends like an archive."""
        return self.name.lower().endswith(ENDINGS)

    def is_list(self) -> bool:
        """Whether it ends like a list of clips."""
        return self.path.suffix.lower() in LISTS

    def is_named(self) -> bool:
        """Whether the person gave it by itself, not within a folder or an archive."""
        return isinstance(self.source, SingleFile)

    def read(self, scratch: Path) -> str:
        """Its text, with any line endings. `scratch` is a file that may be overwritten and is removed."""
        if self.size > MAX_TEXT:
            raise UserError(f"{self.source.path}: {self.name}: {self.size} bytes are too many for a list of clips")
        try:
            self.source.copy({self.name: scratch}, lambda _: None)
            return scratch.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise UserError(f"{self.source.path}: {self.name}: not text in UTF-8") from None
        finally:
            scratch.unlink(missing_ok=True)

    def __str__(self) -> str:
        return str(self.source.path) if self.is_named() else f"{self.source.path}: {self.name}"


class UnreadError(UserError):
    """A source could not be read or copied for now. What was copied so far is of use when it can."""


class Entry(NamedTuple):
    """What a source says about something in it. kind: file | folder | link | device | encrypted."""

    name: str
    size: int
    kind: str


class Source(ABC):
    """A folder, an archive, or a list that was given by itself."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def members(self) -> list[Member]:
        """Its files, sorted by name; a UserError that names the first thing in it that is refused."""
        with damage_is_named(self.path):
            entries = list(self._entries())
        _refuse_unsafe(self.path, entries)
        files = [entry for entry in entries if entry.kind == "file"]
        unpacked, packed = sum(file.size for file in files), self.path.stat().st_size
        if not self.path.is_dir() and unpacked > max(SMALL, MAX_RATIO * packed):
            raise UserError(
                f"{self.path}: unpacks to {unpacked:,} bytes, {unpacked // max(packed, 1)} times its size: refused as "
                "a bomb; nothing was imported"
            )
        members = [Member(source=self, name=plain_name(file.name), size=file.size) for file in files]
        return sorted(members, key=lambda member: member.name)

    def copy(self, targets: Mapping[str, Path], progress: Progress) -> None:
        """Writes each named member to its path, which appears whole or not at all.

        Raises:
            UserError: when the source is damaged or cannot be read.
        """
        with damage_is_named(self.path):
            self._unpack(targets, progress)

    @abstractmethod
    def _entries(self) -> Iterable[Entry]:
        """All that is in it, in any order."""

    @abstractmethod
    def _unpack(self, targets: Mapping[str, Path], progress: Progress) -> None:
        """As `copy`, with the errors of libraries."""


class Folder(Source):
    """A folder and all below it but what is hidden."""

    def _entries(self) -> Iterator[Entry]:
        def refuse(error: OSError) -> None:
            raise UserError(f"{error.filename}: cannot be listed ({error.strerror})") from None

        for folder, inner, files in os.walk(self.path, onerror=refuse):
            inner[:] = [name for name in inner if not name.startswith(".")]
            for path in [Path(folder, name) for name in [*inner, *files] if not name.startswith(".")]:
                status = path.lstat()
                yield Entry(path.relative_to(self.path).as_posix(), status.st_size, file_kind(status.st_mode))

    def _unpack(self, targets: Mapping[str, Path], progress: Progress) -> None:
        for name, target in targets.items():
            copy_file(self.path / name, target, progress)


class SingleFile(Source):
    """A list of clips given by itself."""

    def _entries(self) -> list[Entry]:
        return [Entry(self.path.name, self.path.stat().st_size, "file")]

    def _unpack(self, targets: Mapping[str, Path], progress: Progress) -> None:
        for target in targets.values():
            copy_file(self.path, target, progress)


@contextlib.contextmanager
def damage_is_named(path: Path) -> Iterator[None]:
    """What the libraries raise for a damaged or unsupported archive becomes a UserError that names it."""
    try:
        yield
    except rarfile.RarCannotExec:
        raise UnreadError(f"{path}: {INSTALL_UNPACKER}") from None
    except py7zr.exceptions.PasswordRequired:
        raise UserError(f"{path}: {ENCRYPTED}") from None
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        py7zr.exceptions.ArchiveError,
        rarfile.Error,
        lzma.LZMAError,
        zlib.error,
        EOFError,
        NotImplementedError,
    ) as error:
        raise UserError(f"{path}: damaged, cut short or of an unknown kind ({error or type(error).__name__})") from None
    except OSError as error:
        raise UnreadError(f"{path}: cannot be read or unpacked ({error.strerror or error})") from None


def _refuse_unsafe(path: Path, entries: Iterable[Entry]) -> None:
    """Raises a UserError for the first entry that must not be unpacked."""
    seen: dict[str, str] = {}
    for entry in entries:
        reason = _unsafe_name(entry.name) or REFUSED_KINDS.get(entry.kind)
        if reason:
            raise UserError(f"{path}: {entry.name!r} {reason}; nothing was imported")
        if entry.kind == "folder":
            continue
        first = seen.setdefault(unicodedata.normalize("NFC", plain_name(entry.name)).casefold(), entry.name)
        if first is not entry.name:
            how = "stands twice" if first == entry.name else f"and {first!r} differ only in case or spelling"
            raise UserError(f"{path}: {entry.name!r} {how}; nothing was imported")


def _unsafe_name(name: str) -> str:
    """Why something of this name must not be unpacked; empty where it may."""
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        return "is an absolute path"
    if ".." in name.replace("\\", "/").split("/"):
        return "leads out of the folder"
    if any(unicodedata.category(letter) == "Cc" for letter in name):
        return "has control characters in its name"
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


def copy_file(path: Path, target: Path, progress: Progress) -> None:
    """Copies a file of a folder; the copy appears whole or not at all."""
    try:
        with path.open("rb") as stream:
            save(stream, target, progress)
    except OSError as error:
        raise UnreadError(f"{path}: cannot be copied ({error.strerror})") from None


def save(stream: IO[bytes], target: Path, progress: Progress) -> None:
    partial = partial_of(target)
    with partial.open("wb") as file:
        while chunk := stream.read(CHUNK):
            file.write(chunk)
            progress(len(chunk))
    os.replace(partial, target)


def partial_of(target: Path) -> Path:
    """Where a file is written before it is complete, in a folder that is there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    return target.with_name(f"{target.name}.part")
