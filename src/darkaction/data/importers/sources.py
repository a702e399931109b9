"""Where an import reads from: folders, archives and single lists, as members that can be copied out."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from darkaction.core.errors import UserError
from darkaction.data.importers.archives import RECOGNISED, Source, damage_is_named
from darkaction.data.importers.members import Entry, Member, Progress, checked_members, copy_file, file_kind, size_of

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z", ".rar")
"""How names of archives end. What a given file is, its first bytes tell."""

LISTS = (".txt", ".csv", ".tsv")
"""How names of lists end."""

MAX_TEXT = 20_000_000
"""Bytes of the largest list that is read."""


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
        entries = [Entry(name=name, size=size_of(self.path / name), kind=kind) for name, kind in self._walk("")]
        return checked_members(self.path, entries)

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
                yield name, file_kind(entry.stat(follow_symlinks=False).st_mode)

    def copy(self, targets: Mapping[str, Path], progress: Progress) -> None:
        for name, target in targets.items():
            copy_file(self.path / name, target, progress)


class SingleFile:
    """A list of clips given by itself."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def members(self) -> list[Member]:
        return [Member(name=self.path.name, size=size_of(self.path))]

    def copy(self, targets: Mapping[str, Path], progress: Progress) -> None:
        for target in targets.values():
            copy_file(self.path, target, progress)
