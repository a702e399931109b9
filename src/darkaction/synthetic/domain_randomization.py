"""The preset `pretraining`: rooms, streets and corridors, from any side, near and far. What has a range differs from
scene to scene or from clip to clip."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from darkaction.synthetic.camera.camera import CameraPath, sample_viewpoint
from darkaction.synthetic.camera.sensor import sample_sensor
from darkaction.synthetic.human.actions import TRAVELLING, Performance, perform
from darkaction.synthetic.human.motion import SEATED, Action, confine, sample_timing, seated_squat
from darkaction.synthetic.human.retiming import change_speed, interrupt
from darkaction.synthetic.human.skeleton import INDEX, Floats
from darkaction.synthetic.human.subject import randomize_subject
from darkaction.synthetic.passers_by import PasserBy, sample_passer_by
from darkaction.synthetic.ranges import uniform
from darkaction.synthetic.scene import Scene
from darkaction.synthetic.settings import DomainRandomization
from darkaction.synthetic.world.background import Background
from darkaction.synthetic.world.places import Place, sample_place
from darkaction.synthetic.world.textures import Image


@dataclass(frozen=True, kw_only=True)
class RandomizedScene(Scene):
    """A scene whose performances have ranges too."""

    place: Place
    ranges: DomainRandomization

    def perform(self, rng: np.random.Generator, action: Action, *, fps: int, size_HW: tuple[int, int]) -> Performance:
        ranges = self.ranges
        (speeds,) = rng.spawn(1)  # random numbers of their own: those of `rng` stay the same
        timing = sample_timing(rng, action, ranges)
        yaw = np.radians(uniform(rng, ranges.yaw))
        if self.place.along and action in TRAVELLING:
            yaw = self.place.furniture.angle + np.pi * rng.integers(2) + np.radians(rng.normal(0, 10))
        subject = replace(self.subject, tempo=self.subject.tempo * uniform(rng, ranges.tempo))
        performance = perform(rng, action, subject, timing=timing, yaw=float(yaw), fps=fps)
        if rng.random() < ranges.interrupted:
            performance = interrupt(rng, performance)
        speed_change = uniform(speeds, ranges.speed_change)
        if speed_change:
            performance = change_speed(speeds, performance, speed_change)
        if performance.seated and self.furniture.seat.raised:
            performance.motion.squat_N *= seated_squat(self.furniture.seat.raised, self.subject.bones.thigh) / SEATED
        height, width = size_HW
        half = self.view.distance * np.tan(self.view.field_of_view / 2) * width / height
        confine(performance.motion.place_N2, self.view.yaw, self._reach(half))
        performance.motion.place_N2 += rng.uniform(-0.12, 0.12, 2) * half
        return performance

    def _reach(self, half: float) -> tuple[float, float]:
        """Metres to either side and ahead that the person may go, where `half` of the frame's width are so many."""
        roam = 3.0 if self.view.mode == "dolly" else 0.0
        across, ahead = max(0.7 * half, roam), max(self.view.distance - 1.3, 0.3)
        return (
            min(across, max(self.place.reach[0], 0.6)) if self.place.along else across,
            max(min(ahead, self.place.reach[1]), roam),
        )

    def aim(self, rng: np.random.Generator, joints_NJ3: Floats) -> float:
        """The middle of a person who fits, else more of the upper body."""
        visible = 2 * self.view.distance * np.tan(self.view.field_of_view / 2)
        top = float(np.percentile(joints_NJ3[:, INDEX["head"], 2], 80)) + 0.15
        if visible >= top:
            return float(top / 2 + rng.uniform(-0.2, 0.35) * (visible - top))
        return float(top - visible * rng.uniform(0.38, 0.6))

    def passer_by(
        self, rng: np.random.Generator, joints_NJ3: Floats, camera: CameraPath, *, fps: int, size_HW: tuple[int, int]
    ) -> PasserBy | None:
        if rng.random() >= self.ranges.passers_by:
            return None
        subject = randomize_subject(rng, self.ranges.subject)
        return sample_passer_by(rng, subject, self.place, camera, joints_NJ3, width=size_HW[1], fps=fps)

    def background(self, camera: CameraPath, size_HW: tuple[int, int]) -> Callable[[int], Image]:
        return Background(self.place, camera, size_HW).frame


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """The preset `pretraining`."""

    ranges: DomainRandomization

    @property
    def name(self) -> str:
        return "pretraining"

    @property
    def stream(self) -> int:
        return 2

    def sample_scene(self, rng: np.random.Generator, size_HW: tuple[int, int]) -> RandomizedScene:
        subject = randomize_subject(rng, self.ranges.subject)
        view = sample_viewpoint(rng, self.ranges, person_height=subject.bones.height)
        place = sample_place(rng, self.ranges)
        red, green, blue = (0.7 * value for value in place.floor)
        return RandomizedScene(
            subject=subject,
            view=view,
            furniture=place.furniture,
            shadow=(red, green, blue),
            sensor=sample_sensor(rng, self.ranges, size_HW),
            place=place,
            ranges=self.ranges,
        )
