"""Draw clips: settings to frames, handed on or written to disk, the same whatever the number of workers."""

import collections
import functools
import itertools
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
from tqdm import tqdm

from darkaction.data.video import write_video
from darkaction.synthetic import scene_sampler
from darkaction.synthetic.clip_state import DrawnClip, StagedClip
from darkaction.synthetic.drawing import SUFFIXES, DemoSettings
from darkaction.synthetic.human.motion import Action
from darkaction.synthetic.world import rooms
from darkaction.synthetic.world.rooms import make_scene
from darkaction.synthetic.world.scene import Image

__all__ = [
    "ClipRecord", "DemoSettings", "DrawnClip", "StagedClip", "clip_path", "draw_clip", "generate", "make_scene",
    "map_clips", "paint_clip", "stage_clip",
]  # fmt: skip

T = TypeVar("T")
Key = tuple[Action, int, int]  # action, scene, take
Consume = Callable[[Action, int, int, Image], T]


@dataclass(frozen=True, kw_only=True)
class ClipRecord:
    """One written clip."""

    path: Path
    action: Action
    scene: int
    take: int
    num_frames: int


def clip_path(settings: DemoSettings, action: Action, scene: int, take: int) -> Path:
    """ARID's naming, relative to the data set's folder: Walk/Walk_3_12.mp4; scenes and takes count from 1."""
    name = action.capitalize()
    return Path(name) / f"{name}_{scene}_{take}{SUFFIXES[settings.codec]}"


def stage_clip(settings: DemoSettings, action: Action, scene: int, take: int) -> StagedClip:
    """Motion, camera and joints of one clip, without pixels; a pure function of its arguments."""
    if settings.variation is not None:
        return scene_sampler.stage_varied(settings, settings.variation, action, scene, take)
    return rooms.stage_demo(settings, action, scene, take)


def paint_clip(settings: DemoSettings, scene: int, staged: StagedClip, frames: Iterable[int], *, person: bool) -> Image:
    """The given frames (F, H, W, 3) of a staged clip in full light, with the person or of the empty place."""
    if settings.variation is not None:
        return scene_sampler.paint_varied(settings, settings.variation, scene, staged, frames, person=person)
    return rooms.paint_demo(settings, scene, staged, frames, person=person)


def draw_clip(settings: DemoSettings, action: Action, scene: int, take: int) -> DrawnClip:
    """One clip in full light and as filmed; a pure function of its arguments."""
    staged = stage_clip(settings, action, scene, take)
    clean_NHWC = paint_clip(settings, scene, staged, range(len(staged.joints_NJ3)), person=True)
    if settings.variation is not None:
        dark_NHWC = scene_sampler.film_varied(settings, settings.variation, action, scene, take, clean_NHWC)
    else:
        dark_NHWC = rooms.expose_demo(settings, action, scene, take, clean_NHWC)
    return DrawnClip(staged=staged, clean_NHWC=clean_NHWC, dark_NHWC=dark_NHWC)


def _keys(settings: DemoSettings) -> list[Key]:
    return [
        (action, scene, take)
        for scene in range(1, settings.scenes + 1)
        for action in settings.classes
        for take in range(1, settings.takes + 1)
    ]


def _consume_all(settings: DemoSettings, consume: Consume[T], keys: list[Key]) -> list[T]:
    return [consume(*key, draw_clip(settings, *key).dark_NHWC) for key in keys]


def _one_thread() -> None:
    cv2.setNumThreads(1)


def _in_order(
    pool: ProcessPoolExecutor, work: Callable[[list[Key]], list[T]], keys: list[Key], ahead: int, size: int
) -> Iterator[T]:
    """Results in the order of the keys; at most `ahead` batches wait, however slowly they are taken."""
    waiting: collections.deque[Future[list[T]]] = collections.deque()
    try:
        for first in range(0, len(keys), size):
            if len(waiting) == ahead:
                yield from waiting.popleft().result()
            waiting.append(pool.submit(work, keys[first : first + size]))
        while waiting:
            yield from waiting.popleft().result()
    finally:  # whoever stops early, or fails, does not wait for what is not begun
        for future in waiting:
            future.cancel()


def map_clips(settings: DemoSettings, consume: Consume[T], *, workers: int, progress: bool) -> Iterator[T]:
    """What `consume(action, scene, take, frames_NHWC)` makes of every clip, ordered by scene, class and take.

    `consume` runs in one of `workers` processes (0: in this one), so that only its results travel between them; it
    must be importable there, and the same clip gives it the same frames whatever the number of workers.
    """
    keys = _keys(settings)
    work = functools.partial(_consume_all, settings, consume)
    kind = "varied" if settings.variation is not None else "lit" if settings.lit else "dark"
    bar = functools.partial(tqdm, total=len(keys), desc=f"draw {kind} clips", unit="clip", disable=not progress)
    if workers == 0:
        yield from bar(itertools.chain.from_iterable(work([key]) for key in keys))
        return
    # A worker that draws all classes of a scene makes the scene once.
    whole = settings.takes * len(settings.classes)
    size = whole if settings.scenes >= 8 * workers else settings.takes
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
        yield from bar(_in_order(pool, work, keys, 4 * workers, size))


def _write_clip(
    settings: DemoSettings, out_dir: Path, action: Action, scene: int, take: int, frames_NHWC: Image
) -> ClipRecord:
    path = out_dir / clip_path(settings, action, scene, take)
    count = write_video(path, frames_NHWC, fps=settings.fps, codec=settings.codec)  # atomic, verified by decoding
    return ClipRecord(path=path, action=action, scene=scene, take=take, num_frames=count)


def generate(settings: DemoSettings, out_dir: Path, *, workers: int, progress: bool) -> list[ClipRecord]:
    """Draw all clips into `out_dir` with `workers` processes (0: in this one), with a progress bar if wanted.

    Returns one record a clip, ordered by scene, class and take.
    """
    for action in settings.classes:
        (out_dir / action.capitalize()).mkdir(parents=True, exist_ok=True)
    write = functools.partial(_write_clip, settings, out_dir)
    return list(map_clips(settings, write, workers=workers, progress=progress))
