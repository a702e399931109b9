"""Makes a clip store (clips.py): shard by shard, in any number of processes, and then their list.

While it is made, 00000.csv stands beside each shard that is complete, so that whoever was stopped goes on with the
next.
"""

import csv
import hashlib
import io
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from darkaction.core.errors import UserError
from darkaction.core.folders import write_whole
from darkaction.data.clips import LIST, SETTINGS, StoredClip, flow_file, npy_header, read_list
from darkaction.data.flow import of_frames
from darkaction.data.video import Frames

SHARD_BYTES = 16 * 2**20
MOST_SHARDS = 500
"""A shard has about so many bytes, or as many more as it takes to have no more shards. So a small store has enough of
them for all processors, and a large one few files."""


def plan_shards(frames: Sequence[int], *, height: int, width: int) -> list[range]:
    """Which clips go into which shard: consecutive ones, decided by their numbers of frames alone."""
    size = max(SHARD_BYTES, sum(frames) * height * width * 3 / MOST_SHARDS)
    shards, start, inside = [], 0, 0
    for number, count in enumerate(frames):
        inside += count * height * width * 3
        if inside >= size or number == len(frames) - 1:
            shards.append(range(start, number + 1))
            start, inside = number + 1, 0
    return shards


def is_written(folder: Path, shard: int) -> bool:
    """Whether a shard is complete in a store that is being made."""
    return (folder / f"{shard:05}.csv").exists()


def write_shard(
    folder: Path,
    shard: int,
    clips: Iterable[tuple[str, int, Iterable[Frames]]],
    *,
    height: int,
    width: int,
    flow: bool,
) -> None:
    """Writes a shard as its frames come, in constant memory; its files appear only when they are complete.

    Args:
        folder: where the store is being made.
        shard: its number.
        clips: of each its id (dataset/Class_scene_take), how many frames it has, and these: frames_NHWC uint8.
        height: pixels.
        width: pixels.
        flow: store the optical flow between the frames of a clip too.

    Raises:
        UserError: when a clip has more or fewer frames than it should have.
    """
    name = f"{shard:05}.npy"
    stored = []
    with (
        _growing(folder / name, (height, width, 3)) as array,
        _growing(folder / flow_file(name), (height, width, 2), wanted=flow) as flows,
    ):
        for clip_id, frames, chunks in clips:
            first = array.frames
            if flow:
                for flow_NHW2 in of_frames(map(array.append, chunks)):
                    flows.append(flow_NHW2)
            else:
                for chunk_NHWC in chunks:
                    array.append(chunk_NHWC)
            count = array.frames - first
            if count != frames:
                raise UserError(
                    f"clip {clip_id}: {count} frames decode, {frames} stand in the index; run prepare again"
                )
            stored.append(
                StoredClip(
                    clip_id=clip_id,
                    shard=name,
                    first=first,
                    frames=frames,
                    height=height,
                    width=width,
                    sha256=array.checksum(),
                    flow_sha256=flows.checksum() if flow else "",
                )
            )
    write_whole(folder / f"{shard:05}.csv", _as_text(stored))


class _Growing:
    """An array on the disk that frames are appended to, with a checksum of what came since the last one."""

    def __init__(self, file: IO[bytes]) -> None:
        self.frames = 0
        self._file, self._sha256 = file, hashlib.sha256()

    def append(self, chunk_NHWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
        content = np.ascontiguousarray(chunk_NHWC, np.uint8)
        self.frames += len(content)
        self._sha256.update(content.data)
        self._file.write(content.data)
        return chunk_NHWC

    def checksum(self) -> str:
        digits, self._sha256 = self._sha256.hexdigest(), hashlib.sha256()
        return digits


@contextmanager
def _growing(path: Path, frame: tuple[int, int, int], *, wanted: bool = True) -> Iterator[_Growing]:
    """An array of such frames in the file `path`, which appears when the block has ended well, or nowhere."""
    if not wanted:
        yield _Growing(io.BytesIO())
        return
    partial = path.with_name(f".{path.name}.partial-{secrets.token_hex(4)}")
    try:
        # Not through a memory map: one that finds the disk full kills its process, where a write is an error.
        with partial.open("wb") as file:
            file.write(npy_header((0, *frame)))
            array = _Growing(file)
            yield array
            file.seek(0)
            file.write(npy_header((array.frames, *frame)))
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:  # named here, since outside the worker process nobody knows the file
        raise OSError(error.errno, error.strerror, error.filename or str(path)) from None
    finally:
        partial.unlink(missing_ok=True)


def write_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Writes settings.json: what `ClipStore.made_with` gives."""
    (folder / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n")


def write_list(folder: Path) -> None:
    """Writes clips.csv from the lists of the shards, which makes `folder` a store. Call it last."""
    parts = sorted(folder.glob("[0-9]*.csv"))
    clips = [clip for part in parts for clip in read_list(part)]
    write_whole(folder / LIST, _as_text(sorted(clips, key=lambda clip: clip.clip_id)))
    for part in parts:
        part.unlink()


def _as_text(clips: Iterable[StoredClip]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(StoredClip)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(clip) for clip in clips)
    return text.getvalue()
