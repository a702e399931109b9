"""How much accuracy depends on the seed, and what one frame of each clip suffices for: -> reports/seeds.json."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from darkaction.core.errors import UserError
from darkaction.core.folders import write_whole
from darkaction.core.paths import ROOT, Paths
from darkaction.core.provenance import command_line
from darkaction.evaluation.statistics import Interval, seeds_interval
from darkaction.jobs.identity import identity, index_settings, training_code, training_settings
from darkaction.jobs.job import Job, Observer, Outcome, Trained, clips_identity, run_job
from darkaction.jobs.launcher import Task, Tasks, launch
from darkaction.jobs.pool import start_pool
from darkaction.jobs.recognizer.scoring import predict_part, table
from darkaction.jobs.recognizer.train import require_pretraining, starting_weights
from darkaction.params import Params
from darkaction.tracking.delivery import end_killed
from darkaction.tracking.runs import Run, parent_run
from darkaction.training import data

ONE_FRAME = ("sampling.num_frames=1", "model.temporal_strides=[1, 1, 1, 1]")
"""A network that sees one frame of each clip in each draw: its accuracy needs no motion."""


@dataclass(frozen=True, kw_only=True)
class SeedObserver(Observer):
    """Also tests with the frames of each clip in random order."""

    paths: Paths

    def finish(self, run: Run, trained: Sequence[Trained]) -> pd.DataFrame:
        [own] = trained
        clips = data.usable_clips(self.paths, index_settings(own.params))
        test = own.predictions["test"]
        shuffled = predict_part(own.params, self.paths, clips, "test", recognizer=own.folder, shuffle_frames=True)
        assert test is not None and shuffled is not None
        accuracy = float(test.correct_N.mean())
        run.log_metrics({"test.accuracy": accuracy, "shuffled.accuracy": float(shuffled.correct_N.mean())})
        run.describe(f"test accuracy {accuracy:.1%}", accuracy=f"{accuracy:.1%}")
        return table(test, shuffled=shuffled)


def compare_seeds(count: int, *, workers: int | None, ray_address: str | None, gpus_per_worker: float) -> None:
    """Trains and tests `count` seeds of params.yaml and a network that sees one frame, and writes the figures.

    Raises:
        UserError: when a training failed, or what it reads is missing.
    """
    paths = Paths()
    params = Params.load()
    params = replace(params, train=replace(params.train, devices=1, nodes=1))
    if params.train.init_from == Paths.PRETRAINING:
        require_pretraining(params, paths)
    one_frame = Params.load(overrides=[*ONE_FRAME, "train.devices=1", "train.nodes=1"])
    wanted = {f"seed {seed}": replace(params, seed=seed) for seed in range(count)} | {"one frame": one_frame}
    clips = {"clips": clips_identity(params, paths)}
    parent = identity({"comparison": "seeds", **training_settings(params)}, inputs=clips, code=training_code())
    found: dict[str, pd.DataFrame] = {}
    failures: list[str] = []

    def complete(task: Task, outcome: Outcome) -> str:
        found[task.name] = outcome.result
        return f"{(outcome.result['label'] == outcome.result['predicted']).mean():.1%}"

    with parent_run(
        stage="tables",
        params=params,
        paths=paths,
        name="seeds",
        token=parent,
        varying=("",),
        others_at_work=lambda: False,
    ) as run:
        with start_pool(address=ray_address, workers=workers, gpu=gpus_per_worker) as pool:
            jobs = {name: _job(name, own, paths, parent=parent, threads=pool.threads) for name, own in wanted.items()}
            tasks = [Task(key=name, name=name, function=run_job, arguments=(job,)) for name, job in jobs.items()]
            launch(pool, Tasks(tasks, complete=complete, fail=lambda task, reason: failures.append(reason)))
        end_killed([], paths)
        if failures:
            raise UserError(f"{len(failures)} of {len(tasks)} trainings failed; the last: {failures[-1]}")
        report = summarize(params, [found[f"seed {seed}"] for seed in range(count)], found["one frame"])
        run.describe(f"test accuracy {report['test']['accuracy']:.1%} over {count} seeds")
    write_whole(ROOT / "reports" / "seeds.json", json.dumps(report, indent=2) + "\n")
    print_table(report)


def _job(name: str, params: Params, paths: Paths, *, parent: str, threads: int) -> Job:
    settings = training_settings(params) | {"seed": params.seed}
    clips = clips_identity(params, paths)
    inits = starting_weights(params, paths)
    return Job(
        name=name,
        stage="run",
        params=params,
        paths=paths,
        clips=clips,
        code=training_code(),
        score=("test",),
        observer=SeedObserver(paths=paths),
        inits=inits,
        work=ROOT / "runs" / "seeds" / identity(settings, inputs={"clips": clips}, code=training_code()),
        threads=threads,
        parent=parent,
        command=command_line(),
    )


def summarize(params: Params, tables: list[pd.DataFrame], one_frame: pd.DataFrame) -> dict[str, Any]:
    """Accuracy over all seeds with its interval, with shuffled frames, and of the one-frame network.

    Args:
        tables, one_frame: of `scoring.table`, one for each seed and that of the one-frame network.
    """
    return {
        "confidence": params.evaluate.confidence,
        "test": {**interval_over(params, tables, "predicted"), "seeds": len(tables)},
        "each": [round(float((table["label"] == table["predicted"]).mean()), 6) for table in tables],
        "shuffled": interval_over(params, tables, "predicted_shuffled"),
        "one_frame": interval_over(params, [one_frame], "predicted"),
    }


def interval_over(params: Params, tables: list[pd.DataFrame], column: str) -> dict[str, float | int]:
    """Accuracy of what stands in `column`, over all tables, with its interval."""
    return rounded(
        seeds_interval(
            [(table["label"] == table[column]).to_numpy() for table in tables],
            [table["scene"].to_numpy() for table in tables],
            bootstrap_samples=params.evaluate.bootstrap_samples,
            confidence=params.evaluate.confidence,
            seed=params.seed,
        )
    )


def rounded(interval: Interval) -> dict[str, float | int]:
    """As in reports/details.json."""
    return {
        "accuracy": round(interval.mean, 6),
        "low": round(interval.low, 6),
        "high": round(interval.high, 6),
        "n": interval.n,
        "scenes": interval.scenes,
    }


def print_table(report: dict[str, Any]) -> None:
    """The table of the README."""
    each = ", ".join(f"{value:.1%}" for value in report["each"])
    names = {
        "test": f"R-BERT, delta sampling, Zero-DCE, {len(report['each'])} seeds ({each})",
        "shuffled": "the same, frames in random order",
        "one_frame": "one frame instead of a sequence",
    }
    print(f"\n| network | test accuracy | {report['confidence']:.0%} interval |\n|---|---|---|")
    for key, name in names.items():
        found = report[key]
        print(f"| {name} | {found['accuracy']:.1%} | {found['low']:.1%} to {found['high']:.1%} |")
