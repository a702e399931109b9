"""Clips a second of training input on one core: 64 frames of 112x112, sampled, flipped, rotated and translated.

    python benchmarks/input_speed.py

Ours reads the clip store. The alternatives decode the videos of 320x240 or JPEG pictures of 112x112, and augment with
OpenCV frame by frame.
"""

import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from measure import Row, clock_of, copy_rate, in_turns, no_arguments, table
from sample_clips import sample_clips

from darkaction.core.processes import keep_freed_memory
from darkaction.data.clips import ClipStore
from darkaction.data.shards import write_list, write_shard
from darkaction.data.video import read_video
from darkaction.enhancement.training_images import resize
from darkaction.params import Params
from darkaction.training.augmentation import Augmenter
from darkaction.training.loader import Clip, TrainingClips
from darkaction.training.sampling import BLANK, Sampler

Frames = NDArray[np.uint8]
Read = Callable[[Path, NDArray[np.int64]], Frames]
"""Frames of a clip at some indices, at the network's size."""

PAPER = Params.load(profile="paper")
SIZE = PAPER.enhance.height, PAPER.enhance.width
CLIP_BYTES = PAPER.sampling.num_frames * SIZE[0] * SIZE[1] * 3


def sampler() -> Sampler:
    """Delta sampling with the paper's settings."""
    s = PAPER.sampling
    return Sampler(
        strategy="delta",
        num_frames=s.num_frames,
        delta_min=s.delta_min,
        delta_max=s.delta_max,
        max_rate=s.max_rate,
        min_frames=1,
        max_frames=1,
    )


def stored(videos: list[Path], folder: Path) -> ClipStore:
    """A clip store of the videos, not enhanced: only reading is measured."""
    clips = []
    for video in videos:
        frames_NHWC = np.stack([resize(frame, *SIZE) for frame in read_video(video)])
        clips.append((f"demo/{video.stem}", len(frames_NHWC), [frames_NHWC]))
        pictures = folder / video.stem
        pictures.mkdir()
        for number, frame_HWC in enumerate(frames_NHWC):
            cv2.imwrite(str(pictures / f"{number:04d}.jpg"), frame_HWC[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    write_shard(folder, 0, clips, height=SIZE[0], width=SIZE[1], flow=False)
    write_list(folder)
    return ClipStore(folder)


def by_opencv(video: Path, indices: NDArray[np.int64]) -> Frames:
    """Decodes up to the last wanted frame; keeps the wanted ones."""
    capture, wanted, kept = cv2.VideoCapture(str(video)), set(indices.tolist()), {}
    for number in range(max(wanted) + 1):
        capture.grab()
        if number in wanted:
            frame_HWC = capture.retrieve()[1]
            kept[number] = cv2.cvtColor(cv2.resize(frame_HWC, SIZE, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
    return np.stack([kept[int(index)] for index in indices])


def by_jpeg(folder: Path) -> Read:
    """One picture a frame."""

    def read(video: Path, indices: NDArray[np.int64]) -> Frames:
        files = (str(folder / video.stem / f"{index:04d}.jpg") for index in indices)
        return np.stack([cv2.cvtColor(cv2.imread(file), cv2.COLOR_BGR2RGB) for file in files])  # type: ignore[arg-type]

    return read


def by_pyav(video: Path, indices: NDArray[np.int64]) -> Frames:
    """As `by_opencv`, with FFmpeg's scaling."""
    import av

    wanted, kept = set(indices.tolist()), {}
    with av.open(str(video)) as container:
        container.streams.video[0].thread_count = 1
        for number, frame in enumerate(container.decode(video=0)):
            if number in wanted:
                kept[number] = frame.to_ndarray(format="rgb24", width=SIZE[1], height=SIZE[0])
            if len(kept) == len(wanted):
                break
    return np.stack([kept[int(index)] for index in indices])


def plain_item(video: Path, frames: int, read: Read, rng: np.random.Generator) -> torch.Tensor:
    """What one writes first: sample, read, warp each frame, flip, transpose."""
    indices_T = sampler().draw(frames, rng)
    clip_THWC = np.zeros((len(indices_T), *SIZE, 3), np.uint8)
    clip_THWC[indices_T != BLANK] = read(video, indices_T[indices_T != BLANK])
    height, width = SIZE
    augmentation = PAPER.augmentation
    angle = rng.uniform(-augmentation.rotation, augmentation.rotation)
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    matrix[:, 2] += rng.uniform(-augmentation.translation, augmentation.translation, 2) * (width, height)
    clip_THWC = np.stack([cv2.warpAffine(frame, matrix, (width, height)) for frame in clip_THWC])  # type: ignore[misc]
    if rng.uniform() < augmentation.flip:
        clip_THWC = clip_THWC[:, :, ::-1]
    return torch.from_numpy(np.ascontiguousarray(clip_THWC.transpose(3, 0, 1, 2)))


def rows() -> list[Row]:
    """One row an alternative."""
    keep_freed_memory()
    augmentation = PAPER.augmentation
    augmenter = Augmenter(flip=augmentation.flip, rotation=augmentation.rotation, translation=augmentation.translation)
    with sample_clips() as videos:
        folder = videos[0].parent / "store"
        folder.mkdir()
        store = stored(videos, folder)
        clips = [Clip(clip_id=name, label=0, source=store, flow=False) for name in store.clip_ids()]
        ours = TrainingClips(clips, sampler=sampler(), augmenter=augmenter, seed=0, epochs=1, delta_curriculum=0.0)
        frames = {video: store.clip(f"demo/{video.stem}").frames for video in videos}

        def plain(read: Read) -> Callable[[], int]:
            rng = np.random.default_rng(0)
            return lambda: len([plain_item(video, frames[video], read, rng) for video in videos])

        readers: dict[str, Read] = {"OpenCV decodes the videos": by_opencv, "folders of JPEG": by_jpeg(folder)}
        if find_spec("av"):
            readers["PyAV decodes the videos"] = by_pyav
        ways = {name: plain(read) for name, read in readers.items()}
        ways["ours"] = lambda: len([ours[epoch, number] for epoch in range(8) for number in range(len(ours))])
        rates = in_turns(ways, threads=1, clock=clock_of(1))
    limit = rates["ours"].median * CLIP_BYTES / copy_rate(threads=1)
    what = "training input, 64 frames of 112x112, one core"
    return [
        Row(what=what, unit="clips/s", ours=rates["ours"], alternative=name, theirs=rates[name], limit=limit)
        for name in readers
    ]


def main() -> None:
    no_arguments(__doc__)
    print(table(rows()))
    print("\nThe limit: memory copies of a clip's bytes.")
    if not find_spec("av"):
        print("PyAV is not installed: see benchmarks/requirements.txt.")


if __name__ == "__main__":
    main()
