"""The clip store: frames at the network's input size, in memory-mapped shards, and a list with checksums.

    data/clips/<dataset>/00000.npy        uint8 (frames of all its clips, H, W, 3) RGB
    data/clips/<dataset>/00000.flow.npy   uint8 (as many, H, W, 2), see flow.py; where enhance.flow asks for it
    data/clips/<dataset>/settings.json    the settings that decided the frames
    data/clips/<dataset>/clips.csv        a line a clip, as StoredClip says; written last

A folder without clips.csv is no store, so a store is whole or not there. While it is made, 00000.csv stands beside each
shard that is complete.
"""

import csv
import hashlib
import io
import math
import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from darkaction.core.agreement import recorded_in
from darkaction.core.errors import UserError
from darkaction.data.video import Frames

LIST = "clips.csv"

MOST_NAMED = 3
"""Damaged files and clips in an error."""

SETTINGS = "settings.json"

ENHANCER = "enhancer.sha256"
"""In settings.json, beside names of settings: of the weights of an enhancement that is learnt."""


@dataclass(frozen=True, kw_only=True)
class StoredClip:
    """A line of clips.csv."""

    clip_id: str
    shard: str  # name of a file
    first: int  # its first frame in there
    frames: int
    height: int  # pixels
    width: int
    sha256: str  # of the bytes of its frames
    flow_sha256: str  # of those of its flow; empty where there is none

    @property
    def flow_shard(self) -> str:
        """Where its flow is, if there is one."""
        return flow_file(self.shard)


@lru_cache(maxsize=1024)
def npy_header(shape: tuple[int, ...]) -> bytes:
    """What a .npy file of uint8 begins with: as many bytes for any number of frames."""
    header = io.BytesIO()
    kind = np.lib.format.dtype_to_descr(np.dtype(np.uint8))
    np.lib.format.write_array_header_1_0(header, {"descr": kind, "fortran_order": False, "shape": shape})
    return header.getvalue()


def flow_file(file: str) -> str:
    return f"{file.removesuffix('.npy')}.flow.npy"


class ClipStore:
    """Reads a store. It holds the list alone, no open file, so worker processes can each have a copy.

    Raises:
        UserError: when there is no store in `folder` or its list is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._clips = {clip.clip_id: clip for clip in read_list(folder / LIST)}
        self._ends: dict[str, int] = {}  # frames of each shard
        for clip in self._clips.values():
            self._ends[clip.shard] = max(clip.first + clip.frames, self._ends.get(clip.shard, 0))

    def __len__(self) -> int:
        return len(self._clips)

    def __contains__(self, clip_id: object) -> bool:
        return clip_id in self._clips

    def clip_ids(self) -> list[str]:
        """All clips, sorted."""
        return list(self._clips)

    def clip(self, clip_id: str) -> StoredClip:
        """Size and place of a clip, from the list; a UserError when the store lacks it."""
        if clip_id not in self._clips:
            raise UserError(f"{self.folder}: no clip '{clip_id}' in this store of {len(self)} clips; {self._remedy()}")
        return self._clips[clip_id]

    def made_with(self) -> dict[str, Any]:
        """The settings that decided its frames, by their names; none where an earlier version made it."""
        return recorded_in(self.folder / SETTINGS, command=f"python src/enhance.py {self.folder.name}")

    def load(self, clip_id: str) -> Frames:
        """A clip as memory-mapped frames_NHWC, uint8 (N, H, W, 3): only the frames that are used are read.

        Raises:
            UserError: when the store lacks the clip, or its shard is missing or not the array of the list.
        """
        clip = self.clip(clip_id)
        return self._open(clip, clip.shard, channels=3)

    def load_flow(self, clip_id: str) -> Frames:
        """The optical flow of a clip as memory-mapped flow_NHW2, uint8 as in flow.py.

        Raises:
            UserError: as `load`, and when the store was made without flow.
        """
        clip = self.clip(clip_id)
        if not clip.flow_sha256:
            raise UserError(f"{self.folder}: stored without optical flow; set enhance.flow: true and {self._remedy()}")
        return self._open(clip, clip.flow_shard, channels=2)

    def _open(self, clip: StoredClip, file: str, *, channels: int) -> Frames:
        try:
            return self._map(clip, file, channels)
        except (OSError, ValueError) as error:
            message = f"{self.folder / file}: damaged or missing, with clip '{clip.clip_id}' ({error})"
            raise UserError(f"{message}; {self._remedy()}") from None

    def _map(self, clip: StoredClip, file: str, channels: int) -> Frames:
        """The part of a shard that is a clip.

        Raises:
            OSError: when it cannot be read.
            ValueError: when it is not the array that the list says.
        """
        path, frame = self.folder / file, (clip.height, clip.width, channels)
        shape = (self._ends[clip.shard], *frame)
        header = npy_header(shape)
        with path.open("rb") as shard:
            size = os.fstat(shard.fileno()).st_size
            if shard.read(len(header)) != header or size != len(header) + math.prod(shape):
                raise ValueError(f"it is not the array of uint8 {shape} that the list says")
            start = len(header) + clip.first * math.prod(frame)
            frames_NHWC: Frames = np.memmap(shard, np.uint8, "r", offset=start, shape=(clip.frames, *frame))
        return frames_NHWC

    def verify(self, clip_ids: Iterable[str] | None = None, *, flow: bool = True) -> None:
        """Compares clips with their checksums; a process reads a clip for this only once.

        Args:
            clip_ids: of the clips to look at; None: all.
            flow: look at their optical flow too, where it is stored.

        Raises:
            UserError: naming files that are missing or damaged, and clips.
        """
        problems: dict[str, None] = {}  # each once, in order
        for clip in map(self.clip, self._clips if clip_ids is None else clip_ids):
            parts = [(clip.shard, 3, clip.sha256), (clip.flow_shard, 2, clip.flow_sha256 if flow else "")]
            for file, channels, sha256 in parts:
                if not sha256:
                    continue
                try:
                    if self._sha256_once(clip, file, channels) != sha256:
                        problems[f"clip {clip.clip_id} in {file} is damaged (sha256 differs from the list's)"] = None
                except FileNotFoundError:
                    problems[f"{file} is missing"] = None
                except (OSError, ValueError) as error:
                    problems[f"{file} is damaged ({error})"] = None
        if problems:
            more = [f"and {len(problems) - MOST_NAMED} more"] if len(problems) > MOST_NAMED else []
            raise UserError(f"{self.folder}: {'; '.join([*[*problems][:MOST_NAMED], *more])}; {self._remedy()}")

    def _sha256_once(self, clip: StoredClip, file: str, channels: int) -> str:
        path = self.folder / file
        key = (path, clip.first, clip.frames, _version(path))
        if key not in _checked:
            _checked[key] = hashlib.sha256(self._map(clip, file, channels).data).hexdigest()
        return _checked[key]

    def _remedy(self) -> str:
        return _remedy(self.folder)


def _remedy(folder: Path) -> str:
    if "clips" in (folder.name, folder.parent.parent.name):  # of a comparison or a pretraining, which make their own
        return f"delete {folder} and run the same command again"
    return (
        f"run python src/enhance.py {folder.name} with the same --profile, --set and --out, or, for params.yaml as it "
        f"stands, dvc repro -f -s enhance@{folder.name}"
    )


def _version(path: Path) -> tuple[int, int, int]:
    """Changes with the content of a file."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


_checked: dict[tuple[Path, int, int, tuple[int, int, int]], str] = {}
"""Checksums that this process has computed: of which frames of which version of a file."""


def read_list(path: Path) -> list[StoredClip]:
    folder = path.parent
    remedy = _remedy(folder)
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        raise UserError(f"{folder}: no clip store here ({LIST} is missing); {remedy}") from None
    if rows and "shard" not in rows[0] and "file" in rows[0]:
        raise UserError(f"{folder}: made by an earlier version, with a file for each clip; {remedy}")
    try:
        return TypeAdapter(list[StoredClip]).validate_python(rows)
    except ValidationError as error:
        wrong = error.errors()[0]
        found = f"clip {wrong['loc'][0]}: {'.'.join(map(str, wrong['loc'][1:]))}: {wrong['msg']}"
        raise UserError(f"{path}: not a list of clips ({found}); {remedy}") from None
