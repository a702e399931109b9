"""Who is filmed: proportions, clothes and manner of one person."""

from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Literal

import numpy as np

from darkaction.synthetic.colours import Colour, shade, tinted
from darkaction.synthetic.human.skeleton import Proportions
from darkaction.synthetic.ranges import log_uniform

_BRIGHTEST = 205.0  # level of a person's colours
_tint = partial(tinted, darkest=8.0)
HairStyle = Literal["short", "long"]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One person, the same in every clip of a scene."""

    bones: Proportions
    girth: float  # factor on limb radii
    skin: Colour
    hair: Colour
    top: Colour
    trousers: Colour
    shoes: Colour
    chest: Colour  # a print on the front of the top: tells front from back
    long_sleeves: bool
    skirted: bool  # shorts or skirt: bare shins
    tempo: float  # factor on the speed of movements
    vigour: float  # factor on amplitudes
    plain: bool  # the demo's looks: stripes on the trunk, hair on the back of the head only
    hair_style: HairStyle


def sample_subject(rng: np.random.Generator) -> Subject:
    """A random person; the clothes are brighter than the rooms, so that the person can be found in the dark."""
    size = rng.normal(1.0, 0.05)
    leg, arm, broad = rng.normal(1.0, 0.035), rng.normal(1.0, 0.035), rng.normal(1.0, 0.07)
    bones = Proportions(
        torso=0.50 * size, neck=0.09 * size, head=0.115 * size * rng.normal(1.0, 0.03),
        upper_arm=0.29 * size * arm, forearm=0.30 * size * arm,
        thigh=0.43 * size * leg, shin=0.42 * size * leg, foot=0.17 * size,
        shoulder_half=0.19 * size * broad, hip_half=0.10 * size * broad,
    )  # fmt: skip
    skin_luma = rng.uniform(140, 190)
    skin = (skin_luma * 1.15, skin_luma * 0.95, skin_luma * 0.8)
    top_luma = rng.uniform(150, 215)
    return Subject(
        bones=bones,
        girth=float(np.clip(rng.normal(1.08, 0.12), 0.85, 1.4)),
        skin=skin,
        hair=_tint(rng, rng.uniform(20, 70), 12.0),
        top=_tint(rng, top_luma, 30.0),
        trousers=_tint(rng, rng.uniform(115, 195), 25.0),
        shoes=_tint(rng, rng.uniform(30, 200), 15.0),
        chest=_tint(rng, top_luma - 85, 30.0),
        long_sleeves=bool(rng.random() < 0.5),
        skirted=bool(rng.random() < 0.3),
        tempo=float(rng.uniform(0.88, 1.14)),
        vigour=float(rng.uniform(0.9, 1.12)),
        plain=True,
        hair_style="short",
    )


def randomize_subject(rng: np.random.Generator, amount: float) -> Subject:
    """A random person; at `amount` 1 of any stature, in clothes from black to white, at 0 as in the demo. Nothing on a
    person is as bright as a lamp."""
    subject = _randomized(rng, amount)
    capped = partial(shade, factor=1.0, most=_BRIGHTEST)
    return replace(
        subject, skin=capped(subject.skin), hair=capped(subject.hair), top=capped(subject.top),
        trousers=capped(subject.trousers), shoes=capped(subject.shoes), chest=capped(subject.chest),
    )  # fmt: skip


def _randomized(rng: np.random.Generator, amount: float) -> Subject:
    subject = sample_subject(rng)
    scale = 1 + 0.12 * amount * float(rng.uniform(-1, 1))
    bones = Proportions(**{field.name: getattr(subject.bones, field.name) * scale for field in fields(subject.bones)})
    if rng.random() >= amount:
        return replace(subject, bones=bones, plain=False)
    top, trousers = (log_uniform(rng, (14, 205)) for _ in range(2))
    skin = rng.uniform(70, 175)
    return replace(
        subject,
        bones=bones,
        girth=float(np.clip(rng.normal(1.1, 0.2), 0.8, 1.6)),
        skin=(float(min(skin * 1.15, 205)), float(skin * 0.95), float(skin * 0.8)),
        hair=_tint(rng, rng.uniform(8, 60), 6.0),
        top=_tint(rng, top, 0.25 * top),
        trousers=_tint(rng, trousers, 0.15 * trousers),
        shoes=_tint(rng, rng.uniform(15, 200), 12.0),
        chest=_tint(rng, float(np.clip(top * np.exp(rng.normal(0, 0.3)), 12, 205)), 0.2 * top),
        skirted=bool(rng.random() < 0.45),
        plain=False,
        hair_style="long" if rng.random() < 0.3 else "short",
    )
