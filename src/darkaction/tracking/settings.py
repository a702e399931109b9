"""Section `registry` of params.yaml."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from darkaction.core.config import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Registry:
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    margin: Annotated[float, Field(gt=0, lt=1)]
    significance_level: Annotated[float, Field(gt=0, lt=1)]
