"""What the presets have in common: a scene, and the preset that samples it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from darkaction.synthetic.camera.camera import CameraPath, Viewpoint
from darkaction.synthetic.camera.sensor import Sensor
from darkaction.synthetic.colours import Colour
from darkaction.synthetic.human.actions import Performance
from darkaction.synthetic.human.motion import Action
from darkaction.synthetic.human.skeleton import Floats
from darkaction.synthetic.human.subject import Subject
from darkaction.synthetic.passers_by import PasserBy
from darkaction.synthetic.world.furniture import Furniture
from darkaction.synthetic.world.textures import Image


@dataclass(frozen=True, kw_only=True)
class Scene(ABC):
    """One subject, place, camera and sensor: the same in all clips of a scene."""

    subject: Subject
    view: Viewpoint
    furniture: Furniture
    shadow: Colour | None  # under the person; None: nobody casts one
    sensor: Sensor

    @abstractmethod
    def perform(self, rng: np.random.Generator, action: Action, *, fps: int, size_HW: tuple[int, int]) -> Performance:
        """A performance of `action` where the camera sees it."""

    @abstractmethod
    def aim(self, rng: np.random.Generator, joints_NJ3: Floats) -> float:
        """Height at which the camera is pointed, metres."""

    def passer_by(
        self, rng: np.random.Generator, joints_NJ3: Floats, camera: CameraPath, *, fps: int, size_HW: tuple[int, int]
    ) -> PasserBy | None:
        """Somebody behind the person of the given joints; None: nobody."""
        return None

    @abstractmethod
    def background(self, camera: CameraPath, size_HW: tuple[int, int]) -> Callable[[int], Image]:
        """The empty place (H, W, 3) in the frame of a number."""


class Preset(Protocol):
    """Where the scenes of a dataset come from."""

    @property
    def name(self) -> str:
        """Of the dataset: demo | demo_lit | pretraining | shifted | usual."""

    @property
    def stream(self) -> int:
        """Part of every seed: two presets share no random numbers."""

    def sample_scene(self, rng: np.random.Generator, size_HW: tuple[int, int]) -> Scene:
        """A random scene for frames of a size in pixels."""
