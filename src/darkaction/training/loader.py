"""From the clip store to batches. Sampling and augmentation happen here, so neither ever invalidates stored clips."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed
from torch.utils.data import DataLoader, Dataset
from torch.utils.data import Sampler as IndexSampler

from darkaction.core.errors import UserError
from darkaction.data.flow import STILL
from darkaction.training.augmentation import Augmenter
from darkaction.training.sampling import BLANK, TRAINING_DRAW, Sampler, generator, ramp


class FrameSource(Protocol):
    """Where the frames of a clip come from; a ClipStore is one."""

    def load(self, clip_id: str) -> NDArray[np.uint8]:
        """frames_NHWC, possibly memory-mapped."""

    def load_flow(self, clip_id: str) -> NDArray[np.uint8]:
        """flow_NHW2 as in flow.py, possibly memory-mapped."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One clip, its class number, the store that holds its frames, and whether its optical flow is shown too."""

    clip_id: str
    label: int
    source: FrameSource
    flow: bool


class TrainingClips(Dataset[tuple[Tensor, int]]):
    """Clips as the network sees them in training. An item is asked for as (epoch, number), since its random numbers
    depend on the epoch: see `sampling.generator`."""

    def __init__(
        self,
        clips: list[Clip],
        *,
        sampler: Sampler,
        augmenter: Augmenter,
        seed: int,
        epochs: int,
        delta_curriculum: float,
    ) -> None:
        self.clips = clips
        self.sampler = sampler
        self.augmenter = augmenter
        self.seed = seed
        self.epochs = epochs
        self.delta_curriculum = delta_curriculum

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int]:
        """(clip_CTHW uint8, class number)."""
        epoch, number = key
        clip = self.clips[number]
        rng = generator(seed=self.seed, epoch=epoch, clip_id=clip.clip_id, draw=TRAINING_DRAW)
        share = ramp(epoch, self.epochs, self.delta_curriculum)
        frames_NHWC = clip.source.load(clip.clip_id)
        indices_T = self.sampler.draw_ramped(len(frames_NHWC), rng, share)
        distinct, places_T = np.unique(indices_T, return_inverse=True)  # no frame is augmented twice, nor blank ones
        augmented_CKHW = self.augmenter(planes(show(clip, frames_NHWC, distinct)), rng)
        return torch.from_numpy(augmented_CKHW.take(places_T, axis=1)), clip.label


class TestClips(Dataset[tuple[Tensor, int]]):
    """Clips of one test draw: fixed by the seed, no augmentation. With `shuffle_frames` the shown frames of each clip
    are in random order: what a network loses by it is what it knew from time."""

    __test__ = False  # not a test class, whatever pytest thinks of the name

    def __init__(
        self, clips: list[Clip], *, sampler: Sampler, seed: int, draw: int, num_draws: int, shuffle_frames: bool = False
    ) -> None:
        self.clips = clips
        self.sampler = sampler
        self.seed = seed
        self.draw = draw
        self.num_draws = num_draws
        self.shuffle_frames = shuffle_frames

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        """(clip_CTHW uint8, class number)."""
        clip = self.clips[number]
        rng = generator(seed=self.seed, epoch=0, clip_id=clip.clip_id, draw=self.draw)
        frames_NHWC = clip.source.load(clip.clip_id)
        indices_T = self.sampler.draw_test(len(frames_NHWC), rng, self.draw, self.num_draws)
        if self.shuffle_frames:
            shown = np.flatnonzero(indices_T != BLANK)
            indices_T[shown] = rng.permutation(indices_T[shown])
        return to_CTHW(show(clip, frames_NHWC, indices_T)), clip.label


class EpochSampler(IndexSampler[tuple[int, int]]):
    """Every clip once an epoch in an order drawn from (seed, epoch), as (epoch, number). Lightning calls `set_epoch`.

    In a distributed training each process takes every so-many-th clip; the order is padded from its own beginning so
    that all take the same number.
    """

    def __init__(self, num_clips: int, *, seed: int) -> None:
        self.num_clips = num_clips
        self.seed = seed
        self.epoch = 0

    @property
    def num_replicas(self) -> int:
        return distributed.get_world_size() if distributed.is_initialized() else 1

    @property
    def rank(self) -> int:
        return distributed.get_rank() if distributed.is_initialized() else 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.num_clips // self.num_replicas)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.num_clips)
        order = np.resize(order, len(self) * self.num_replicas)
        return iter((self.epoch, int(number)) for number in order[self.rank :: self.num_replicas])


class PairedSampler(EpochSampler):
    """Batches of two domains, as many clips of each: first those of the source domain, then those of the target. An
    epoch shows every clip of the larger domain; the smaller one is gone through again as often as that takes.

    Args:
        source: numbers of the clips of the source domain.
        target: numbers of those of the target.
        half: clips of each domain in a batch.

    Raises:
        ValueError: when a domain has fewer clips than half a batch.
    """

    def __init__(self, source: list[int], target: list[int], *, half: int, seed: int) -> None:
        if min(len(source), len(target)) < half:
            raise ValueError(f"{len(source)} and {len(target)} clips of two domains; {half} of each go into a batch")
        super().__init__(max(len(source), len(target)), seed=seed)
        self.domains = (source, target)
        self.half = half

    def __len__(self) -> int:
        return self._batches() * 2 * self.half

    def __iter__(self) -> Iterator[tuple[int, int]]:
        wanted = self._batches() * self.half * self.num_replicas
        orders = []
        for domain, numbers in enumerate(self.domains):
            rng = np.random.default_rng([self.seed, self.epoch, domain])
            rounds = -(-wanted // len(numbers))
            order = np.concatenate([rng.permutation(numbers) for _ in range(rounds)])[:wanted]
            orders.append(order[self.rank :: self.num_replicas].reshape(-1, self.half))
        return iter((self.epoch, int(number)) for number in np.concatenate(orders, axis=1).ravel())

    def _batches(self) -> int:
        return self.num_clips // (self.half * self.num_replicas)


def show(clip: Clip, frames_NHWC: NDArray[np.uint8], indices_T: NDArray[np.int64]) -> NDArray[np.uint8]:
    """What the network sees of a clip whose source has loaded its frames: frames_THWC at the given indices, with flow
    as channels 4 and 5 where the clip has it. Blank frames are black and still."""
    frames_THWC = gather(frames_NHWC, indices_T, blank=0)
    if not clip.flow:
        return frames_THWC
    flow_THW2 = gather(clip.source.load_flow(clip.clip_id), indices_T, blank=STILL)
    return np.concatenate([frames_THWC, flow_THW2], axis=-1)


def gather(frames_NHWC: NDArray[np.uint8], indices_T: NDArray[np.int64], *, blank: int) -> NDArray[np.uint8]:
    """frames_THWC at the given indices; `blank` all over where the index is BLANK."""
    frames_THWC: NDArray[np.uint8] = np.asarray(frames_NHWC)[indices_T]
    frames_THWC[indices_T == BLANK] = blank
    return frames_THWC


def to_CTHW(frames_THWC: NDArray[np.uint8]) -> Tensor:
    """uint8 (T, H, W, C) -> (C, T, H, W)."""
    return torch.from_numpy(planes(frames_THWC))


def planes(frames_THWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(T, H, W, C) -> (C, T, H, W)."""
    steps, height, width, channels = frames_THWC.shape
    clip_CTHW = np.empty((channels, steps, height, width), dtype=np.uint8)
    image_HWC = np.ascontiguousarray(frames_THWC).reshape(steps * height, width, channels)
    cv2.split(image_HWC, [*clip_CTHW.reshape(channels, steps * height, width)])  # faster than numpy's transposition
    return clip_CTHW


def training_loader(
    clips: TrainingClips, *, batch_size: int, workers: int, source: list[int] | None = None
) -> DataLoader[tuple[Tensor, int]]:
    """Batches of a training epoch; the last one is dropped where it would be a single clip (BatchNorm needs two). With
    the numbers of the clips of the source domain, each batch holds as many of them as of the target: PairedSampler."""
    order = EpochSampler(len(clips), seed=clips.seed)
    if source is not None:
        target = sorted(set(range(len(clips))) - set(source))
        order = PairedSampler(source, target, half=batch_size // 2, seed=clips.seed)
    return DataLoader(
        clips,
        batch_size=batch_size,
        sampler=order,
        num_workers=workers,
        generator=torch.Generator(),  # else every pass through a loader draws from the generator of dropout and masks
        persistent_workers=workers > 0,
        drop_last=len(order) > batch_size and len(order) % batch_size == 1,
        pin_memory=torch.cuda.is_available(),
    )


def test_loader(clips: TestClips, *, batch_size: int, workers: int) -> DataLoader[tuple[Tensor, int]]:
    """Batches in the order of `clips`."""
    return DataLoader(
        clips,
        batch_size=batch_size,
        num_workers=workers,
        generator=torch.Generator(),
        pin_memory=torch.cuda.is_available(),
    )


test_loader.__test__ = False  # type: ignore[attr-defined]


@contextlib.contextmanager
def lost_worker_is_said() -> Iterator[None]:
    """What torch says of a loader process that died, as an error that a person can act on.

    Raises:
        UserError: when one died in the block.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise UserError(
            "a process that loads clips died, perhaps for want of memory; the same command goes on from the last epoch "
            "(train.num_workers: fewer processes need less)"
        ) from None
