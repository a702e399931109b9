"""A file of experiments/*.yaml as it stands there: methods by tables, and studies."""

import json
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from darkaction.core import config
from darkaction.core.config import STRICT
from darkaction.core.errors import UserError
from darkaction.evaluation.style import COLOURS


@checked_dataclass(frozen=True, kw_only=True, config=STRICT)
class MethodFile:
    """A method as it stands in the file."""

    name: str
    published: Annotated[float, Field(ge=0, le=100)] | None
    set: dict[str, Any] = Field(default_factory=dict)
    sweep: dict[str, Annotated[list[Any], Field(min_length=2)]] = Field(default_factory=dict)
    against: str | None = None
    starting_weights: str | None = None


@checked_dataclass(frozen=True, kw_only=True, config=STRICT)
class TableFile:
    """A table as it stands in the file.

    rates: of learning, that each method tries as in a sweep, in multiples of the settings' optimizer.max_lr.
    """

    title: str
    methods: Annotated[dict[str, MethodFile], Field(min_length=1)]
    set: dict[str, Any] = Field(default_factory=dict)
    rates: list[Annotated[float, Field(gt=0)]] = Field(default_factory=list)
    note: str = ""
    confusions: list[Annotated[list[str], Field(min_length=2, max_length=2)]] = Field(default_factory=list)
    confused: list[str] = Field(default_factory=list)
    curves: Annotated[dict[str, Annotated[list[str], Field(min_length=2)]], Field(max_length=3)] = Field(
        default_factory=dict
    )


@checked_dataclass(frozen=True, kw_only=True, config=STRICT)
class StudyFile:
    """A claim as it stands in the file: the same methods where a cause is weaker or stronger. A level is a table.

    axis: what the levels are of, for the chart.
    levels: name -> settings.
    length_alone: whether a classifier that sees nothing but a clip's length is compared too.
    """

    title: str
    claim: str
    axis: str
    levels: Annotated[dict[str, dict[str, Any]], Field(min_length=2)]
    methods: Annotated[dict[str, MethodFile], Field(min_length=1, max_length=len(COLOURS))]
    set: dict[str, Any] = Field(default_factory=dict)
    length_alone: bool = False

    def __post_init__(self) -> None:
        if len({level_key("", level) for level in self.levels}) < len(self.levels):
            raise ValueError(f"two of the levels have the same letters and digits: {', '.join(self.levels)}")

    def tables(self, key: str) -> dict[str, TableFile]:
        """A table for each level, by its key."""
        return {
            level_key(key, level): TableFile(
                title=f"{self.title} ({self.axis}: {level})",
                methods=self.methods,
                set={**self.set, **settings},
                note=self.claim,
            )
            for level, settings in self.levels.items()
        }


def level_key(study: str, level: str) -> str:
    """Key of the table of a level, which its files are named by."""
    return f"{study}-{re.sub(r'[^0-9A-Za-z.]+', '-', level).strip('-')}"


@checked_dataclass(frozen=True, kw_only=True, config=STRICT)
class PlanFile:
    """The whole file."""

    source_domain: dict[str, str]
    common: dict[str, Any]
    tables: dict[str, TableFile] = Field(default_factory=dict)
    studies: dict[str, StudyFile] = Field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.tables and not self.studies:
            raise ValueError("neither tables nor studies are there")


def read(path: Path) -> PlanFile:
    """A file as it stands there.

    Raises:
        UserError: naming the file and what is wrong in it.
    """
    try:
        # Through JSON, where strict checking takes a mapping for a section.
        return TypeAdapter(PlanFile).validate_json(json.dumps(config.read_yaml(path), default=str))
    except ValidationError as error:
        paths = [f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors(include_url=False)]
        raise UserError(f"{path}: {'; '.join(paths)}") from None
