"""The kinds of value that sections of params.yaml are made of."""

from typing import Annotated

from pydantic import ConfigDict, Field

STRICT = ConfigDict(extra="forbid", strict=True)

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Above0 = Annotated[float, Field(gt=0, allow_inf_nan=False)]
From0 = Annotated[float, Field(ge=0, allow_inf_nan=False)]
DatasetName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]

Span = tuple[float, float]
"""Lowest and highest value of a range."""
