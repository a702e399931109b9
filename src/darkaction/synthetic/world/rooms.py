"""The demo's clips: drawn rooms whose back wall the camera sees, two domains, dark and lit."""

import functools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from darkaction.synthetic.camera.camera import Viewpoint, follow, make_viewpoint
from darkaction.synthetic.camera.render import Painter, add_chair, add_furniture, add_person, draw_planes
from darkaction.synthetic.camera.sensor import Light, expose, make_light
from darkaction.synthetic.clip_state import StagedClip, confine
from darkaction.synthetic.drawing import DemoSettings, generator
from darkaction.synthetic.human.actions import draw_yaw, perform
from darkaction.synthetic.human.motion import ACTIONS, Action, draw_timing
from darkaction.synthetic.human.skeleton import ANKLE_HEIGHT, forward_kinematics
from darkaction.synthetic.human.subject import Subject, make_subject
from darkaction.synthetic.world.objects import place_things
from darkaction.synthetic.world.props import add_things
from darkaction.synthetic.world.scene import Image, Room, make_room

_REACH = {"static": (0.75, 0.5), "pan": (2.2, 0.6), "dolly": (12.0, 0.8)}  # metres to either side: across, along


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One subject, room, camera and light."""

    subject: Subject
    room: Room
    view: Viewpoint
    light: Light


@functools.lru_cache(maxsize=4)
def make_scene(settings: DemoSettings, number: int) -> Scene:
    """Scene `number` (from 1): the same for all classes and takes."""
    rng = generator(settings, number)
    subject = make_subject(rng)
    view = make_viewpoint(rng, person_height=subject.bones.height, lit=settings.lit)
    room = make_room(rng, lit=settings.lit, wall_y=float(rng.uniform(1.6, 3.2)))
    light = make_light(rng, (settings.height, settings.width), lit=settings.lit)
    return Scene(subject=subject, room=room, view=view, light=light)


def stage_demo(settings: DemoSettings, action: Action, scene: int, take: int) -> StagedClip:
    """Motion, camera and joints of one clip, without pixels; a pure function of its arguments."""
    place = make_scene(settings, scene)
    rng = generator(settings, scene, 1 + ACTIONS.index(action), take)
    timing = draw_timing(rng, action)
    performance = perform(rng, action, place.subject, timing=timing, yaw=draw_yaw(rng), fps=settings.fps)
    confine(performance.motion.place_N2, place.view.yaw, _REACH[place.view.mode])
    if not performance.travels:  # who stays, stays anywhere on the way of those who go, and so does the chair
        performance.motion.place_N2 += rng.uniform(-0.6, 0.6, 2) * _REACH["static"]
    joints_NJ3 = forward_kinematics(performance.motion, place.subject.bones)
    size_HW = (settings.height, settings.width)
    camera = follow(rng, place.view, performance.motion.place_N2, size_HW=size_HW, travels=performance.travels)
    joints_NJ2, _ = camera.project(joints_NJ3)
    things = place_things(performance.held, performance.motion, joints_NJ3, performance.timing.start)
    return StagedClip(
        performance=performance, camera=camera, joints_NJ3=joints_NJ3, joints_NJ2=joints_NJ2, things=things
    )


def paint_demo(settings: DemoSettings, scene: int, staged: StagedClip, frames: Iterable[int], *, person: bool) -> Image:
    """The given frames (F, H, W, 3) of a staged clip in full light, with the person or of the empty room."""
    place = make_scene(settings, scene)
    num_frames = len(staged.joints_NJ3)
    painter = Painter(staged.camera)
    start, seat = staged.performance.motion.place_N2[0], staged.performance.seat_place
    seat_at = (float(start[0] + seat[0]), float(start[1] + seat[1]))
    seat_height = place.subject.bones.shin + ANKLE_HEIGHT - 0.09  # a thigh's radius below the hip of who sits
    add_chair(
        painter, place.room.chair, place.room.chair_back, seat_at, staged.performance.seat_yaw, seat_height, num_frames
    )
    eye_x = float(staged.camera.position_N3[:, 0].mean())
    add_furniture(painter, place.room.boxes, num_frames, eye_x=eye_x, angle=0.0)
    if person:
        add_things(painter, staged.things)
        add_person(painter, staged.joints_NJ3, place.subject)
    order_NI = painter.order()
    painted = []
    planes = draw_planes(place.room, staged.camera, 0, (settings.height, settings.width))
    still = staged.camera.still
    for frame in frames:
        if not still:
            planes = draw_planes(place.room, staged.camera, frame, (settings.height, settings.width))
        image = planes.copy()
        painter.paint(image, frame, order_NI[frame])
        painted.append(image)
    return np.stack(painted)


def expose_demo(settings: DemoSettings, action: Action, scene: int, take: int, clean_NHWC: Image) -> Image:
    """The clip's clean frames as filmed."""
    rng = generator(settings, scene, 1 + ACTIONS.index(action), take, 1)
    return expose(clean_NHWC, make_scene(settings, scene).light, rng)
