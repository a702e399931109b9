"""The kinds of archive that an import reads: ZIP, tar, 7z, RAR."""

import os
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import py7zr
import py7zr.io
import rarfile

from darkaction.core.errors import UserError
from darkaction.data.importers.sources import (
    ENDINGS,
    LISTS,
    Entry,
    Folder,
    Progress,
    SingleFile,
    Source,
    damage_is_named,
    file_kind,
    partial_of,
    plain_name,
    save,
)


class Zip(Source):
    """A ZIP archive."""

    def _entries(self) -> list[Entry]:
        with self._open() as archive:
            return [Entry(info.filename, info.file_size, self._kind(info)) for info in archive.infolist()]

    def _unpack(self, targets: Mapping[str, Path], progress: Progress) -> None:
        with self._open() as archive:
            for info in archive.infolist():
                target = targets.get(plain_name(info.filename))
                if target is not None and not info.is_dir():
                    with archive.open(info) as stream:
                        save(stream, target, progress)

    def _open(self) -> Any:
        return zipfile.ZipFile(self.path)

    def _kind(self, info: Any) -> str:
        if info.flag_bits & 1:
            return "encrypted"
        return "folder" if info.is_dir() else file_kind(info.external_attr >> 16)


class Rar(Zip):
    """A RAR archive, which rarfile reads as zipfile does a ZIP. Members stored without compression need no other
    program; for the rest there must be one."""

    def _open(self) -> Any:
        return rarfile.RarFile(self.path)

    def _kind(self, info: Any) -> str:
        if info.needs_password():
            return "encrypted"
        return "folder" if info.is_dir() else "link" if info.is_symlink() or info.file_redir else "file"


class Tar(Source):
    """A tar archive, compressed or not; read once from beginning to end."""

    def _entries(self) -> list[Entry]:
        def kind(info: tarfile.TarInfo) -> str:
            if info.isfile():
                return "file"
            return "folder" if info.isdir() else "link" if info.issym() or info.islnk() else "device"

        with tarfile.open(self.path, "r:*") as archive:
            return [Entry(info.name, info.size, kind(info)) for info in archive]

    def _unpack(self, targets: Mapping[str, Path], progress: Progress) -> None:
        with tarfile.open(self.path, "r:*") as archive:
            for info in archive:
                target = targets.get(plain_name(info.name))
                stream = archive.extractfile(info) if target is not None and info.isfile() else None
                if target is not None and stream is not None:
                    save(stream, target, progress)


class SevenZip(Source):
    """A 7z archive."""

    def _entries(self) -> list[Entry]:
        with py7zr.SevenZipFile(self.path) as archive:
            encrypted = archive.needs_password()

            def kind(file: py7zr.py7zr.ArchiveFile) -> str:
                if encrypted:
                    return "encrypted"
                if file.is_symlink or file.is_junction:
                    return "link"
                if file.is_directory:
                    return "folder"
                return "device" if file.is_socket else file_kind(file.st_fmt or 0)

            return [Entry(file.filename, int(file.uncompressed), kind(file)) for file in archive.files]

    def _unpack(self, targets: Mapping[str, Path], progress: Progress) -> None:
        with py7zr.SevenZipFile(self.path) as archive:
            names = {plain_name(file.filename): file.filename for file in archive.files}
            sizes = {file.filename: int(file.uncompressed) for file in archive.files}
            places = {names[name]: target for name, target in targets.items()}
            archive.extract(targets=list(places), factory=_Writers(places, sizes, progress))


class _Writers(py7zr.io.WriterFactory):
    """Gives py7zr a writer for each member it unpacks: for all of them before it unpacks the first."""

    def __init__(self, places: Mapping[str, Path], sizes: Mapping[str, int], progress: Progress) -> None:
        self._places, self._sizes, self._progress = places, sizes, progress

    def create(self, filename: str) -> py7zr.io.Py7zIO:
        return _Writer(self._places[filename], self._sizes[filename], self._progress)


class _Writer(py7zr.io.NullIO):
    """Writes a file of a known size beside `target` and puts it there when it is complete. Between two writes it keeps
    no file open, since thousands of writers are made at once."""

    def __init__(self, target: Path, size: int, progress: Progress) -> None:
        self._target, self._size, self._progress = target, size, progress
        self._partial = partial_of(target)
        self._partial.write_bytes(b"")

    def write(self, data: bytes | bytearray) -> int:
        with self._partial.open("ab") as file:
            file.write(data)
        self._progress(len(data))
        return len(data)

    def close(self) -> None:  # called also when an error leaves the member
        if self._partial.exists() and self._partial.stat().st_size == self._size:
            os.replace(self._partial, self._target)


RECOGNISED: tuple[tuple[Callable[[str], bool], type[Source]], ...] = (
    (rarfile.is_rarfile, Rar),
    (py7zr.is_7zfile, SevenZip),
    (zipfile.is_zipfile, Zip),  # after those known by how they begin: it looks at the end, where another may hold a ZIP
    (tarfile.is_tarfile, Tar),
)
"""How each kind of archive is known by its content."""


def open_source(path: Path) -> Source:
    """The source at `path`.

    Raises:
        UserError: when it is missing, cannot be read, or is neither a folder nor an archive of a known kind.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    if path.is_dir():
        return Folder(path)
    with damage_is_named(path):
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
