"""Sections `sampling`, `augmentation`, `focal`, `optimizer` and `train` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from darkaction.core.config import STRICT, Above0, Count, Fraction, From0, Positive, Span


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Sampling:
    strategy: Literal["delta", "constant", "length_adjusted", "variable"]
    num_frames: Positive
    delta_min: Annotated[float, Field(ge=-100, le=100)]
    delta_max: From0
    max_rate: Above0
    delta_curriculum: Fraction
    test_draws: Positive

    def __post_init__(self) -> None:
        if self.delta_max < self.delta_min:
            raise ValueError(f"delta_max is {self.delta_max}, below delta_min {self.delta_min}")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Augmentation:
    flip: Fraction
    rotation: Annotated[float, Field(ge=0, le=180)]
    translation: Fraction
    scale: Span
    gamma: Annotated[float, Field(ge=0, le=2)]
    blur: Annotated[float, Field(ge=0, le=10)]
    noise: Annotated[float, Field(ge=0, le=100)]

    def __post_init__(self) -> None:
        if not 0.1 <= self.scale[0] <= self.scale[1] <= 10:
            raise ValueError(f"scale is {list(self.scale)}; expected [low, high] within [0.1, 10]")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Focal:
    gamma: From0
    alpha: Above0 | list[Above0] | Literal["balanced"] | None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Optimizer:
    max_lr: Above0
    weight_decay: From0
    warmup: Annotated[float, Field(gt=0, lt=1)]
    grad_clip: From0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Train:
    epochs: Positive
    batch_size: Positive
    members: Positive
    init_from: str | None
    freeze_batchnorm: bool
    shots_per_class: Count | None
    precision: Literal["auto", "fp32", "bf16"]
    devices: Positive
    nodes: Positive
    deterministic: bool
    num_workers: Count
    checkpoint: Literal["last", "best"]
    early_stopping: Positive | None

    def __post_init__(self) -> None:
        if self.batch_size % self.processes:
            raise ValueError(
                f"batch_size is {self.batch_size}, which {self.processes} processes (devices x nodes) cannot share; "
                f"valid: a multiple of {self.processes}"
            )

    @property
    def processes(self) -> int:
        """Of the training, on all machines."""
        return self.devices * self.nodes
