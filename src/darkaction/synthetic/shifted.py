"""The presets `shifted` and `usual`. `shifted` has scenes beyond the ranges of `pretraining`, to choose a pretraining
by: how well a network does on them says more of real clips than new scenes of the kind it was trained on. `usual` has
those that it is shifted from.

The ranges are constants, so that results stay comparable. experiments/held_out.yaml keeps pretrainings off them. With
`synthesize.shifted` and `synthesize.usual` all scenes have the ranges given there, and else those of `usual`.
"""

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import numpy as np
from pydantic import TypeAdapter, ValidationError

from darkaction.core.errors import UserError
from darkaction.core.explain import explain
from darkaction.synthetic.domain_randomization import Pretraining, RandomizedScene
from darkaction.synthetic.human.skeleton import Proportions
from darkaction.synthetic.human.subject import Subject
from darkaction.synthetic.settings import DomainRandomization

USUAL = DomainRandomization(
    places=("room", "street"),
    oblique=(-40.0, 40.0),
    camera_height=(0.9, 1.7),
    subject_scale=(0.45, 1.6),
    subject_offset=(-0.2, 0.2),
    follow=0.35,
    shake=(0.0, 0.012),
    clutter=0.5,
    seats=("chair",),
    seat_height=(0.0, 0.0),
    lamps=(0, 7),
    texture=(0.0, 0.0),
    passers_by=0.0,
    subject=1.0,
    yaw=(-180.0, 180.0),
    frames=(33, 105),
    length_bias=0.0,
    action_share=(0.6, 1.0),
    position=(0.0, 1.0),
    tempo=(0.75, 1.3),
    speed_change=(0.0, 0.0),
    interrupted=0.15,
    dark=True,
    luma=(8.5, 32.0),
    black=(3.0, 5.0),
    contrast=(1.0, 1.9),
    illumination_falloff=(0.2, 0.85),
    color_cast=(0.0, 0.12),
    photons=(20_000.0, 180_000.0),
    read_noise=(0.5, 2.0),
    banding=(0.0, 0.3),
    noise_grain=(0.1, 0.65),
    skip_block_prob=(0.5, 0.9),
    exposure_change=(0.0, 0.0),
    blur=(0.0, 0.0),
)
"""What a scene has where it is not shifted: nothing of FAMILIES."""

FAMILIES: dict[str, dict[str, Any]] = {
    "place": {"places": ("corridor",), "lamps": (8, 14), "clutter": 1.0},
    "light": {
        "luma": (4.5, 8.5),
        "photons": (6_000.0, 20_000.0),
        "contrast": (1.9, 2.4),
        "illumination_falloff": (0.85, 0.95),
        "noise_grain": (0.65, 0.9),
    },
    "camera from above": {"camera_height": (1.9, 3.2), "subject_scale": (0.25, 0.45)},  # as for surveillance
    "camera near": {"camera_height": (0.4, 0.9), "subject_scale": (1.6, 2.0)},  # the frame cuts the person off
    "camera moves": {"follow": 1.0, "shake": (0.012, 0.04)},
    "style": {"tempo": (0.5, 0.75), "interrupted": 0.6, "action_share": (0.35, 0.6)},
    "person": {},  # see `_other`
}
"""Name -> the ranges that are others. A scene has one of these."""


@dataclass(frozen=True, kw_only=True)
class Shifted:
    """The preset `shifted`, of FAMILIES."""

    @property
    def name(self) -> str:
        return "shifted"

    @property
    def stream(self) -> int:
        return 3

    def sample_scene(self, rng: np.random.Generator, size_HW: tuple[int, int]) -> RandomizedScene:
        family = str(rng.choice(list(FAMILIES)))
        scene = Pretraining(ranges=replace(USUAL, **FAMILIES[family])).sample_scene(rng, size_HW)
        return replace(scene, subject=_other(rng, scene.subject)) if family == "person" else scene


def _other(rng: np.random.Generator, subject: Subject) -> Subject:
    """A child, or a stout person; in a dark skirt, with long hair."""
    scale = float(rng.uniform(0.68, 0.8)) if rng.random() < 0.5 else 1.0
    bones = Proportions(**{field.name: getattr(subject.bones, field.name) * scale for field in fields(subject.bones)})
    girth = float(rng.uniform(0.9, 1.1) if scale < 1 else rng.uniform(1.6, 1.9))
    red, green, blue = (float(value) for value in rng.uniform(8, 14, 3))
    dark = (red, green, blue)
    return replace(
        subject, bones=bones, girth=girth, skirted=True, hair_style="long", top=dark, trousers=dark, chest=dark,
        long_sleeves=True,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Changed:
    """A preset of scenes with given ranges."""

    name: Literal["shifted", "usual"]
    ranges: DomainRandomization

    @property
    def stream(self) -> int:
        return {"shifted": 3, "usual": 4}[self.name]

    def sample_scene(self, rng: np.random.Generator, size_HW: tuple[int, int]) -> RandomizedScene:
        return Pretraining(ranges=self.ranges).sample_scene(rng, size_HW)


def preset_of(name: Literal["shifted", "usual"], changes: dict[str, Any] | None) -> Shifted | Changed:
    """The preset of a dataset with `changes`, ranges by name over those of USUAL; None: without any.

    Raises:
        UserError: naming a range that there is not, or a wrong value.
    """
    if name == "shifted" and changes is None:
        return Shifted()
    try:
        values = json.dumps(asdict(USUAL) | (changes or {}), default=str)
        return Changed(name=name, ranges=TypeAdapter(DomainRandomization).validate_json(values))
    except ValidationError as error:
        lines = explain(DomainRandomization, error)
        raise UserError("\n".join(f"synthesize.{name}: {line}" for line in lines)) from None
