"""Section `tune` of params.yaml."""

import dataclasses
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from darkaction.core.config import STRICT, Positive
from darkaction.params import Params

Bound = float | Annotated[str, Field(pattern=r"^[a-z_]+(\.[a-z_]+)+$")]
"""A number, or the key of a setting whose value is the bound."""

When = dict[str, Annotated[list[Any], Field(min_length=1)]]
"""{key: values}: the setting is searched only where each of these settings has one of these values."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Range:
    type: Literal["float", "int"]
    key: str
    low: Bound
    high: Bound
    log: bool = False
    when: When = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Choice:
    type: Literal["choice"]
    key: str
    choices: Annotated[list[Any], Field(min_length=2)]
    when: When = dataclasses.field(default_factory=dict)


Dimension = Annotated[Range | Choice, Field(discriminator="type")]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Tune:
    trials: Positive
    sampler: Literal["tpe", "random", "gp", "qmc"]
    pruner: Literal["hyperband", "median", "wilcoxon", "none"]
    min_epochs: Positive
    seeds: Positive
    confirm_seeds: Annotated[int, Field(ge=2)]
    space: Annotated[list[Dimension], Field(min_length=1)]

    def __post_init__(self) -> None:
        if self.pruner == "wilcoxon" and self.seeds < 3:
            raise ValueError(f"pruner wilcoxon compares trials seed by seed: seeds is {self.seeds}, give 3 or more")
        if self.pruner in ("hyperband", "median") and self.seeds > 1:
            raise ValueError(
                f"pruner {self.pruner} prunes by epochs, which goes with seeds 1; with seeds {self.seeds}: "
                "wilcoxon or none"
            )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SearchParams(Params):
    """The settings of the pipeline and the search."""

    ELSEWHERE: ClassVar[tuple[str, ...]] = ("serving",)

    tune: Tune
