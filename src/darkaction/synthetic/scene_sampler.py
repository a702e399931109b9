"""Varied clips: the same actions in rooms, streets and corridors, seen from anywhere, near and far.

N frames, J joints.
"""

import functools
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import cv2
import numpy as np

from darkaction.core.errors import UserError
from darkaction.data.video import read_picture
from darkaction.synthetic.camera.camera import CameraPath, Viewpoint, follow, vary_viewpoint
from darkaction.synthetic.camera.render import Painter, add_chair, add_furniture, add_person
from darkaction.synthetic.camera.sensor import Sensor, film, make_sensor, tone
from darkaction.synthetic.clip_state import StagedClip, confine
from darkaction.synthetic.drawing import DemoSettings, generator
from darkaction.synthetic.human.actions import Performance, perform
from darkaction.synthetic.human.motion import ACTIONS, Action, Timing, vary_timing
from darkaction.synthetic.human.skeleton import ANKLE_HEIGHT, INDEX, Floats, Motion, forward_kinematics
from darkaction.synthetic.human.subject import Colour, Subject, vary_subject
from darkaction.synthetic.settings import DomainRandomization
from darkaction.synthetic.variation import draw
from darkaction.synthetic.world.objects import Held, place_things
from darkaction.synthetic.world.places import Place, make_place
from darkaction.synthetic.world.props import add_things
from darkaction.synthetic.world.scene import Image
from darkaction.synthetic.world.scenery import Scenery

_BACKDROP_LEVEL = 70.0  # mean level to which a picture is brought before the person is drawn over it
_ROUND = np.linspace(0, 2 * np.pi, 10, endpoint=False)


@dataclass(frozen=True, kw_only=True)
class Backdrop:
    """A picture of a place behind the person."""

    image_HWC: Image  # in drawn levels, of the frames' size
    light_HW: Floats  # its smoothed brightness, of mean 1


@dataclass(frozen=True, kw_only=True)
class VariedScene:
    """One subject, place, camera and light."""

    subject: Subject
    place: Place
    view: Viewpoint
    sensor: Sensor
    backdrop: Backdrop | None


# --- scenes ----------------------------------------------------------------------------------------------------------


def _cropped(rng: np.random.Generator, image_HWC: Image, size_HW: tuple[int, int]) -> Image:
    """A random part of a picture with the frames' aspect, mirrored or not, in the frames' size."""
    height, width = size_HW
    scale = min(image_HWC.shape[0] / height, image_HWC.shape[1] / width) * rng.uniform(0.8, 1.0)
    rows, columns = max(1, int(height * scale)), max(1, int(width * scale))
    top = int(rng.integers(0, image_HWC.shape[0] - rows + 1))
    left = int(rng.integers(0, image_HWC.shape[1] - columns + 1))
    part = image_HWC[top : top + rows, left : left + columns]
    part = part[:, ::-1] if rng.random() < 0.5 else part
    return np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _load_backdrop(
    rng: np.random.Generator, path: Path, sensor: Sensor, size_HW: tuple[int, int]
) -> tuple[Backdrop, Sensor]:
    """A picture as the sensor would have to see it drawn, and the sensor that films it as it was."""
    loaded_HWC = read_picture(path)
    if loaded_HWC is None:
        raise UserError(f"backgrounds: {path}: cannot be read as a picture")
    picture_HWC = _cropped(rng, loaded_HWC, size_HW)
    grey_HW = cv2.cvtColor(picture_HWC, cv2.COLOR_RGB2GRAY)
    mean, black = float(grey_HW.mean()), min(sensor.black, float(np.percentile(grey_HW, 1)))
    gain = max(mean - black, 1.0) / _BACKDROP_LEVEL
    sensor = replace(
        sensor,
        gain=gain,
        black=black,
        contrast=1.0,
        mean_luma=mean,
        cast=(1.0, 1.0, 1.0),
        lamp_HW=np.ones_like(sensor.lamp_HW),
    )
    inverse = np.clip(np.searchsorted(tone(sensor, gain), np.arange(256.0)), 0, 255).astype(np.uint8)
    light = cv2.GaussianBlur(grey_HW.astype(np.float32), (0, 0), size_HW[1] / 10)
    light_HW = np.asarray(light / max(float(light.mean()), 1e-6), np.float64)
    return Backdrop(image_HWC=np.asarray(cv2.LUT(picture_HWC, inverse), np.uint8), light_HW=light_HW), sensor


@functools.lru_cache(maxsize=4)
def make_varied_scene(settings: DemoSettings, variation: DomainRandomization, number: int) -> VariedScene:
    """Scene `number` (from 1): the same for all classes and takes."""
    rng = generator(settings, number)
    size_HW = (settings.height, settings.width)
    subject = vary_subject(rng, variation.subject)
    view = vary_viewpoint(rng, variation, person_height=subject.bones.height)
    place = make_place(rng, variation)
    sensor = make_sensor(rng, variation, size_HW)
    backdrop = None
    if settings.backgrounds and rng.random() < variation.on_background:
        path = settings.backgrounds[int(rng.integers(len(settings.backgrounds)))]
        backdrop, sensor = _load_backdrop(rng, path, sensor, size_HW)
        view = replace(view, mode="static")
        place = replace(place, along=False, boxes=())
    return VariedScene(subject=subject, place=place, view=view, sensor=sensor, backdrop=backdrop)


# --- movement --------------------------------------------------------------------------------------------------------


def _interruption(rng: np.random.Generator, timing: Timing, *, travels: bool) -> Floats:
    """Which moment of the undisturbed performance every frame shows (N,): it halts, or goes back and on again."""
    start, stop = timing.start, timing.stop - 1
    middle = start + rng.uniform(0.35, 0.75) * (stop - start)
    if travels or rng.random() < 0.4:
        length = rng.uniform(0.15, 0.35) * (stop - start)
        knots, moments = [start, middle, middle + length, stop + length], [start, middle, middle, stop]
    else:
        back = start + rng.uniform(0.0, 0.5) * (middle - start)
        knots = [start, middle, 2 * middle - back, 2 * middle - 2 * back + stop]
        moments = [start, middle, back, stop]
    knots_K = start + (np.array(knots) - start) * (stop - start) / max(knots[-1] - start, 1e-6)
    frames_N = np.arange(timing.num_frames, dtype=np.float64)
    inside = (frames_N > start) & (frames_N < stop)
    moment_N = np.where(inside, np.interp(frames_N, knots_K, moments), frames_N)
    padded = np.pad(moment_N, 3, mode="edge")
    smooth_N = np.convolve(padded, np.ones(7) / 7, mode="valid")
    return np.where(inside, smooth_N, frames_N)


def _resample(channel: Floats, moment_N: Floats) -> Floats:
    frames_N = np.arange(len(channel), dtype=np.float64)
    if channel.ndim == 1:
        return np.asarray(np.interp(moment_N, frames_N, channel))
    return np.stack([np.interp(moment_N, frames_N, column) for column in channel.T], 1)


def _interrupted(performance: Performance, moment_N: Floats) -> Performance:
    """The performance with its time bent."""
    channels = {field.name: getattr(performance.motion, field.name) for field in fields(Motion)}
    motion = Motion(**{name: _resample(channel, moment_N) for name, channel in channels.items()})
    nearest_N = np.rint(moment_N).astype(np.intp)
    held: list[Held] = [
        replace(one, carried_N=one.carried_N[nearest_N], tilt_N=_resample(one.tilt_N, moment_N))
        for one in performance.held
    ]
    return replace(performance, motion=motion, held=tuple(held))


def _perform(
    rng: np.random.Generator, variation: DomainRandomization, scene: VariedScene, action: Action, fps: int
) -> Performance:
    timing = vary_timing(rng, frames=variation.frames, share=variation.action_share)
    yaw = np.radians(draw(rng, variation.yaw))
    travels = action in ("run", "walk", "push")
    if scene.place.along and travels:
        yaw = scene.place.angle + np.pi * rng.integers(2) + np.radians(rng.normal(0, 10))
    subject = replace(scene.subject, tempo=scene.subject.tempo * draw(rng, variation.tempo))
    performance = perform(rng, action, subject, timing=timing, yaw=float(yaw), fps=fps)
    if rng.random() < variation.interrupted:
        performance = _interrupted(performance, _interruption(rng, timing, travels=travels))
    return performance


def _aim(rng: np.random.Generator, view: Viewpoint, joints_NJ3: Floats) -> float:
    """Height the camera is pointed at: the middle of a person who fits, else more of the upper body."""
    visible = 2 * view.distance * np.tan(view.field_of_view / 2)
    top = float(np.percentile(joints_NJ3[:, INDEX["head"], 2], 80)) + 0.15
    if visible >= top:
        return float(top / 2 + rng.uniform(-0.2, 0.35) * (visible - top))
    return float(top - visible * rng.uniform(0.38, 0.6))


def stage_varied(
    settings: DemoSettings, variation: DomainRandomization, action: Action, scene: int, take: int
) -> StagedClip:
    """Motion, camera and joints of one clip, without pixels; a pure function of its arguments."""
    stage = make_varied_scene(settings, variation, scene)
    view, place = stage.view, stage.place
    rng = generator(settings, scene, 1 + ACTIONS.index(action), take)
    performance = _perform(rng, variation, stage, action, settings.fps)
    half = view.distance * np.tan(view.field_of_view / 2) * settings.width / settings.height
    roam = 3.0 if view.mode == "dolly" else 0.0
    across = max(0.7 * half, roam)
    reach = (
        min(across, max(place.reach[0], 0.6)) if place.along else across,
        max(min(max(view.distance - 1.3, 0.3), place.reach[1]), roam),
    )
    confine(performance.motion.place_N2, view.yaw, reach)
    performance.motion.place_N2 += rng.uniform(-0.12, 0.12, 2) * half
    joints_NJ3 = forward_kinematics(performance.motion, stage.subject.bones)
    view = replace(view, aim=_aim(rng, view, joints_NJ3))
    size_HW = (settings.height, settings.width)
    camera = follow(rng, view, performance.motion.place_N2, size_HW=size_HW, travels=performance.travels)
    joints_NJ2, _ = camera.project(joints_NJ3)
    things = place_things(performance.held, performance.motion, joints_NJ3, performance.timing.start)
    return StagedClip(
        performance=performance, camera=camera, joints_NJ3=joints_NJ3, joints_NJ2=joints_NJ2, things=things
    )


# --- pixels ----------------------------------------------------------------------------------------------------------


def _dimmed(subject: Subject, factor: float) -> Subject:
    """The subject in weaker or stronger light."""

    def dim(colour: Colour) -> Colour:
        red, green, blue = (min(205.0, value * factor) for value in colour)
        return red, green, blue

    return replace(
        subject, skin=dim(subject.skin), hair=dim(subject.hair), top=dim(subject.top),
        trousers=dim(subject.trousers), shoes=dim(subject.shoes), chest=dim(subject.chest),
    )  # fmt: skip


def _light_at(backdrop: Backdrop, joints_NJ2: Floats) -> float:
    """How bright the picture is where the person stands, 1 on average."""
    height, width = backdrop.light_HW.shape
    x, y = np.median(joints_NJ2[:, INDEX["pelvis"]], axis=0)
    return float(np.clip(backdrop.light_HW[int(np.clip(y, 0, height - 1)), int(np.clip(x, 0, width - 1))], 0.35, 1.6))


def _moved(backdrop: Backdrop, camera: CameraPath, frame: int) -> Image:
    """The picture as a slightly shaking camera shows it: shifted like a point some metres behind the person."""
    far = np.array([0.0, 3.0, 1.0, 1.0])
    now, first = (camera.matrix(number) @ far for number in (frame, 0))
    x, y = now[:2] / now[2] - first[:2] / first[2]
    height, width = backdrop.image_HWC.shape[:2]
    shift = np.array([[1.0, 0, x], [0, 1.0, y]])
    return np.asarray(
        cv2.warpAffine(backdrop.image_HWC, shift, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def _add_shadow(painter: Painter, joints_NJ3: Floats, floor: Colour) -> None:
    """A dark patch under the feet, smaller and smaller the higher they are."""
    ankles = joints_NJ3[:, [INDEX["ankle_l"], INDEX["ankle_r"]]]
    centre_N3 = ankles.mean(1) * np.array([1.0, 1.0, 0.0])
    spread_N = 0.24 + 0.5 * np.linalg.norm(ankles[:, 0, :2] - ankles[:, 1, :2], axis=1)
    ring = np.stack([np.cos(_ROUND), np.sin(_ROUND), np.zeros_like(_ROUND)], -1)
    red, green, blue = (0.7 * value for value in floor)
    painter.shadow(centre_N3[:, None] + spread_N[:, None, None] * ring, (red, green, blue))


def _paint_still(painter: Painter, scene: VariedScene, staged: StagedClip, *, seat_wanted: bool) -> None:
    """Add furniture and the chair."""
    place, count = scene.place, len(staged.joints_NJ3)
    eye = staged.camera.position_N3[:, :2].mean(0)
    eye_x = float(eye @ np.array([np.cos(place.angle), np.sin(place.angle)]))
    add_furniture(painter, place.boxes, count, eye_x=eye_x, angle=place.angle)
    colour = place.chair or ((60.0, 58.0, 55.0) if seat_wanted else None)
    if colour is None:
        return
    start, seat = staged.performance.motion.place_N2[0], staged.performance.seat_place
    seat_at = (float(start[0] + seat[0]), float(start[1] + seat[1]))
    seat_height = scene.subject.bones.shin + ANKLE_HEIGHT - 0.09
    add_chair(painter, colour, place.chair_back, seat_at, staged.performance.seat_yaw, seat_height, count)


def paint_varied(
    settings: DemoSettings,
    variation: DomainRandomization,
    scene: int,
    staged: StagedClip,
    frames: Iterable[int],
    *,
    person: bool,
) -> Image:
    """The given frames (F, H, W, 3) of a staged clip in full light, with the person or of the empty place."""
    stage = make_varied_scene(settings, variation, scene)
    size_HW = (settings.height, settings.width)
    painter = Painter(staged.camera)
    # Only who sits needs a chair: the pelvis comes as low as a seat.
    seated = bool(np.ptp(staged.performance.motion.squat_N) > 1.2 or staged.performance.motion.squat_N.min() > 1.2)
    _paint_still(painter, stage, staged, seat_wanted=seated and not staged.things)
    if person:
        if stage.backdrop is None:
            _add_shadow(painter, staged.joints_NJ3, stage.place.floor)
        light = 1.0 if stage.backdrop is None else _light_at(stage.backdrop, staged.joints_NJ2)
        add_things(painter, staged.things)
        add_person(painter, staged.joints_NJ3, _dimmed(stage.subject, light))
    order_NI = painter.order()
    painted = []
    empty: Image | None = None
    scenery = Scenery(stage.place, staged.camera, size_HW) if stage.backdrop is None else stage.backdrop
    still = staged.camera.still
    for frame in frames:
        if empty is None or not still:
            empty = _moved(scenery, staged.camera, frame) if isinstance(scenery, Backdrop) else scenery.frame(frame)
        image = empty.copy()
        painter.paint(image, frame, order_NI[frame])
        painted.append(image)
    return np.stack(painted)


def film_varied(
    settings: DemoSettings, variation: DomainRandomization, action: Action, scene: int, take: int, clean_NHWC: Image
) -> Image:
    """The clip's clean frames as filmed."""
    rng = generator(settings, scene, 1 + ACTIONS.index(action), take, 1)
    return film(clean_NHWC, make_varied_scene(settings, variation, scene).sensor, rng)
