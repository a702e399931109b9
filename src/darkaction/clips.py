"""The clip store: frames at the network's input size, one memory-mapped .npy a clip, and a list with checksums.

    data/clips/<dataset>/<Class_scene_take>.npy   uint8 (N, H, W, 3) RGB
    data/clips/<dataset>/clips.csv                clip_id, file, frames, height, width, sha256; written last

A folder without clips.csv is no store, so a store is whole or not there.
"""

import csv
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from darkaction.errors import UserError
from darkaction.video import Frames

LIST = "clips.csv"


@dataclass(frozen=True, kw_only=True)
class StoredClip:
    """A line of clips.csv."""

    clip_id: str
    file: str
    frames: int
    height: int  # pixels
    width: int
    sha256: str  # of the .npy file


def write_clip(
    folder: Path, clip_id: str, chunks: Iterable[Frames], *, frames: int, height: int, width: int
) -> StoredClip:
    """Writes one clip as it comes, in constant memory; its file appears only when it is complete.

    Args:
        folder: where the store is being made.
        clip_id: dataset/Class_scene_take.
        chunks: frames_NHWC uint8, `frames` of them in sum, of `height` x `width` pixels.
        frames: frames of the whole clip.
        height: pixels.
        width: pixels.

    Raises:
        UserError: when there come more or fewer frames than `frames`.
    """
    file = f"{clip_id.rpartition('/')[2]}.npy"
    partial = folder / f".{file}.partial"
    try:
        stored_NHWC = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=(frames, height, width, 3))
        count = 0
        for chunk_NHWC in chunks:
            end = count + len(chunk_NHWC)
            if end <= frames:
                stored_NHWC[count:end] = chunk_NHWC
            count = end
        if count != frames:
            raise UserError(f"clip {clip_id}: {count} frames decode, {frames} stand in the index; run prepare again")
        stored_NHWC.flush()
        del stored_NHWC
        checksum = _sha256(partial)
        os.replace(partial, folder / file)
    finally:
        partial.unlink(missing_ok=True)
    return StoredClip(clip_id=clip_id, file=file, frames=frames, height=height, width=width, sha256=checksum)


def write_list(folder: Path, clips: Sequence[StoredClip]) -> None:
    """Writes clips.csv, sorted by clip id, which makes `folder` a store. Call it last."""
    partial = folder / f".{LIST}.partial"
    with partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(StoredClip)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(clip) for clip in sorted(clips, key=lambda clip: clip.clip_id))
    os.replace(partial, folder / LIST)


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
            raise UserError(
                f"{self.folder}: no clip '{clip_id}' in this store of {len(self)} clips; run "
                f"python src/enhance.py {self.folder.name} again"
            )
        return self._clips[clip_id]

    def load(self, clip_id: str) -> Frames:
        """A clip as memory-mapped frames_NHWC, uint8 (N, H, W, 3): only the frames that are used are read.

        Raises:
            UserError: when the store lacks the clip, or its file is missing or not the array of the list.
        """
        clip = self.clip(clip_id)
        path = self.folder / clip.file
        try:
            frames_NHWC: Frames = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"{path}: damaged or missing clip '{clip_id}' ({error}); {self._remedy()}") from None
        expected = (clip.frames, clip.height, clip.width, 3)
        if frames_NHWC.dtype != np.uint8 or frames_NHWC.shape != expected:
            raise UserError(
                f"{path}: holds {frames_NHWC.dtype} {frames_NHWC.shape}, the list says uint8 {expected}; "
                f"{self._remedy()}"
            )
        return frames_NHWC

    def verify(self) -> None:
        """Compares every file with its checksum.

        Raises:
            UserError: naming every file that is missing or damaged.
        """
        problems = []
        for clip in self._clips.values():
            path = self.folder / clip.file
            if not path.is_file():
                problems.append(f"{clip.file} is missing")
            elif _sha256(path) != clip.sha256:
                problems.append(f"{clip.file} is damaged (its sha256 differs from the list's)")
        if problems:
            raise UserError(f"{self.folder}: {'; '.join(problems)}; {self._remedy()}")

    def _remedy(self) -> str:
        return f"run python src/enhance.py {self.folder.name} again"


def _read_list(folder: Path) -> list[StoredClip]:
    path = folder / LIST
    remedy = f"run python src/enhance.py {folder.name}"
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        raise UserError(f"{folder}: no clip store here ({LIST} is missing); {remedy}") from None
    try:
        return [
            StoredClip(
                clip_id=row["clip_id"],
                file=row["file"],
                frames=int(row["frames"]),
                height=int(row["height"]),
                width=int(row["width"]),
                sha256=row["sha256"],
            )
            for row in rows
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a list of clips ({error!r}); {remedy} again") from None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
