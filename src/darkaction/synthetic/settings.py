"""Sections `synthesize` and `pretrain` of params.yaml."""

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from darkaction.core.config import STRICT, Above0, Fraction, Positive, Span


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Synthesize:
    domains: list[Literal["demo", "demo_lit", "shifted", "usual"]]
    scenes: Positive
    takes: Positive
    height: Annotated[int, Field(ge=32)]
    width: Annotated[int, Field(ge=32)]
    codec: Literal["mp4v", "FFV1"]
    shifted: dict[str, Any] | None
    usual: dict[str, Any] | None


PlaceKind = Literal["room", "street", "corridor"]
SeatKind = Literal["chair", "bench", "stool", "step", "none"]


SPANS: dict[str, Span] = {
    "oblique": (-180, 180),
    "camera_height": (0.1, 5),
    "subject_scale": (0.1, 3),
    "subject_offset": (-0.5, 0.5),
    "shake": (0, 0.2),
    "seat_height": (-0.15, 0.15),
    "lamps": (0, 30),
    "texture": (0, 1),
    "yaw": (-360, 360),
    "frames": (8, 2000),
    "action_share": (0.05, 1),
    "position": (0, 1),
    "tempo": (0.25, 4),
    "speed_change": (0, 1.5),
    "luma": (1, 255),
    "black": (0, 60),
    "contrast": (0.3, 4),
    "illumination_falloff": (0, 1),
    "color_cast": (0, 0.5),
    "photons": (10, 1e7),
    "read_noise": (0, 1000),
    "banding": (0, 20),
    "noise_grain": (0, 1),
    "skip_block_prob": (0, 1),
    "exposure_change": (0, 1),
    "blur": (0, 4),
}
"""Within what the ranges of `DomainRandomization` may lie."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DomainRandomization:
    """What differs from one synthetic clip to the next, as ranges and probabilities; params.yaml says what each is.

    Place, camera, person, light and sensor are sampled for a scene and hold for all its clips; the movement (yaw to
    interrupted) and passers-by are a clip's own. subject_scale, luma and photons are sampled log-uniformly, the others
    uniformly.
    """

    places: Annotated[tuple[PlaceKind, ...], Field(min_length=1)]
    oblique: Span
    camera_height: Span
    subject_scale: Span
    subject_offset: Span
    follow: Fraction
    shake: Span
    clutter: Fraction
    seats: Annotated[tuple[SeatKind, ...], Field(min_length=1)]
    seat_height: Span
    lamps: tuple[int, int]
    texture: Span
    passers_by: Fraction
    subject: Fraction
    yaw: Span
    frames: tuple[int, int]
    length_bias: Annotated[float, Field(ge=-1, le=1)]
    action_share: Span
    position: Span
    tempo: Span
    speed_change: Span
    interrupted: Fraction
    dark: bool
    luma: Span
    black: Span
    contrast: Span
    illumination_falloff: Span
    color_cast: Span
    photons: Span
    read_noise: Span
    banding: Span
    noise_grain: Span
    skip_block_prob: Span
    exposure_change: Span
    blur: Span

    def __post_init__(self) -> None:
        for name, (least, most) in SPANS.items():
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                raise ValueError(f"{name} is [{low:g}, {high:g}]; expected [low, high] within [{least:g}, {most:g}]")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Pretrain:
    enabled: bool
    classes: Annotated[list[str], Field(min_length=2)] | None
    scenes: Annotated[int, Field(ge=2)]
    takes: Positive
    val: Annotated[float, Field(gt=0, lt=1)]
    height: Annotated[int, Field(ge=32)]
    width: Annotated[int, Field(ge=32)]
    epochs: Positive
    batch_size: Positive
    max_lr: Above0
    warmup: Annotated[float, Field(gt=0, lt=1)]
    domain_randomization: DomainRandomization
