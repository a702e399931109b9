"""Section `evaluate` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from darkaction.core.config import STRICT, Positive


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Evaluate:
    batch_size: Positive
    class_prior: Literal["uniform"] | None
    bootstrap_samples: Positive
    confidence: Annotated[float, Field(gt=0, lt=1)]
