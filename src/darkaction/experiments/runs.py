"""The runs of a comparison: each trains and tests a method with one seed, and is put on record."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from darkaction.core import config
from darkaction.core.paths import ROOT, Paths
from darkaction.core.provenance import command_line
from darkaction.data.index import OK, read_index
from darkaction.data.video import iter_frames
from darkaction.enhancement.apply import Settings, build_enhancer
from darkaction.evaluation.statistics import with_interval
from darkaction.experiments import record, sweeps
from darkaction.experiments.comparisons import Comparisons
from darkaction.experiments.plan import Method
from darkaction.experiments.record import Run
from darkaction.jobs.identity import training_code
from darkaction.jobs.inputs import pretraining_task
from darkaction.jobs.job import Job, Observer, Outcome, Trained, clips_identity, run_job
from darkaction.jobs.launcher import Task, Tasks, launch
from darkaction.jobs.pool import Pool, start_pool
from darkaction.jobs.recognizer.scoring import Predictions, scores
from darkaction.jobs.recognizer.train import starting_weights
from darkaction.models.recognizer import Recognizer
from darkaction.params import Params
from darkaction.tracking import runs as tracked
from darkaction.tracking.delivery import end_killed
from darkaction.training import weights

WORK = ROOT / "runs" / "tables"
"""Where stopped runs go on."""

TIMED_FRAMES = 8

TIMED_PASSES = 5
"""The median of so many counts."""


@dataclass(kw_only=True)
class RunObserver(Observer):
    """Measures what a run is put on record with.

    Args:
        settings, data: see `record.Run`.
    """

    method: str
    profile: str
    settings: str
    data: str
    code: str
    enhancement: Settings
    paths: Paths

    def finish(self, run: tracked.Run, trained: Sequence[Trained]) -> Run:
        [own] = trained
        test, validation = own.predictions["test"], own.predictions["val"]
        assert test is not None
        found = scores(test, own.params)
        network, _ = weights.load(own.folder / "fold_0" / weights.WEIGHTS)
        members = own.params.train.members  # of an ensemble: each looks at each clip
        gflop, clip_seconds = (members * value for value in cost(network, own.params))
        result = Run(
            method=self.method,
            dataset=own.params.datasets[0],
            profile=self.profile,
            seed=own.params.seed,
            settings=self.settings,
            data=self.data,
            code=self.code,
            accuracy=found["accuracy"],
            low=found["low"],
            high=found["high"],
            n=int(found["n"]),
            scenes=int(found["scenes"]),
            val_accuracy=None if validation is None else float(validation.correct_N.mean()),
            parameters=members * sum(tensor.numel() for tensor in network.parameters()),
            gflop=gflop,
            clip_seconds=clip_seconds,
            frame_seconds=frame_seconds(self.enhancement, self.paths, own.params.datasets[0]),
            train_seconds=own.seconds,
            device=_device_name(),
            run_id=run.run_id or "",
            ended=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            predicted=record.encode(in_order(test)),
        )
        run.log_metrics(
            {"test.accuracy": result.accuracy, "parameters": result.parameters, "gflop": gflop}
            | ({} if result.val_accuracy is None else {"validation.accuracy": result.val_accuracy})
        )
        accuracy = with_interval({"accuracy": result.accuracy, "low": result.low, "high": result.high})
        run.describe(f"test accuracy {accuracy}, {result.n} clips of {result.scenes} scenes", accuracy=accuracy)
        return result


def run(
    comparisons: Comparisons, base: Params, *, workers: int | None, ray_address: str | None, gpus_per_worker: float
) -> int:
    """Trains every run that is not on record, after the pretrainings that runs begin with; how many failed."""
    total, wanted = _missing(comparisons)
    print(f"{total} runs, {len(wanted)} of them to train", flush=True)
    if not wanted:
        return 0
    names = sorted({inputs.versions for inputs in comparisons.inputs.values()})
    parent = config.digest([comparisons.profile, names, training_code()])[:32]
    with tracked.parent_run(
        stage="tables",
        params=base,
        paths=Paths(),
        name=f"comparison {comparisons.profile}",
        token=parent,
        varying=("",),
        others_at_work=lambda: False,
    ) as parent_run:
        with start_pool(address=ray_address, workers=workers, gpu=gpus_per_worker) as pool:
            print(f"{pool.size} workers with {pool.threads} threads", flush=True)
            made = failed = 0
            while wanted:
                lost = _pretrain(comparisons, pool, wanted) + _train(comparisons, pool, wanted, parent)
                made, failed = made + len(wanted) - lost, failed + lost
                total, wanted = _missing(comparisons)  # those of the values that a sweep has chosen by now
                if wanted:
                    print(f"{total} runs, {len(wanted)} of them to train: of what sweeps chose", flush=True)
        end_killed([], Paths())
        parent_run.describe(f"{made} runs made, {failed} failed")
    return failed


def _missing(comparisons: Comparisons) -> tuple[int, list[tuple[str, int]]]:
    """How many runs the tables need, and those of them that are not on record with today's code."""
    current = {run.key: run for run in record.read(comparisons.runs_file) if run.code == training_code()}
    runs = sweeps.needed(comparisons, current)
    return len(runs), [(f, seed) for f, seed in runs if (f, comparisons.inputs[f].versions, seed) not in current]


def _pretrain(comparisons: Comparisons, pool: Pool, wanted: Sequence[tuple[str, int]]) -> int:
    """Makes the pretrainings that runs begin with, each once; how many failed. Their settings have a problem then."""
    users: dict[Path, list[str]] = {}
    tasks = []
    for fingerprint, seed in wanted:
        start = comparisons.inputs[fingerprint].for_seed(seed).pretraining
        if start is None or start.folder.exists():
            continue
        if start.folder not in users:
            tasks.append(pretraining_task(start, processes=pool.threads))
        users.setdefault(start.folder, []).append(fingerprint)

    def fail(task: Task, reason: str) -> None:
        assert isinstance(task.key, Path)
        comparisons.problems |= dict.fromkeys(users[task.key], f"its pretraining failed: {reason}")

    if not tasks:
        return 0
    print(f"pretrainings to make first: {len(tasks)}; see MLflow's experiment darkaction-pretraining", flush=True)
    source = Tasks(tasks, complete=lambda *_: "made", fail=fail)
    launch(pool, source)
    return source.failed


def _train(comparisons: Comparisons, pool: Pool, wanted: Sequence[tuple[str, int]], parent: str) -> int:
    """Trains and tests the runs, and puts them on record; how many failed."""
    variants = comparisons.variants()
    tasks = []
    for fingerprint, seed in wanted:
        if fingerprint not in comparisons.problems:
            method, params = variants[fingerprint]
            job = job_of(comparisons, method, replace(params, seed=seed), fingerprint, parent=parent)
            job = replace(job, threads=pool.threads)
            name = f"{method.key}, seed {seed}"
            tasks.append(Task(key=(fingerprint, seed), name=name, function=run_job, arguments=(job,)))

    def complete(task: Task, outcome: Outcome) -> str:
        result: Run = outcome.result
        record.append(comparisons.runs_file, result)
        return f"{result.accuracy:.1%} [{result.low:.1%}, {result.high:.1%}]"

    def fail(task: Task, reason: str) -> None:
        assert isinstance(task.key, tuple)
        comparisons.problems[task.key[0]] = reason

    source = Tasks(tasks, complete=complete, fail=fail)
    launch(pool, source)
    return source.failed


def job_of(comparisons: Comparisons, method: Method, params: Params, fingerprint: str, *, parent: str) -> Job:
    """What a worker needs for a run; `params` with its seed."""
    inputs = comparisons.inputs[fingerprint].for_seed(params.seed)
    assert inputs.enhancement is not None
    observer = RunObserver(
        method=method.key,
        profile=comparisons.profile,
        settings=fingerprint,
        data=inputs.versions,
        code=training_code(),
        enhancement=inputs.enhancement,
        paths=inputs.paths,
    )
    return Job(
        name=method.key,
        stage="run",
        params=params,
        paths=inputs.paths,
        clips=clips_identity(params, inputs.paths),
        code=training_code(),
        score=("test", "val"),
        observer=observer,
        inits=starting_weights(params, inputs.paths),
        work=WORK / f"{fingerprint}-{inputs.versions}-{params.seed}",
        parent=parent,
        command=command_line(),
        tags={
            "table.method": method.key,
            "table.settings": fingerprint,
            "table.profile": comparisons.profile,
        },
    )


def in_order(predictions: Predictions) -> NDArray[np.int64]:
    """Class numbers sorted by clip id."""
    order = predictions.clips["clip_id"].argsort().to_numpy()
    return predictions.predicted_N[order]


def cost(network: Recognizer, params: Params) -> tuple[float, float]:
    """GFLOP of one clip, and the seconds that it takes to go through the network."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size = (params.sampling.num_frames, params.enhance.height, params.enhance.width)
    clip_BCTHW = torch.zeros(1, params.model.channels, *size, device=device)
    network = network.to(device).eval()
    seconds = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # comparable, whatever the number of workers
    try:
        with torch.inference_mode():
            with FlopCounterMode(display=False) as counter:
                network(clip_BCTHW)
            for _ in range(TIMED_PASSES):
                started = time.perf_counter()
                network(clip_BCTHW)
                if device.type == "cuda":
                    torch.cuda.synchronize()
                seconds.append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    return counter.get_total_flops() / 1e9, sorted(seconds)[TIMED_PASSES // 2]


def frame_seconds(settings: Settings, paths: Paths, name: str) -> float:
    """Seconds that the enhancement of one raw frame takes, on one thread or GPU."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        enhancer = build_enhancer(settings)
        index = read_index(paths.read(Paths.index(name)))
        path = paths.read(Paths.raw(name)) / str(index[index["status"] == OK]["path"].iloc[0])
        frames_NHWC = np.stack(list(islice(iter_frames(path), TIMED_FRAMES)))
        enhancer(frames_NHWC)
        started = time.perf_counter()
        enhancer(frames_NHWC)
        return (time.perf_counter() - started) / len(frames_NHWC)
    finally:
        torch.set_num_threads(threads)


def _device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
