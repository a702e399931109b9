"""Draw the demo data set: settings to clips on disk, the same whatever the number of workers."""

import functools
import multiprocessing
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from darkaction.datasets.demo.camera import CameraPath, Viewpoint, follow, make_viewpoint
from darkaction.datasets.demo.motion import ACTIONS, Action, Performance, perform
from darkaction.datasets.demo.render import Painter, add_chair, add_furniture, add_person, draw_planes
from darkaction.datasets.demo.scene import Image, Room, make_room
from darkaction.datasets.demo.sensor import Light, expose, make_light
from darkaction.datasets.demo.skeleton import ANKLE_HEIGHT, Floats, forward_kinematics
from darkaction.datasets.demo.subject import Subject, make_subject
from darkaction.errors import UserError
from darkaction.video import write_video

SUFFIXES = {"mp4v": ".mp4", "FFV1": ".avi"}  # codec to file name suffix
_REACH = {"static": (0.75, 0.5), "pan": (2.2, 0.6), "dolly": (12.0, 0.8)}  # metres to either side: across, along


@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """What to draw. A scene is one subject, room and camera, shared by all classes; takes are its repeats."""

    classes: tuple[Action, ...]
    scenes: int
    takes: int  # for each class and scene
    height: int  # pixels
    width: int
    fps: int
    lit: bool  # the auxiliary domain: normal light, other rooms, subjects and viewpoints
    seed: int
    codec: str  # a key of SUFFIXES

    def __post_init__(self) -> None:
        unknown = [name for name in self.classes if name not in ACTIONS]
        if unknown or not self.classes:
            raise UserError(f"classes: {unknown or 'none given'}; the demo draws {', '.join(ACTIONS)}")
        if self.codec not in SUFFIXES:
            raise UserError(f"codec: {self.codec!r}; valid: {', '.join(SUFFIXES)}")
        for name in ("scenes", "takes", "fps"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}: {getattr(self, name)}; must be at least 1")
        for name in ("height", "width"):
            if getattr(self, name) < 16 or getattr(self, name) % 2:
                raise UserError(f"{name}: {getattr(self, name)}; must be an even number of at least 16 pixels")


@dataclass(frozen=True, kw_only=True)
class ClipRecord:
    """One written clip."""

    path: Path
    action: Action
    scene: int
    take: int
    num_frames: int


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One subject, room, camera and light."""

    subject: Subject
    room: Room
    view: Viewpoint
    light: Light


@dataclass(frozen=True, kw_only=True)
class StagedClip:
    """A clip before it is painted: N frames, J joints."""

    performance: Performance
    camera: CameraPath
    joints_NJ3: Floats  # world, metres
    joints_NJ2: Floats  # image, pixels


@dataclass(frozen=True, kw_only=True)
class DrawnClip:
    """A painted clip and what is known about it."""

    staged: StagedClip
    clean_NHWC: Image
    dark_NHWC: Image


def clip_path(settings: DemoSettings, action: Action, scene: int, take: int) -> Path:
    """ARID's naming, relative to the data set's folder: Walk/Walk_3_12.mp4; scenes and takes count from 1."""
    name = action.capitalize()
    return Path(name) / f"{name}_{scene}_{take}{SUFFIXES[settings.codec]}"


def _generator(settings: DemoSettings, *key: int) -> np.random.Generator:
    return np.random.default_rng([settings.seed, int(settings.lit), *key])


@functools.lru_cache(maxsize=4)
def make_scene(settings: DemoSettings, number: int) -> Scene:
    """Scene `number` (from 1): the same for all classes and takes."""
    rng = _generator(settings, number)
    subject = make_subject(rng)
    view = make_viewpoint(rng, person_height=subject.bones.height, lit=settings.lit)
    room = make_room(rng, lit=settings.lit, wall_y=float(rng.uniform(1.6, 3.2)))
    light = make_light(rng, (settings.height, settings.width), lit=settings.lit)
    return Scene(subject=subject, room=room, view=view, light=light)


def _confine(performance: Performance, view: Viewpoint) -> None:
    """Shorten travel to what the camera can follow; a person in view of a static camera crosses its middle."""
    place_N2 = performance.motion.place_N2
    right = np.array([np.cos(view.yaw), np.sin(view.yaw)])
    forward = np.array([-right[1], right[0]])
    across_N, along_N = place_N2 @ right, place_N2 @ forward
    for axis_N, reach in zip((across_N, along_N), _REACH[view.mode], strict=True):
        axis_N -= (axis_N.max() + axis_N.min()) / 2
        axis_N *= min(1.0, reach / max(np.ptp(axis_N) / 2, 1e-6))
    place_N2[:] = across_N[:, None] * right + along_N[:, None] * forward


def stage_clip(settings: DemoSettings, action: Action, scene: int, take: int) -> StagedClip:
    """Motion, camera and joints of one clip, without pixels; a pure function of its arguments."""
    place = make_scene(settings, scene)
    rng = _generator(settings, scene, 1 + ACTIONS.index(action), take)
    performance = perform(rng, action, place.subject, fps=settings.fps)
    _confine(performance, place.view)
    if not performance.travels:  # who stays, stays anywhere on the way of those who go, and so does the chair
        performance.motion.place_N2 += rng.uniform(-0.6, 0.6, 2) * _REACH["static"]
    joints_NJ3 = forward_kinematics(performance.motion, place.subject.bones)
    size_HW = (settings.height, settings.width)
    camera = follow(rng, place.view, performance.motion.place_N2, size_HW=size_HW, travels=performance.travels)
    joints_NJ2, _ = camera.project(joints_NJ3)
    return StagedClip(performance=performance, camera=camera, joints_NJ3=joints_NJ3, joints_NJ2=joints_NJ2)


def paint_clip(settings: DemoSettings, scene: int, staged: StagedClip, frames: Iterable[int], *, person: bool) -> Image:
    """The given frames (F, H, W, 3) of a staged clip in full light, with the person or of the empty room."""
    place = make_scene(settings, scene)
    num_frames = len(staged.joints_NJ3)
    painter = Painter(staged.camera)
    start, seat = staged.performance.motion.place_N2[0], staged.performance.seat_place
    seat_at = (float(start[0] + seat[0]), float(start[1] + seat[1]))
    seat_height = place.subject.bones.shin + ANKLE_HEIGHT - 0.09  # a thigh's radius below the hip of who sits
    add_chair(painter, place.room, seat_at, staged.performance.seat_yaw, seat_height, num_frames)
    add_furniture(painter, place.room, num_frames, float(staged.camera.position_N3[:, 0].mean()))
    if person:
        add_person(painter, staged.joints_NJ3, place.subject)
    order_NI = painter.order()
    painted = []
    planes = draw_planes(place.room, staged.camera, 0, (settings.height, settings.width))
    for frame in frames:
        if not staged.camera.still:
            planes = draw_planes(place.room, staged.camera, frame, (settings.height, settings.width))
        image = planes.copy()
        painter.paint(image, frame, order_NI[frame])
        painted.append(image)
    return np.stack(painted)


def draw_clip(settings: DemoSettings, action: Action, scene: int, take: int) -> DrawnClip:
    """One clip in full light and as filmed; a pure function of its arguments."""
    staged = stage_clip(settings, action, scene, take)
    clean_NHWC = paint_clip(settings, scene, staged, range(len(staged.joints_NJ3)), person=True)
    rng = _generator(settings, scene, 1 + ACTIONS.index(action), take, 1)
    dark_NHWC = expose(clean_NHWC, make_scene(settings, scene).light, rng)
    return DrawnClip(staged=staged, clean_NHWC=clean_NHWC, dark_NHWC=dark_NHWC)


def _write_clip(settings: DemoSettings, out_dir: Path, key: tuple[Action, int, int]) -> ClipRecord:
    action, scene, take = key
    frames_NHWC = draw_clip(settings, action, scene, take).dark_NHWC
    path = out_dir / clip_path(settings, action, scene, take)
    count = write_video(path, frames_NHWC, fps=settings.fps, codec=settings.codec)  # atomic, verified by decoding
    return ClipRecord(path=path, action=action, scene=scene, take=take, num_frames=count)


def _one_thread() -> None:
    cv2.setNumThreads(1)


def generate(settings: DemoSettings, out_dir: Path, *, workers: int, progress: bool) -> list[ClipRecord]:
    """Draw all clips into `out_dir` with `workers` processes (0: in this one), with a progress bar if wanted.

    Returns one record a clip, ordered by scene, class and take.
    """
    keys = [
        (action, scene, take)
        for scene in range(1, settings.scenes + 1)
        for action in settings.classes
        for take in range(1, settings.takes + 1)
    ]
    for action in settings.classes:
        (out_dir / action.capitalize()).mkdir(parents=True, exist_ok=True)
    draw = functools.partial(_write_clip, settings, out_dir)
    label = f"draw {'lit' if settings.lit else 'dark'} clips"
    bar = functools.partial(tqdm, total=len(keys), desc=label, unit="clip", disable=not progress)
    if workers == 0:
        return list(bar(map(draw, keys)))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
        return list(bar(pool.map(draw, keys, chunksize=settings.takes)))
