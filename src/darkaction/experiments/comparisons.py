"""What a run of comparisons is about: its tables and seeds, and where what their settings need lies."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from darkaction.core.errors import UserError
from darkaction.core.paths import Paths
from darkaction.core.provenance import training_code
from darkaction.enhancement.apply import Settings
from darkaction.experiments import plan, record
from darkaction.experiments.plan import Row, Table
from darkaction.params import Params

DRAWN = ("demo", "demo_lit")
"""Datasets that are drawn, not imported."""


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """The weights pretrained on drawn actions that some settings begin with, made or not. All seeds of a row begin with
    the same."""

    params: Params
    paths: Paths

    @property
    def folder(self) -> Path:
        return self.paths.moved[Paths.PRETRAINING]


@dataclass(frozen=True, kw_only=True)
class Ready:
    """Where the clips of some settings lie, and what they are."""

    paths: Paths
    data: str
    frame_seconds: float
    enhancement: Settings | None  # of the target; None where nothing was made
    pretraining: Pretraining | None = None  # that the settings begin with


@dataclass(kw_only=True)
class Comparisons:
    """Everything a run is about."""

    tables: list[Table]
    seeds: list[int]
    profile: str
    work: Path  # for own data and stopped trainings
    cells_file: Path
    problems: dict[str, str] = field(default_factory=dict)  # fingerprint of settings -> why they cannot be had
    ready: dict[str, Ready] = field(default_factory=dict)  # fingerprint -> where

    def variants(self) -> dict[str, tuple[Row, Params]]:
        """Every setting that is to be trained, once, with the first row it belongs to.

        Raises:
            UserError: when rows differ in the drawing or indexing of their clips alone, which cells do not tell apart.
        """
        found: dict[str, tuple[Row, Params]] = {}
        for table in self.tables:
            for row in table.rows:
                for params in row.variants:
                    first, same = found.setdefault(plan.fingerprint(params), (row, params))
                    if (same.synthesize, same.prepare) != (params.synthesize, params.prepare):
                        raise UserError(
                            f"rows {first.key} and {row.key} differ in `synthesize` or `prepare` alone; keep them "
                            "apart, each in a file for --experiments"
                        )
        return found

    def missing(self) -> Iterator[tuple[str, int]]:
        """The cells that are not on record with today's code, as fingerprint of their settings and seed; seed after
        seed, so that a stop leaves whole tables."""
        done = {(cell.key, cell.code) for cell in record.read(self.cells_file)}
        for seed in self.seeds:
            for fingerprint in self.variants():
                if fingerprint in self.problems:
                    continue
                if ((fingerprint, self.ready[fingerprint].data, seed), training_code()) not in done:
                    yield fingerprint, seed
