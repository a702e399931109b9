"""The presets `demo` and `demo_lit`: rooms whose back wall the camera sees, dark and lit, alike enough to be learnt in
minutes."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from darkaction.synthetic.camera.camera import CameraPath, sample_demo_viewpoint
from darkaction.synthetic.camera.sensor import sample_demo_sensor
from darkaction.synthetic.human.actions import Performance, perform, sample_demo_yaw
from darkaction.synthetic.human.motion import Action, confine, sample_demo_timing
from darkaction.synthetic.human.skeleton import Floats
from darkaction.synthetic.human.subject import sample_subject
from darkaction.synthetic.scene import Scene
from darkaction.synthetic.world.room import Room, render_room, sample_room
from darkaction.synthetic.world.textures import Image

_REACH = {"static": (0.75, 0.5), "pan": (2.2, 0.6), "dolly": (12.0, 0.8)}  # metres to either side: across, along


@dataclass(frozen=True, kw_only=True)
class DemoScene(Scene):
    """A scene in a room."""

    room: Room

    def perform(self, rng: np.random.Generator, action: Action, *, fps: int, size_HW: tuple[int, int]) -> Performance:
        timing = sample_demo_timing(rng, action)
        performance = perform(rng, action, self.subject, timing=timing, yaw=sample_demo_yaw(rng), fps=fps)
        confine(performance.motion.place_N2, self.view.yaw, _REACH[self.view.mode])
        if not performance.travels:  # who stays, stays anywhere on the way of those who go, and so does the chair
            performance.motion.place_N2 += rng.uniform(-0.6, 0.6, 2) * _REACH["static"]
        return performance

    def aim(self, rng: np.random.Generator, joints_NJ3: Floats) -> float:
        return self.view.aim

    def background(self, camera: CameraPath, size_HW: tuple[int, int]) -> Callable[[int], Image]:
        return functools.partial(render_room, self.room, camera, size_HW)


@dataclass(frozen=True, kw_only=True)
class Demo:
    """The preset `demo`, or, with other rooms, subjects and viewpoints in normal light, `demo_lit`."""

    lit: bool

    @property
    def name(self) -> str:
        return "demo_lit" if self.lit else "demo"

    @property
    def stream(self) -> int:
        return int(self.lit)

    def sample_scene(self, rng: np.random.Generator, size_HW: tuple[int, int]) -> DemoScene:
        subject = sample_subject(rng)
        view = sample_demo_viewpoint(rng, person_height=subject.bones.height, lit=self.lit)
        room = sample_room(rng, lit=self.lit)
        sensor = sample_demo_sensor(rng, size_HW, lit=self.lit)
        return DemoScene(subject=subject, view=view, furniture=room.furniture, shadow=None, sensor=sensor, room=room)


DEMO, DEMO_LIT = Demo(lit=False), Demo(lit=True)
