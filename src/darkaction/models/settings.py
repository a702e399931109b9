"""Sections `model`, `mran` and `bert` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from darkaction.core.config import STRICT, Above0, From0, Positive

FourStages = Annotated[list[Positive], Field(min_length=4, max_length=4)]

Backbone = Literal[
    "r2plus1d",
    "se_r2plus1d",
    "slowfast",
    "efficientnet",
    "c3d",
    "resnet18",
    "resnet50",
    "resnet101",
    "resnext101",
    "squeezenet",
    "shufflenet",
    "i3d",
    "s3d",
    "mvit",
    "swin3d",
    "videomae",
]


MOVEMENT_CHANNELS = 2
"""Of what a network sees that is shown movement: see `views.Movement`."""


Normalization = Literal["token", "time", "none"]


VECTOR_BACKBONES = ("slowfast", "c3d", "mvit", "videomae")
"""Those that give one vector and no time steps, so that no temporal head can follow."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Model:
    backbone: Backbone
    head: Literal["bert", "average"]
    input: Literal["rgb", "rgb_flow", "movement", "learned_gamma", "two_views"]
    layers: FourStages
    widths: FourStages
    temporal_strides: FourStages
    width: Annotated[float, Field(gt=0, le=2)]
    depth: Annotated[float, Field(gt=0, le=1)]
    slowfast_ratio: Positive
    se_reduction: Positive
    mran: bool
    bn_eps: Above0
    bn_momentum: Annotated[float, Field(gt=0, le=1)]

    def __post_init__(self) -> None:
        if self.head == "bert" and self.backbone in VECTOR_BACKBONES:
            raise ValueError(f"head is 'bert', which needs time steps; backbone {self.backbone} has none: use average")
        if self.mran and self.backbone in VECTOR_BACKBONES:
            raise ValueError(f"mran needs feature maps; backbone {self.backbone} gives a vector")
        if self.views > 1 and self.backbone in VECTOR_BACKBONES:
            raise ValueError(f"input is 'two_views', which fuses time steps; backbone {self.backbone} has none")

    @property
    def views(self) -> int:
        """Of a clip that the backbone sees one after the other."""
        return 2 if self.input == "two_views" else 1

    @property
    def channels(self) -> int:
        """Of the clips the network takes: 3 of colour, with flow 2 more."""
        return 5 if self.input == "rgb_flow" else 3

    @property
    def view_channels(self) -> int:
        """Of what the backbone sees of them."""
        return MOVEMENT_CHANNELS if self.input == "movement" else self.channels


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Mran:
    target_labels: Literal[True, "pseudo"]
    weight: From0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Bert:
    heads: Positive
    layers: Positive
    dropout: Annotated[float, Field(ge=0, lt=1)]
    head_dropout: Annotated[float, Field(ge=0, lt=1)]
    mask: Annotated[float, Field(ge=0, lt=1)]
    normalize: Normalization
    init: Literal["mean", "published"]
