"""Where an import reads from: folders and archives, as a list of members that can be copied out.

Nothing here trusts an archive: names that leave the target folder, links, devices, names that differ only in case,
encrypted members and contents far larger than the archive are refused, by name, before anything is written, and no
member may turn out larger than it announced.
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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import py7zr
import py7zr.exceptions
import py7zr.io
import rarfile

from darkaction.core.errors import UserError

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z", ".rar")
"""How names of archives end. What a given file is, its first bytes tell."""

LISTS = (".txt", ".csv", ".tsv")
"""How names of lists end."""

MAX_RATIO = 100
"""Unpacked size over packed size beyond which an archive is taken for a bomb; video hardly compresses."""

SMALL = 10_000_000
"""Bytes that any archive may unpack to, whatever the ratio."""

MAX_TEXT = 20_000_000
"""Bytes of the largest list that is read."""

CHUNK = 1 << 20

INSTALL_UNPACKER = (
    "needs a program that unpacks RAR: on Debian and Ubuntu `apt-get install unar`, on macOS `brew install unar`"
)

Progress = Callable[[int], object]


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file of a source. `name` is relative, its parts joined by "/"; `size` is in bytes, unpacked."""

    name: str
    size: int


class Source(Protocol):
    """A folder or an archive."""

    path: Path

    def members(self) -> list[Member]:
        """Its files, sorted by name; a UserError that names the first thing in it that is refused."""

    def copy(self, targets: Mapping[str, Path], progress: Progress) -> None:
        """Writes each named member to its path, which appears whole or not at all; `progress` gets numbers of bytes."""


def open_source(path: Path) -> Source:
    """The source at `path`.

    Raises:
        UserError: when it is missing, cannot be read, or is neither a folder nor an archive of a known kind.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    if path.is_dir():
        return Folder(path)
    with _damage_is_named(path):
        with path.open("rb"):
            pass
        for recognises, kind in RECOGNISED:
            if recognises(str(path)):
                return kind(path)
    if path.suffix.lower() in LISTS:
        return SingleFile(path)
    raise UserError(
        f"{path}: not a folder, a list ({', '.join(LISTS)}) or an archive ({', '.join(ENDINGS)}), or a damaged one"
    )


def read_text(source: Source, member: Member, scratch: Path) -> str:
    """A small text member, with any line endings. `scratch` is a file that may be overwritten and is removed."""
    if member.size > MAX_TEXT:
        raise UserError(f"{source.path}: {member.name}: {member.size} bytes are too many for a list of clips")
    try:
        source.copy({member.name: scratch}, lambda _: None)
        return scratch.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{source.path}: {member.name}: not text in UTF-8") from None
    finally:
        scratch.unlink(missing_ok=True)


class Folder:
    """A folder and all below it but what is hidden."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def members(self) -> list[Member]:
        entries = [_Entry(name=name, size=_size(self.path / name), kind=kind) for name, kind in self._walk("")]
        return _checked(self.path, entries)

    def _walk(self, inner: str) -> Iterator[tuple[str, str]]:
        folder = self.path / inner
        try:
            found = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            raise UserError(f"{folder}: cannot be listed ({error.strerror})") from None
        for entry in found:
            name = f"{inner}/{entry.name}" if inner else entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(name)
            else:
                yield name, _kind(entry.stat(follow_symlinks=False).st_mode)

    def copy(self, targets: Mapping[str, Path], progress: Progress) -> None:
        for name, target in targets.items():
            _copy_file(self.path / name, target, progress)


class SingleFile:
    """A list of clips given by itself."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def members(self) -> list[Member]:
        return [Member(name=self.path.name, size=_size(self.path))]

    def copy(self, targets: Mapping[str, Path], progress: Progress) -> None:
        for target in targets.values():
            _copy_file(self.path, target, progress)


class Zip:
    """A ZIP archive."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def members(self) -> list[Member]:
        with _damage_is_named(self.path), zipfile.ZipFile(self.path) as archive:
            entries = [
                _Entry(
                    name=info.filename,
                    size=info.file_size,
                    kind="folder" if info.is_dir() else _kind(info.external_attr >> 16),
                    encrypted=bool(info.flag_bits & 1),
                )
                for info in archive.infolist()
            ]
        return _checked(self.path, entries, packed=_size(self.path))

    def copy(self, targets: Mapping[str, Path], progress: Progress) -> None:
        with _damage_is_named(self.path), zipfile.ZipFile(self.path) as archive:
            for info in archive.infolist():
                target = targets.get(_plain(info.filename))
                if target is not None and not info.is_dir():
                    with archive.open(info) as stream:
                        _save(stream, target, info.file_size, progress)


class Tar:
    """A tar archive, compressed or not; read once from beginning to end."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def members(self) -> list[Member]:
        with _damage_is_named(self.path), tarfile.open(self.path, "r:*") as archive:
            entries = [_Entry(name=info.name, size=info.size, kind=_tar_kind(info)) for info in archive]
        return _checked(self.path, entries, packed=_size(self.path))

    def copy(self, targets: Mapping[str, Path], progress: Progress) -> None:
        with _damage_is_named(self.path), tarfile.open(self.path, "r:*") as archive:
            for info in archive:
                target = targets.get(_plain(info.name))
                stream = archive.extractfile(info) if target is not None and info.isfile() else None
                if target is not None and stream is not None:
                    _save(stream, target, info.size, progress)


class SevenZip:
    """A 7z archive."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def members(self) -> list[Member]:
        with _damage_is_named(self.path), py7zr.SevenZipFile(self.path) as archive:
            encrypted = archive.needs_password()
            entries = [
                _Entry(name=file.filename, size=int(file.uncompressed), kind=_seven_zip_kind(file), encrypted=encrypted)
                for file in archive.files
            ]
        return _checked(self.path, entries, packed=_size(self.path))

    def copy(self, targets: Mapping[str, Path], progress: Progress) -> None:
        with _damage_is_named(self.path), py7zr.SevenZipFile(self.path) as archive:
            files = {_plain(file.filename): file for file in archive.files}
            writers = _Writers({files[name].filename: path for name, path in targets.items()}, progress)
            writers.sizes = {file.filename: int(file.uncompressed) for file in files.values()}
            try:
                archive.extract(targets=[files[name].filename for name in targets], factory=writers)
            finally:
                writers.close()


class Rar:
    """A RAR archive. Members stored without compression need no other program; for the rest there must be one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def members(self) -> list[Member]:
        with _damage_is_named(self.path), rarfile.RarFile(self.path) as archive:
            entries = [
                _Entry(
                    name=info.filename,
                    size=info.file_size,
                    kind="folder" if info.is_dir() else "link" if info.is_symlink() or info.file_redir else "file",
                    encrypted=info.needs_password(),
                )
                for info in archive.infolist()
            ]
        return _checked(self.path, entries, packed=_size(self.path))

    def copy(self, targets: Mapping[str, Path], progress: Progress) -> None:
        with _damage_is_named(self.path), rarfile.RarFile(self.path) as archive:
            for info in archive.infolist():
                target = targets.get(_plain(info.filename))
                if target is not None and not info.is_dir():
                    with archive.open(info) as stream:
                        _save(stream, target, info.file_size, progress)


RECOGNISED: tuple[tuple[Callable[[str], bool], Callable[[Path], Source]], ...] = (
    (rarfile.is_rarfile, Rar),
    (py7zr.is_7zfile, SevenZip),
    (zipfile.is_zipfile, Zip),  # after those known by how they begin: it looks at the end, where another may hold a ZIP
    (tarfile.is_tarfile, Tar),
)
"""How each kind of archive is known by its content."""


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """What an archive says about a member. kind: file | folder | link | device."""

    name: str
    size: int
    kind: str
    encrypted: bool = False


def _checked(path: Path, entries: list[_Entry], packed: int | None = None) -> list[Member]:
    """The files among `entries`; raises for whatever must not be unpacked."""
    seen: dict[str, str] = {}
    for entry in entries:
        reason = _refusal(entry)
        if reason:
            raise UserError(f"{path}: {entry.name!r} {reason}; nothing was imported")
        if entry.kind == "folder":
            continue
        key = unicodedata.normalize("NFC", _plain(entry.name)).casefold()
        first = seen.setdefault(key, entry.name)
        if first is not entry.name:
            how = "stands twice" if first == entry.name else f"and {first!r} differ only in case or spelling"
            raise UserError(f"{path}: {entry.name!r} {how}; nothing was imported")
    files = [Member(name=_plain(entry.name), size=entry.size) for entry in entries if entry.kind == "file"]
    unpacked = sum(member.size for member in files)
    if packed is not None and unpacked > max(SMALL, MAX_RATIO * packed):
        raise UserError(
            f"{path}: unpacks to {unpacked:,} bytes, {unpacked // max(packed, 1)} times its size: refused as a bomb; "
            "nothing was imported"
        )
    return sorted(files, key=lambda member: member.name)


def _refusal(entry: _Entry) -> str:
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


def _plain(name: str) -> str:
    """The name with "/" between its parts and without empty ones."""
    return "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def _kind(mode: int) -> str:
    """Kind of a file with these Unix mode bits; archives from other systems have none."""
    kind = stat.S_IFMT(mode)
    if kind in (0, stat.S_IFREG):
        return "file"
    return {stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}.get(kind, "device")


def _tar_kind(info: tarfile.TarInfo) -> str:
    if info.isfile():
        return "file"
    return "folder" if info.isdir() else "link" if info.issym() or info.islnk() else "device"


def _seven_zip_kind(file: py7zr.py7zr.ArchiveFile) -> str:
    if file.is_symlink or file.is_junction:
        return "link"
    if file.is_directory:
        return "folder"
    return "device" if file.is_socket else _kind(file.st_fmt or 0)


def _size(path: Path) -> int:
    return path.lstat().st_size


def _copy_file(path: Path, target: Path, progress: Progress) -> None:
    try:
        with path.open("rb") as stream:
            _save(stream, target, _size(path), progress)
    except OSError as error:
        raise UserError(f"{path}: cannot be copied ({error.strerror})") from None


def _save(stream: IO[bytes], target: Path, size: int, progress: Progress) -> None:
    with _Writer(target, size, progress) as writer:
        while chunk := stream.read(CHUNK):
            writer.write(chunk)


class _Writer(py7zr.io.Py7zIO):
    """Writes a file of a known size beside `target` and puts it there when it is complete."""

    def __init__(self, target: Path, size: int, progress: Progress) -> None:
        self._target, self._announced, self._progress = target, size, progress
        self._partial = target.with_name(f"{target.name}.part")
        target.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._partial.open("wb")
        self._written = 0

    def __enter__(self) -> "_Writer":
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


class _Writers(py7zr.io.WriterFactory):
    """Gives py7zr a writer for each member it unpacks."""

    def __init__(self, targets: Mapping[str, Path], progress: Progress) -> None:
        self.sizes: Mapping[str, int] = {}
        self._targets, self._progress = targets, progress
        self._made: list[_Writer] = []

    def create(self, filename: str) -> py7zr.io.Py7zIO:
        self._made.append(_Writer(self._targets[filename], self.sizes[filename], self._progress))
        return self._made[-1]

    def close(self) -> None:
        for writer in self._made:
            writer._file.close()


@contextlib.contextmanager
def _damage_is_named(path: Path) -> Iterator[None]:
    """What the libraries raise for a damaged or unsupported archive becomes a UserError that names it."""
    try:
        yield
    except rarfile.RarCannotExec:
        raise UserError(f"{path}: {INSTALL_UNPACKER}") from None
    except py7zr.exceptions.PasswordRequired:
        raise UserError(f"{path}: is encrypted; unpack it yourself and import the folder") from None
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
        raise UserError(f"{path}: cannot be read or unpacked ({error.strerror or error})") from None
