"""What to draw, and the random numbers of each part of it."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from darkaction.core.errors import UserError
from darkaction.synthetic.human.motion import ACTIONS, Action
from darkaction.synthetic.settings import DomainRandomization

SUFFIXES = {"mp4v": ".mp4", "FFV1": ".avi"}  # codec to file name suffix


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
    variation: DomainRandomization | None  # None: the demo's own rooms, viewpoints and darkness
    backgrounds: tuple[Path, ...]  # pictures of dark, empty places for varied scenes

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
        if self.variation is not None and self.lit:
            raise UserError("lit: true; a varied scene is lit where variation.dark is false")
        if self.variation is None and self.backgrounds:
            raise UserError("backgrounds: given without a variation; the demo's rooms are drawn")
        for path in self.backgrounds:
            if not path.is_file():
                raise UserError(f"backgrounds: {path}: no such file")
            if not cv2.haveImageReader(str(path)):
                raise UserError(f"backgrounds: {path}: not a picture that can be read")


def generator(settings: DemoSettings, *key: int) -> np.random.Generator:
    """The random numbers of a scene, or of one action and take in it."""
    domain = 2 if settings.variation is not None else int(settings.lit)
    return np.random.default_rng([settings.seed, domain, *key])
