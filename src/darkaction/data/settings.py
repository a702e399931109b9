"""Sections `data`, `video`, `prepare` and `split` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from darkaction.core.config import STRICT, Above0, Fraction, Positive

SYNTHETIC = ("demo", "demo_lit", "shifted", "usual")
"""Datasets that the generator makes."""

ACTIONS = ("drink", "jump", "pick", "pour", "push", "run", "sit", "stand", "turn", "walk", "wave")
"""The classes of ARID, which are those of the generator."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Data:
    classes: Annotated[list[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]], Field(min_length=2)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class VideoLimits:
    max_pixels: Positive
    max_frames: Annotated[int, Field(ge=2)]
    max_seconds: Above0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Prepare:
    max_quarantined: Fraction
    near_duplicate: Fraction


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Split:
    strategy: Literal["scene", "random", "official"]  # no scene on two sides | clips, stratified by class | published
    official: Literal[1, 2, 3]  # which published split
    folds: Annotated[int, Field(ge=1, le=2)]  # 2: in fold_k one half is tested and the other trains
    test: Annotated[float, Field(gt=0, lt=1)]  # fraction of the scenes (random: of the clips); with folds 1
    validation: Literal["scene", "take", "none"]  # whole scenes of the training side | single takes of its scenes
    val: Annotated[float, Field(gt=0, lt=1)]  # fraction of all scenes; with take, of the training clips
    promotion: Annotated[float, Field(ge=0, lt=1)]  # fraction of the scenes (random: of the clips), taken out first
