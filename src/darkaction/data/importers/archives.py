"""The kinds of archive that an import reads: ZIP, tar, 7z, RAR."""

import contextlib
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import py7zr
import py7zr.exceptions
import py7zr.io
import rarfile

from darkaction.core.errors import UserError
from darkaction.data.importers.members import (
    Entry,
    Member,
    Progress,
    Writer,
    checked_members,
    file_kind,
    plain_name,
    save,
    size_of,
)

INSTALL_UNPACKER = (
    "needs a program that unpacks RAR: on Debian and Ubuntu `apt-get install unar`, on macOS `brew install unar`"
)


class Source(Protocol):
    """A folder or an archive."""

    path: Path

    def members(self) -> list[Member]:
        """Its files, sorted by name; a UserError that names the first thing in it that is refused."""

    def copy(self, targets: Mapping[str, Path], progress: Progress) -> None:
        """Writes each named member to its path, which appears whole or not at all; `progress` gets numbers of bytes."""


class Zip:
    """A ZIP archive."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def members(self) -> list[Member]:
        with damage_is_named(self.path), zipfile.ZipFile(self.path) as archive:
            entries = [
                Entry(
                    name=info.filename,
                    size=info.file_size,
                    kind="folder" if info.is_dir() else file_kind(info.external_attr >> 16),
                    encrypted=bool(info.flag_bits & 1),
                )
                for info in archive.infolist()
            ]
        return checked_members(self.path, entries, packed=size_of(self.path))

    def copy(self, targets: Mapping[str, Path], progress: Progress) -> None:
        with damage_is_named(self.path), zipfile.ZipFile(self.path) as archive:
            for info in archive.infolist():
                target = targets.get(plain_name(info.filename))
                if target is not None and not info.is_dir():
                    with archive.open(info) as stream:
                        save(stream, target, info.file_size, progress)


class Tar:
    """A tar archive, compressed or not; read once from beginning to end."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def members(self) -> list[Member]:
        with damage_is_named(self.path), tarfile.open(self.path, "r:*") as archive:
            entries = [Entry(name=info.name, size=info.size, kind=_tar_kind(info)) for info in archive]
        return checked_members(self.path, entries, packed=size_of(self.path))

    def copy(self, targets: Mapping[str, Path], progress: Progress) -> None:
        with damage_is_named(self.path), tarfile.open(self.path, "r:*") as archive:
            for info in archive:
                target = targets.get(plain_name(info.name))
                stream = archive.extractfile(info) if target is not None and info.isfile() else None
                if target is not None and stream is not None:
                    save(stream, target, info.size, progress)


class SevenZip:
    """A 7z archive."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def members(self) -> list[Member]:
        with damage_is_named(self.path), py7zr.SevenZipFile(self.path) as archive:
            encrypted = archive.needs_password()
            entries = [
                Entry(name=file.filename, size=int(file.uncompressed), kind=_seven_zip_kind(file), encrypted=encrypted)
                for file in archive.files
            ]
        return checked_members(self.path, entries, packed=size_of(self.path))

    def copy(self, targets: Mapping[str, Path], progress: Progress) -> None:
        with damage_is_named(self.path), py7zr.SevenZipFile(self.path) as archive:
            files = {plain_name(file.filename): file for file in archive.files}
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
        with damage_is_named(self.path), rarfile.RarFile(self.path) as archive:
            entries = [
                Entry(
                    name=info.filename,
                    size=info.file_size,
                    kind="folder" if info.is_dir() else "link" if info.is_symlink() or info.file_redir else "file",
                    encrypted=info.needs_password(),
                )
                for info in archive.infolist()
            ]
        return checked_members(self.path, entries, packed=size_of(self.path))

    def copy(self, targets: Mapping[str, Path], progress: Progress) -> None:
        with damage_is_named(self.path), rarfile.RarFile(self.path) as archive:
            for info in archive.infolist():
                target = targets.get(plain_name(info.filename))
                if target is not None and not info.is_dir():
                    with archive.open(info) as stream:
                        save(stream, target, info.file_size, progress)


RECOGNISED: tuple[tuple[Callable[[str], bool], Callable[[Path], Source]], ...] = (
    (rarfile.is_rarfile, Rar),
    (py7zr.is_7zfile, SevenZip),
    (zipfile.is_zipfile, Zip),  # after those known by how they begin: it looks at the end, where another may hold a ZIP
    (tarfile.is_tarfile, Tar),
)
"""How each kind of archive is known by its content."""


def _tar_kind(info: tarfile.TarInfo) -> str:
    if info.isfile():
        return "file"
    return "folder" if info.isdir() else "link" if info.issym() or info.islnk() else "device"


def _seven_zip_kind(file: py7zr.py7zr.ArchiveFile) -> str:
    if file.is_symlink or file.is_junction:
        return "link"
    if file.is_directory:
        return "folder"
    return "device" if file.is_socket else file_kind(file.st_fmt or 0)


class _Writers(py7zr.io.WriterFactory):
    """Gives py7zr a writer for each member it unpacks."""

    def __init__(self, targets: Mapping[str, Path], progress: Progress) -> None:
        self.sizes: Mapping[str, int] = {}
        self._targets, self._progress = targets, progress
        self._made: list[Writer] = []

    def create(self, filename: str) -> py7zr.io.Py7zIO:
        self._made.append(Writer(self._targets[filename], self.sizes[filename], self._progress))
        return self._made[-1]

    def close(self) -> None:
        for writer in self._made:
            writer._file.close()


@contextlib.contextmanager
def damage_is_named(path: Path) -> Iterator[None]:
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
