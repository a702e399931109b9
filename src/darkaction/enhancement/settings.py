"""Sections `zero_dce`, `enlightengan` and `enhance` of params.yaml."""

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from darkaction.core.config import STRICT, Above0, Count, Fraction, From0, Positive

UniformOver = Literal["frames", "videos"]

TITLES = {
    "none": "raw",
    "gamma": "gamma",
    "histogram": "histogram equalised",
    "zero_dce": "Zero-DCE",
    "enlightengan": "EnlightenGAN",
}
"""enhance.method -> what pictures call it."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ZeroDceWeights:
    spa: From0
    exp: From0
    col: From0
    tv: From0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ZeroDce:
    losses: Literal["paper", "published"]
    weights: ZeroDceWeights
    exposure: Fraction
    images: Positive
    uniform_over: UniformOver
    extra_images: str | None
    max_extra_images: Count
    image_size: Annotated[int, Field(ge=32)]
    epochs: Positive
    batch_size: Positive
    lr: Above0
    weight_decay: From0
    grad_clip: Above0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EnlightenGan:
    normal_light_data: str
    images: Positive
    uniform_over: UniformOver
    image_size: Annotated[int, Field(ge=32)]
    base_width: Positive
    discriminator_width: Positive
    patches: Positive
    patch_size: Annotated[int, Field(ge=8)]
    epochs: Positive
    batch_size: Positive
    lr: Above0
    discriminator_rate: Above0
    vgg: str | None

    def __post_init__(self) -> None:
        if self.patch_size > self.image_size:
            raise ValueError(f"patch_size is {self.patch_size}, larger than image_size {self.image_size}")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Enhance:
    method: Literal["none", "gamma", "histogram", "zero_dce", "enlightengan"]
    gamma: Above0
    apply: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], bool]
    curve_scale: Annotated[float, Field(gt=0, le=1)]
    height: Annotated[int, Field(ge=16)]
    width: Annotated[int, Field(ge=16)]
    flow: bool


def frame_settings(*, method: str, gamma: float, curve_scale: float, height: int, width: int) -> dict[str, Any]:
    """What stored frames are made with, by the names of settings: those of `enhance` that decide them. (Optical flow is
    in a store or not; whoever needs it says so.)

    Args:
        method: of the dataset: none where enhance.apply says false.
    """
    found: dict[str, Any] = {"enhance.method": method, "enhance.height": height, "enhance.width": width}
    if method == "gamma":
        found["enhance.gamma"] = gamma
    if method == "zero_dce":
        found["enhance.curve_scale"] = curve_scale
    return found


def frames_wanted(enhance: Enhance, dataset: str) -> dict[str, Any]:
    """`frame_settings` of a dataset today."""
    return frame_settings(
        method=enhance.method if enhance.apply[dataset] else "none",
        gamma=enhance.gamma,
        curve_scale=enhance.curve_scale,
        height=enhance.height,
        width=enhance.width,
    )
