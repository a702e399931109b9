"""The clip store: frames at the network's input size, one memory-mapped .npy a clip, and a list with checksums.

    data/clips/<dataset>/<Class_scene_take>.npy        uint8 (N, H, W, 3) RGB
    data/clips/<dataset>/<Class_scene_take>.flow.npy   uint8 (N, H, W, 2), see flow.py; where enhance.flow asks for it
    data/clips/<dataset>/settings.json                 the settings that decided the frames
    data/clips/<dataset>/clips.csv                     a line a clip, as StoredClip says; written last

A folder without clips.csv is no store, so a store is whole or not there.
"""

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from darkaction.core.agreement import recorded_in
from darkaction.core.errors import UserError
from darkaction.core.folders import write_whole
from darkaction.data.flow import of_frames
from darkaction.data.video import Frames

LIST = "clips.csv"

MOST_NAMED = 3
"""Damaged files in an error."""

SETTINGS = "settings.json"

ENHANCER = "enhancer.sha256"
"""In settings.json, beside names of settings: of the weights of an enhancement that is learnt."""


@dataclass(frozen=True, kw_only=True)
class StoredClip:
    """A line of clips.csv."""

    clip_id: str
    file: str
    frames: int
    height: int  # pixels
    width: int
    sha256: str  # of the .npy file
    flow_sha256: str  # of the .flow.npy file; empty where there is none

    @property
    def flow_file(self) -> str:
        """Where its flow is, if there is one."""
        return _flow_file(self.file)


def write_clip(
    folder: Path, clip_id: str, chunks: Iterable[Frames], *, frames: int, height: int, width: int, flow: bool
) -> StoredClip:
    """Writes one clip as it comes, in constant memory; its files appear only when they are complete.

    Args:
        folder: where the store is being made.
        clip_id: dataset/Class_scene_take.
        chunks: frames_NHWC uint8, `frames` of them in sum, of `height` x `width` pixels.
        frames: frames of the whole clip.
        height: pixels.
        width: pixels.
        flow: store the optical flow between its frames too.

    Raises:
        UserError: when there come more or fewer frames than `frames`.
    """
    file = f"{clip_id.rpartition('/')[2]}.npy"
    count, sha256 = _write_array(folder / file, chunks, (frames, height, width, 3))
    if count != frames:
        raise UserError(f"clip {clip_id}: {count} frames decode, {frames} stand in the index; run prepare again")
    flow_sha256 = ""
    if flow:
        frames_NHWC = np.load(folder / file, mmap_mode="r", allow_pickle=False)
        _, flow_sha256 = _write_array(folder / _flow_file(file), of_frames([frames_NHWC]), (frames, height, width, 2))
    return StoredClip(
        clip_id=clip_id, file=file, frames=frames, height=height, width=width, sha256=sha256, flow_sha256=flow_sha256
    )


def _write_array(path: Path, chunks: Iterable[Frames], shape: tuple[int, int, int, int]) -> tuple[int, str]:
    """Writes the chunks as one array: how many frames came, and the sha256 of the file, which is there only when as
    many came as `shape` says."""
    partial = path.with_name(f".{path.name}.partial")
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)), "fortran_order": False, "shape": shape}
    count = 0
    try:
        # Not through a memory map: one that finds the disk full kills its process, where a write is an error.
        with partial.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for chunk_NHWC in chunks:
                count += len(chunk_NHWC)
                if count <= shape[0]:
                    file.write(np.ascontiguousarray(chunk_NHWC, np.uint8).data)
        checksum = _sha256(partial)
        if count == shape[0]:
            os.replace(partial, path)
    except OSError as error:  # named here, since outside the worker process nobody knows the file
        raise OSError(error.errno, error.strerror, error.filename or str(path)) from None
    finally:
        partial.unlink(missing_ok=True)
    return count, checksum


def _flow_file(file: str) -> str:
    return f"{file.removesuffix('.npy')}.flow.npy"


def write_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Writes settings.json: what `ClipStore.made_with` gives."""
    (folder / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n")


def write_list(folder: Path, clips: Sequence[StoredClip]) -> None:
    """Writes clips.csv, sorted by clip id, which makes `folder` a store. Call it last."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(StoredClip)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(clip) for clip in sorted(clips, key=lambda clip: clip.clip_id))
    write_whole(folder / LIST, text.getvalue())


class ClipStore:
    """Reads a store. It holds the list alone, no open file, so worker processes can each have a copy.

    Raises:
        UserError: when there is no store in `folder` or its list is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._clips = {clip.clip_id: clip for clip in _read_list(folder)}

    def __len__(self) -> int:
        return len(self._clips)

    def __contains__(self, clip_id: object) -> bool:
        return clip_id in self._clips

    def clip_ids(self) -> list[str]:
        """All clips, sorted."""
        return list(self._clips)

    def clip(self, clip_id: str) -> StoredClip:
        """Size and file of a clip, from the list; a UserError when the store lacks it."""
        if clip_id not in self._clips:
            raise UserError(f"{self.folder}: no clip '{clip_id}' in this store of {len(self)} clips; {self._remedy()}")
        return self._clips[clip_id]

    def made_with(self) -> dict[str, Any]:
        """The settings that decided its frames, by their names; none where an earlier version made it."""
        return recorded_in(self.folder / SETTINGS, command=f"python src/enhance.py {self.folder.name}")

    def load(self, clip_id: str) -> Frames:
        """A clip as memory-mapped frames_NHWC, uint8 (N, H, W, 3): only the frames that are used are read.

        Raises:
            UserError: when the store lacks the clip, or its file is missing or not the array of the list.
        """
        clip = self.clip(clip_id)
        return self._open(clip, clip.file, channels=3)

    def load_flow(self, clip_id: str) -> Frames:
        """The optical flow of a clip as memory-mapped flow_NHW2, uint8 as in flow.py.

        Raises:
            UserError: as `load`, and when the store was made without flow.
        """
        clip = self.clip(clip_id)
        if not clip.flow_sha256:
            raise UserError(f"{self.folder}: stored without optical flow; set enhance.flow: true and {self._remedy()}")
        return self._open(clip, clip.flow_file, channels=2)

    def _open(self, clip: StoredClip, file: str, *, channels: int) -> Frames:
        path = self.folder / file
        try:
            frames_NHWC: Frames = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"{path}: damaged or missing clip '{clip.clip_id}' ({error}); {self._remedy()}") from None
        expected = (clip.frames, clip.height, clip.width, channels)
        if frames_NHWC.dtype != np.uint8 or frames_NHWC.shape != expected:
            raise UserError(
                f"{path}: holds {frames_NHWC.dtype} {frames_NHWC.shape}, the list says uint8 {expected}; "
                f"{self._remedy()}"
            )
        return frames_NHWC

    def verify(self, clip_ids: Iterable[str] | None = None, *, flow: bool = True) -> None:
        """Compares files with their checksums; a process reads a file for this only once.

        Args:
            clip_ids: of the clips to look at; None: all.
            flow: look at their optical flow too, where it is stored.

        Raises:
            UserError: naming files that are missing or damaged.
        """
        problems = []
        for clip in map(self.clip, self._clips if clip_ids is None else clip_ids):
            files = {clip.file: clip.sha256} | ({clip.flow_file: clip.flow_sha256} if flow else {})
            for file, sha256 in files.items():
                path = self.folder / file
                if sha256 and not path.is_file():
                    problems.append(f"{file} is missing")
                elif sha256 and _sha256_once(path, *_version(path)) != sha256:
                    problems.append(f"{file} is damaged (its sha256 differs from the list's)")
        if problems:
            more = [f"and {len(problems) - MOST_NAMED} more"] if len(problems) > MOST_NAMED else []
            raise UserError(f"{self.folder}: {'; '.join([*problems[:MOST_NAMED], *more])}; {self._remedy()}")

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


@cache
def _sha256_once(path: Path, *_: int) -> str:
    return _sha256(path)


def _read_list(folder: Path) -> list[StoredClip]:
    path = folder / LIST
    remedy = _remedy(folder)
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        raise UserError(f"{folder}: no clip store here ({LIST} is missing); {remedy}") from None
    try:
        return TypeAdapter(list[StoredClip]).validate_python(rows)
    except ValidationError as error:
        wrong = error.errors()[0]
        found = f"clip {wrong['loc'][0]}: {'.'.join(map(str, wrong['loc'][1:]))}: {wrong['msg']}"
        raise UserError(f"{path}: not a list of clips ({found}); {remedy}") from None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
