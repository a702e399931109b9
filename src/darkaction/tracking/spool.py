"""Records on their way to the store: a folder of numbered JSON files for each run, delivered in order.

A record stays on disk until it is delivered, so neither an outage nor the end of the process loses it.
"""

import contextlib
import fcntl
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkaction.core.folders import write_whole
from darkaction.core.processes import is_alive, started

Record = dict[str, Any]

GROUP = 100
"""Most records of metrics that are delivered at once; MLflow takes 1000 numbers in a call."""

SILENT_FOR = 600.0
"""Seconds without a record after which a process of another machine counts as ended; system metrics come every ten."""


@dataclass(frozen=True)
class Waiting:
    """A record on disk. `files` is the folder of the files that belong to it."""

    path: Path
    record: Record

    @property
    def files(self) -> Path:
        return self.path.with_suffix("")


class Spool:
    """The records of one run.

    opening.json says how the run is found or made; 000001.json, 000002.json ... are records, each with a folder of the
    same name where files belong to it. Only one process delivers at a time (`locked`).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._number = 0

    @classmethod
    def create(cls, folder: Path, opening: Record) -> "Spool":
        """A new spool of this process."""
        folder.mkdir(parents=True)
        owner = {"host": socket.gethostname(), "pid": os.getpid(), "started": started(os.getpid())}
        spool = cls(folder)
        spool.write_opening(opening | {"owner": owner})
        return spool

    @property
    def opening(self) -> Record:
        """How its run is found or made."""
        return dict(json.loads((self.folder / "opening.json").read_text()))

    def write_opening(self, opening: Record) -> None:
        """Replaces the opening, for example with the id the store gave."""
        write_whole(self.folder / "opening.json", json.dumps(opening))

    def append(self, record: Record, *sources: Path) -> None:
        """Adds a record, with the files or folders that belong to it as they are now."""
        self._number += 1
        path = self.folder / f"{self._number:06d}.json"
        for source in sources:
            target = path.with_suffix("") / source.name
            target.parent.mkdir(exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, copy_function=_link_or_copy)
            else:
                shutil.copy2(source, target)  # no link: DVC writes into dvc.lock itself
        write_whole(path, json.dumps(record))

    def waiting(self) -> Iterator[list[Waiting]]:
        """The records not yet removed, in order, also those that are added meanwhile: consecutive metrics as groups,
        which a store takes at once, other records alone."""
        while paths := self._paths():
            group: list[Waiting] = []
            for path in paths[:GROUP]:
                record = Waiting(path, json.loads(path.read_text()))
                if group and not (group[0].record["kind"] == record.record["kind"] == "metrics"):
                    break
                group.append(record)
            yield group

    def __len__(self) -> int:
        return len(self._paths())

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.json"))

    def remove(self, waiting: Waiting) -> None:
        """Removes a delivered record."""
        waiting.path.unlink()
        shutil.rmtree(waiting.files, ignore_errors=True)

    def delete(self) -> None:
        """Removes the whole spool."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def is_orphan(self) -> bool:
        """Whether the process that filled it has ended. Of a process on another machine, which shares the folder, only
        the time of its last record is known."""
        owner = self.opening["owner"]
        if owner["host"] != socket.gethostname():
            return time.time() - self.folder.stat().st_mtime > SILENT_FOR
        return not is_alive(owner["pid"], owner["started"])

    @contextlib.contextmanager
    def locked(self) -> Iterator[bool]:
        """Whether this process may deliver it; false while another one does, or when it has been deleted."""
        try:
            handle = (self.folder / "lock").open("w")
        except FileNotFoundError:
            yield False
            return
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            except OSError:  # not every file system has locks
                pass
            yield (self.folder / "opening.json").exists()


def orphans(parent: Path) -> list[Spool]:
    """Spools below `parent` whose process has ended, the oldest first. A damaged one stays, with a warning."""
    found = []
    for path in parent.glob("*/opening.json"):
        spool = Spool(path.parent)
        try:
            if spool.is_orphan():
                found.append((spool.opening["created"], spool.folder.name, spool))
        except FileNotFoundError:  # its own process has delivered and deleted it meanwhile
            continue
        except (ValueError, KeyError, TypeError):
            warn(f"{path} is damaged, its records cannot be delivered; delete {path.parent} to be rid of them")
    return [spool for _, _, spool in sorted(found, key=lambda entry: entry[:2])]


def _link_or_copy(source: str, target: str) -> None:
    """A hard link where the file system has them: folders of ours are replaced as a whole, never written into."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def warn(message: str) -> None:
    """Prints a problem of the record on standard error; the work itself goes on."""
    print(f"tracking: {message}", file=sys.stderr, flush=True)
