"""Clip stores for tests: of one shard, with whatever clips."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from darkaction.data.clips import ClipStore
from darkaction.data.shards import write_list, write_shard
from darkaction.data.video import Frames


def make_store(folder: Path, clips: Mapping[str, Frames], *, flow: bool = False, chunk: int = 16) -> ClipStore:
    """Writes frames_NHWC by clip id, all of one size."""
    folder.mkdir(parents=True, exist_ok=True)
    height, width = next(iter(clips.values())).shape[1:3]
    contents = [(clip_id, len(frames), in_chunks(frames, chunk)) for clip_id, frames in clips.items()]
    write_shard(folder, 0, contents, height=height, width=width, flow=flow)
    write_list(folder)
    return ClipStore(folder)


def in_chunks(frames_NHWC: Frames, size: int) -> Iterable[Frames]:
    return (frames_NHWC[start : start + size] for start in range(0, len(frames_NHWC), size))
