"""A whole comparison: what is compared, its runs on workers, its tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from darkaction.core import config
from darkaction.core.errors import UserError
from darkaction.core.paths import ROOT, Paths
from darkaction.experiments import plan, plan_file, runs, write
from darkaction.experiments.comparisons import Comparisons
from darkaction.experiments.overview import write_overview
from darkaction.params import Params

EXPERIMENTS = "experiments/tables.yaml"
LIMITED_DATA = "experiments/limited_data.yaml"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked of a comparison on the command line; empty or None: everything, or what the settings say."""

    tables: Sequence[str]
    methods: Sequence[str]
    source_domain: str | None
    seeds: int
    workers: int | None
    gpus_per_worker: float
    ray_address: str | None
    report_only: bool
    profile: str | None
    overrides: Sequence[str]
    experiments: str | None
    out: Path | None


def compare(params: Params, asked: Request) -> None:
    """Trains what is not on record and writes the tables.

    Args:
        params: the settings with the profile and the overrides that are asked for.

    Raises:
        UserError: naming what cannot be compared, or when trainings failed.
    """
    file = ROOT / (asked.experiments or _file_of(asked.tables))
    tables = plan.load(
        file,
        config.as_nested(params),
        tables=asked.tables,
        methods=asked.methods,
        source_domain=asked.source_domain,
        given=[text.partition("=")[0].strip() for text in asked.overrides],
    )
    out = asked.out or ROOT / Paths.TABLES
    comparisons = Comparisons(
        tables=tables,
        seeds=list(range(asked.seeds)),
        profile=asked.profile or "params.yaml",
        runs_file=out / "runs.csv",
    )
    base = tables[0].reference.fallback  # with what the file sets for all methods, which may be the dataset
    comparisons.prepare(make=not asked.report_only)
    failed = 0
    if not asked.report_only:
        failed = runs.run(
            comparisons,
            base,
            workers=asked.workers,
            ray_address=asked.ray_address,
            gpus_per_worker=asked.gpus_per_worker,
        )
    write.write(comparisons, base, out / f"{base.datasets[0]}-{comparisons.profile.removesuffix('.yaml')}")
    write_overview(plan_file.read(file), out / f"{file.stem}.md")
    if failed:
        raise UserError(f"{failed} trainings failed, for the reasons above; the same command tries them again")


def _file_of(tables: Sequence[str]) -> str:
    """The file that has these tables."""
    of_study = [key.startswith("limited_data") for key in tables]
    if any(of_study) and not all(of_study):
        raise UserError(
            f"--tables {','.join(tables)}: some are of {LIMITED_DATA}, some of {EXPERIMENTS}; run one after the other"
        )
    return LIMITED_DATA if any(of_study) else EXPERIMENTS
