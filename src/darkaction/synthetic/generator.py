"""The generator: a scene, the state of a clip in it, its frames in full light, and as filmed.

    settings ─ sample_scene ─ sample_clip_state ─ render_clip ─ sensor.film

All are pure functions of the settings and of a clip's action, scene and take (from 1). N frames, J joints.
"""

import functools
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from darkaction.core.errors import UserError
from darkaction.synthetic.camera.camera import CameraPath, follow
from darkaction.synthetic.camera.render import Painter, add_person, add_shadow
from darkaction.synthetic.human.actions import Performance
from darkaction.synthetic.human.motion import ACTIONS, Action
from darkaction.synthetic.human.skeleton import ANKLE_HEIGHT, Floats, forward_kinematics
from darkaction.synthetic.passers_by import PasserBy
from darkaction.synthetic.scene import Preset, Scene
from darkaction.synthetic.world.furniture import add_boxes, add_chair
from darkaction.synthetic.world.objects import SceneObject, place_objects
from darkaction.synthetic.world.props import add_objects
from darkaction.synthetic.world.seats import add_seat
from darkaction.synthetic.world.textures import Image

FPS = 30

_PLAIN_CHAIR = (60.0, 58.0, 55.0)


@dataclass(frozen=True, kw_only=True)
class GeneratorSettings:
    """What to generate. A scene is one subject, place and camera, shared by all classes; takes are its repeats."""

    preset: Preset
    classes: tuple[Action, ...]
    scenes: int
    takes: int  # for each class and scene
    height: int  # pixels
    width: int
    seed: int

    def __post_init__(self) -> None:
        unknown = [name for name in self.classes if name not in ACTIONS]
        if unknown or not self.classes:
            raise UserError(f"classes: {unknown or 'none given'}; the generator has {', '.join(ACTIONS)}")
        for name in ("scenes", "takes"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}: {getattr(self, name)}; must be at least 1")
        for name in ("height", "width"):
            if getattr(self, name) < 16 or getattr(self, name) % 2:
                raise UserError(f"{name}: {getattr(self, name)}; must be an even number of at least 16 pixels")

    @property
    def size_HW(self) -> tuple[int, int]:
        """Height and width of a frame in pixels."""
        return self.height, self.width


@dataclass(frozen=True, kw_only=True)
class ClipState:
    """Everything about a clip but its pixels."""

    performance: Performance
    camera: CameraPath
    joints_NJ3: Floats  # world, metres
    joints_NJ2: Floats  # image, pixels
    objects: tuple[SceneObject, ...]
    passer_by: PasserBy | None


@dataclass(frozen=True, kw_only=True)
class SyntheticClip:
    """The frames of a clip, and its state."""

    state: ClipState
    clean_NHWC: Image  # in full light
    dark_NHWC: Image  # as filmed


def _random_numbers(settings: GeneratorSettings, *key: int) -> np.random.Generator:
    """Those of a scene, or of one action and take in it."""
    return np.random.default_rng([settings.seed, settings.preset.stream, *key])


@functools.lru_cache(maxsize=4)
def sample_scene(settings: GeneratorSettings, number: int) -> Scene:
    """Scene `number`: the same for all classes and takes."""
    return settings.preset.sample_scene(_random_numbers(settings, number), settings.size_HW)


def sample_clip_state(settings: GeneratorSettings, action: Action, scene: int, take: int) -> ClipState:
    """Motion, camera, joints and objects of one clip."""
    sampled = sample_scene(settings, scene)
    rng = _random_numbers(settings, scene, 1 + ACTIONS.index(action), take)
    performance = sampled.perform(rng, action, fps=FPS, size_HW=settings.size_HW)
    joints_NJ3 = forward_kinematics(performance.motion, sampled.subject.bones)
    view = replace(sampled.view, aim=sampled.aim(rng, joints_NJ3))
    place_N2 = performance.motion.place_N2
    camera = follow(rng, view, place_N2, size_HW=settings.size_HW, travels=performance.travels)
    joints_NJ2, _ = camera.project(joints_NJ3)
    objects = place_objects(performance.held, performance.motion, joints_NJ3, performance.timing.start)
    (others,) = rng.spawn(1)  # random numbers of their own
    return ClipState(
        performance=performance,
        camera=camera,
        joints_NJ3=joints_NJ3,
        joints_NJ2=joints_NJ2,
        objects=objects,
        passer_by=sampled.passer_by(others, joints_NJ3, camera, fps=FPS, size_HW=settings.size_HW),
    )


def render_clip(
    settings: GeneratorSettings, scene: int, state: ClipState, frames: Iterable[int], *, person: bool
) -> Image:
    """The given frames (F, H, W, 3) of a clip in full light, with the people or of the empty place."""
    sampled = sample_scene(settings, scene)
    painter = Painter(state.camera)
    _add_furniture(painter, sampled, state)
    if person:
        _add_people(painter, sampled, state)
    order_NI = painter.order()
    background = sampled.background(state.camera, settings.size_HW)
    still_HWC = background(0) if state.camera.still else None
    rendered = []
    for frame in frames:
        image = background(frame) if still_HWC is None else still_HWC.copy()
        painter.paint(image, frame, order_NI[frame])
        rendered.append(image)
    return np.stack(rendered)


def _add_people(painter: Painter, scene: Scene, state: ClipState) -> None:
    passer_by = state.passer_by
    if scene.shadow is not None:
        for joints_NJ3 in ([passer_by.joints_NJ3] if passer_by else []) + [state.joints_NJ3]:
            add_shadow(painter, joints_NJ3, scene.shadow)
    if passer_by:
        add_person(painter, passer_by.joints_NJ3, passer_by.subject)
    add_objects(painter, state.objects)
    add_person(painter, state.joints_NJ3, scene.subject)


def _add_furniture(painter: Painter, scene: Scene, state: ClipState) -> None:
    furniture, performance, count = scene.furniture, state.performance, len(state.joints_NJ3)
    eye_3 = state.camera.position_N3.mean(0)
    add_boxes(painter, furniture, count, eye_2=eye_3[:2])
    squat_N = performance.motion.squat_N
    seated = np.ptp(squat_N) > 1.2 or squat_N.min() > 1.2  # the pelvis comes as low as a seat
    colour = furniture.chair or (_PLAIN_CHAIR if seated and not state.objects else None)
    if colour is None or furniture.seat.kind == "none":
        return
    start, seat = performance.motion.place_N2[0], performance.seat_place
    seat_at = (float(start[0] + seat[0]), float(start[1] + seat[1]))
    seat_height = scene.subject.bones.shin + ANKLE_HEIGHT - 0.09  # a thigh's radius below the hip of who sits
    seat_height += furniture.seat.raised
    if furniture.seat.kind == "chair":
        add_chair(painter, colour, furniture.chair_back, seat_at, performance.seat_yaw, seat_height, count)
    else:
        add_seat(painter, furniture.seat, colour, seat_at, performance.seat_yaw, seat_height, eye_3=eye_3, count=count)


def generate_clip(settings: GeneratorSettings, action: Action, scene: int, take: int) -> SyntheticClip:
    """One clip in full light and as filmed."""
    state = sample_clip_state(settings, action, scene, take)
    clean_NHWC = render_clip(settings, scene, state, range(len(state.joints_NJ3)), person=True)
    dark_NHWC = film_clip(settings, action, scene, take, clean_NHWC)
    return SyntheticClip(state=state, clean_NHWC=clean_NHWC, dark_NHWC=dark_NHWC)


def film_clip(settings: GeneratorSettings, action: Action, scene: int, take: int, clean_NHWC: Image) -> Image:
    """The clip's frames (N, H, W, 3) as the sensor of its scene films them."""
    rng = _random_numbers(settings, scene, 1 + ACTIONS.index(action), take, 1)
    return sample_scene(settings, scene).sensor.film(clean_NHWC, rng)
