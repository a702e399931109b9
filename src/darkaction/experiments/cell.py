"""One cell: trains and tests a system with one seed, as src/train.py and src/evaluate.py do, in a worker process."""

import dataclasses
import shutil
import socket
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from darkaction.core.errors import UserError, reason_of
from darkaction.core.paths import Paths
from darkaction.core.provenance import training_code
from darkaction.evaluation.statistics import with_interval
from darkaction.experiments import record
from darkaction.experiments.record import Cell
from darkaction.jobs import recipe
from darkaction.jobs.identity import index_settings
from darkaction.jobs.scoring import Predictions, predict_part, scores
from darkaction.models.recognizer import Recognizer
from darkaction.params import Params
from darkaction.tracking.runs import Child, Run, child_run
from darkaction.training import data, weights
from darkaction.training.fit import Row

STOPPED = "stopped"
"""The reason of a task whose worker somebody ended."""

TIMED_PASSES = 5
"""The median of so many counts."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a worker needs for a cell."""

    row: str
    name: str  # within the comparison
    profile: str
    params: Params  # with the cell's seed
    settings: str  # their fingerprint
    data: str
    code: str
    inits: tuple[Path | None, ...]  # weights to begin with, for each fold
    paths: Paths
    work: Path  # a folder of this cell's own, kept when it is stopped
    frame_seconds: float
    threads: int
    parent: str
    command: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a task ended: with a cell, or, of a pretraining, with none; or why it did not get there."""

    cell: Cell | None = None
    reason: str | None = None  # STOPPED where somebody ended the worker


def run_cell(job: Job) -> Outcome:
    """Trains, tests and records in MLflow; a training that was stopped goes on where it was."""
    torch.set_num_threads(job.threads)
    if training_code() != job.code:
        raise UserError(f"the code in {Path(__file__).parents[1]} on {socket.gethostname()} is not the launcher's")
    try:
        child = Child(name=job.name, command=job.command)
        with child_run(stage="cell", params=job.params, paths=job.paths, child=child, parent=job.parent) as run:
            run.set_tags({"table.row": job.row, "table.settings": job.settings, "table.profile": job.profile})
            cell = _measure(job, run)
            run.log_metrics(
                {"test.accuracy": cell.accuracy, "parameters": cell.parameters, "gflop": cell.gflop}
                | ({} if cell.val_accuracy is None else {"validation.accuracy": cell.val_accuracy})
            )
            accuracy = with_interval({"accuracy": cell.accuracy, "low": cell.low, "high": cell.high})
            run.describe(f"test accuracy {accuracy}, {cell.n} clips of {cell.scenes} scenes", accuracy=accuracy)
            return Outcome(cell=cell)
    except (KeyboardInterrupt, SystemExit):  # Lightning turns the one into the other
        return Outcome(reason=STOPPED)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong in a cell is its result, not the others' end
        return Outcome(reason=reason_of(error))


def _measure(job: Job, run: Run) -> Cell:
    started = time.monotonic()
    clips = data.usable_clips(job.paths, index_settings(job.params))
    train_folds(job, clips, run)
    train_seconds = time.monotonic() - started
    test = predict_part(job.params, job.paths, clips, "test", recognizer=job.work)
    if test is None:
        raise UserError(f"{Paths.index(job.params.datasets[0])}: no clip is marked test; run prepare again")
    validation = predict_part(job.params, job.paths, clips, "val", recognizer=job.work)
    found = scores(test, job.params)
    network, _ = weights.load(job.work / "fold_0" / weights.WEIGHTS)
    gflop, clip_seconds = cost(network, job.params)
    cell = Cell(
        row=job.row,
        dataset=job.params.datasets[0],
        profile=job.profile,
        seed=job.params.seed,
        settings=job.settings,
        data=job.data,
        code=job.code,
        accuracy=found["accuracy"],
        low=found["low"],
        high=found["high"],
        n=int(found["n"]),
        scenes=int(found["scenes"]),
        val_accuracy=None if validation is None else float(validation.correct_N.mean()),
        parameters=sum(tensor.numel() for tensor in network.parameters()),
        gflop=gflop,
        clip_seconds=clip_seconds,
        frame_seconds=job.frame_seconds,
        train_seconds=train_seconds,
        device=_device_name(),
        run_id=run.run_id or "",
        ended=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        predicted=record.encode(in_order(test)),
    )
    shutil.rmtree(job.work, ignore_errors=True)
    return cell


def train_folds(job: Job, clips: pd.DataFrame, run: Run) -> None:
    """Trains each fold, unless that was done before a stop."""
    for fold in range(job.params.split.folds):
        folder = job.work / f"fold_{fold}"
        if (folder / weights.WEIGHTS).exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        prefix = "" if job.params.split.folds == 1 else f"fold_{fold}."

        def on_epoch(epoch: int, row: Row, prefix: str = prefix) -> None:
            run.log_metrics({f"{prefix}{name}": value for name, value in row.items()}, step=epoch)

        recipe.train_fold(
            job.params,
            job.paths,
            clips,
            fold,
            folder,
            checkpoints=job.work / f"checkpoints_{fold}",
            init=job.inits[fold],
            max_steps=None,
            on_epoch=on_epoch,
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


def _device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def with_seed(params: Params, seed: int) -> Params:
    """The same settings with another seed of the training; data, split and enhancement stay."""
    return dataclasses.replace(params, seed=seed)
