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


NO_CLIP = -1
"""Class number of what fills a process' last batch and counts as no clip."""


class TestClips(Dataset[tuple[Tensor, int]]):
    """Clips of one test draw: fixed by the seed, no augmentation. With `shuffle_frames` the shown frames of each clip
    are in random order: what a network loses by it is what it knew from time. Numbers beyond the last clip give a clip
    with the class number NO_CLIP (see ShardSampler)."""

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
        if number >= len(self.clips):
            return self[0][0], NO_CLIP
        clip = self.clips[number]
        rng = generator(seed=self.seed, epoch=0, clip_id=clip.clip_id, draw=self.draw)
        frames_NHWC = clip.source.load(clip.clip_id)
        indices_T = self.sampler.draw_test(len(frames_NHWC), rng, self.draw, self.num_draws)
        if self.shuffle_frames:
            shown = np.flatnonzero(indices_T != BLANK)
            indices_T[shown] = rng.permutation(indices_T[shown])
        return to_CTHW(show(clip, frames_NHWC, indices_T)), clip.label


class Shared:
    """How many processes share the clips, and which of them this one is. Asked for late: loaders are made before the
    processes know each other."""

    @property
    def num_replicas(self) -> int:
        return distributed.get_world_size() if distributed.is_initialized() else 1

    @property
    def rank(self) -> int:
        return distributed.get_rank() if distributed.is_initialized() else 0


class EpochSampler(Shared, IndexSampler[tuple[int, int]]):
    """Every clip once an epoch in an order drawn from (seed, epoch), as (epoch, number). Lightning calls `set_epoch`.

    In a distributed training each process takes every so-many-th clip, so that the processes' batches together are the
    batch of one process. All take the same number: the last batch is filled up with clips of its own.

    Args:
        batch_size: clips of a batch, of all processes together. A last batch of one clip is left out: BatchNorm needs
            two.
    """

    def __init__(self, num_clips: int, *, seed: int, batch_size: int) -> None:
        single = num_clips > batch_size and num_clips % batch_size == 1
        self.num_clips = num_clips
        self.num_shown = num_clips - single
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.num_shown // self.num_replicas)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.num_clips)[: self.num_shown]
        last = order[(self.num_shown - 1) // self.batch_size * self.batch_size :]
        order = np.concatenate([order, np.resize(last, len(self) * self.num_replicas - len(order))])
        return iter((self.epoch, int(number)) for number in order[self.rank :: self.num_replicas])


class PairedSampler(EpochSampler):
    """Batches of two domains, as many clips of each: first those of the source domain, then those of the target. An
    epoch shows every clip of the larger domain; the smaller one is gone through again as often as that takes.

    Args:
        source: numbers of the clips of the source domain.
        target: numbers of those of the target.
        half: clips of each domain in a batch of one process.

    Raises:
        ValueError: when a domain has fewer clips than half a batch.
    """

    def __init__(self, source: list[int], target: list[int], *, half: int, seed: int) -> None:
        if min(len(source), len(target)) < half:
            raise ValueError(f"{len(source)} and {len(target)} clips of two domains; {half} of each go into a batch")
        super().__init__(max(len(source), len(target)), seed=seed, batch_size=2 * half)
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


class ShardSampler(Shared, IndexSampler[int]):
    """Every so-many-th clip for each process of a distributed training, equally many for each: numbers beyond the last
    clip stand for none."""

    def __init__(self, num_clips: int) -> None:
        self.num_clips = num_clips

    def __len__(self) -> int:
        return -(-self.num_clips // self.num_replicas)

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.rank, len(self) * self.num_replicas, self.num_replicas))


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
    clips: TrainingClips, *, batch_size: int, workers: int, source: list[int] | None = None, processes: int = 1
) -> DataLoader[tuple[Tensor, int]]:
    """Batches of a training epoch. With the numbers of the clips of the source domain, each batch holds as many of them
    as of the target: PairedSampler.

    Args:
        batch_size: clips of a batch, of all `processes` together, which share it evenly.
    """
    own = batch_size // processes
    order = EpochSampler(len(clips), seed=clips.seed, batch_size=batch_size)
    if source is not None:
        target = sorted(set(range(len(clips))) - set(source))
        order = PairedSampler(source, target, half=own // 2, seed=clips.seed)
    return DataLoader(
        clips,
        batch_size=own,
        sampler=order,
        num_workers=workers,
        generator=torch.Generator(),  # else every pass through a loader draws from the generator of dropout and masks
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),  # copies to a GPU then go on beside its work
    )


def validation_loader(clips: TestClips, *, batch_size: int, workers: int) -> DataLoader[tuple[Tensor, int]]:
    """Batches of the share that this process of a training has of `clips`, in their order, after each epoch again."""
    return DataLoader(
        clips,
        batch_size=batch_size,
        sampler=ShardSampler(len(clips)),
        num_workers=workers,
        generator=torch.Generator(),
        persistent_workers=workers > 0,
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
