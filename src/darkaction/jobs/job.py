"""One training as a job: what it is made from, what it is scored on, how it ended. Runs in a worker process.

A search, a comparison and the seeds of a method are jobs of their own kind by their Observer alone. Everything else is
here once: the MLflow run, the check of code and clips, resume, half the batch where memory does not suffice.
"""

import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from darkaction.core.errors import UserError, reason_of
from darkaction.core.parallel import Processes
from darkaction.core.paths import Paths
from darkaction.core.processes import only_one
from darkaction.data.splits import other_validation
from darkaction.enhancement.apply import Settings
from darkaction.jobs.identity import identity, index_digests, index_settings, training_code
from darkaction.jobs.recognizer import pretraining, recipe
from darkaction.jobs.recognizer.scoring import Predictions, predict_part
from darkaction.jobs.recognizer.smaller_batch import with_smaller_batch
from darkaction.jobs.recognizer.train import Inits, train_folds
from darkaction.params import Params
from darkaction.tracking.runs import Child, Run, child_run
from darkaction.training import data, weights
from darkaction.training.fit import Row

COMPLETE, PRUNED, FAILED, STOPPED, LOST = "complete", "pruned", "failed", "stopped", "lost"
"""How a job ends. STOPPED: somebody ended its worker in order. LOST: its worker is gone, or was stopped."""

PATIENCE = 60.0
"""Seconds that a job waits for another one in its folder to end."""


class PrunedError(Exception):
    """Says that a job is not worth going on with."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a job ended, and what its observer made of it."""

    state: str
    reason: str | None = None
    result: Any = None


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A training with one seed: the folder with fold_<k>/weights.safetensors, and the predictions for each part."""

    params: Params
    folder: Path
    seconds: float  # of the training
    predictions: Mapping[str, Predictions | None]


class Observer:
    """Follows a job in its worker process. Each kind of job has one, which records what is special to it."""

    def open(self) -> None:
        """Called first. What it raises ends the launcher: no other worker could work either."""

    def begin(self, run: Run) -> None:
        """The MLflow run of the job is open."""

    def epoch(self, number: int, row: Row) -> bool:
        """An epoch has ended; whether the job is not worth going on with."""
        return False

    def seed(self, number: int, trained: Trained) -> bool:
        """A seed, counted from 0, was trained and scored; whether the job is not worth going on with."""
        return False

    def halved(self, batch_size: int) -> None:
        """Memory did not suffice; the job begins again with this batch size."""

    def finish(self, run: Run, trained: Sequence[Trained]) -> Any:
        """Every seed was trained. What it returns is the result of the job."""

    def pruned(self, run: Run) -> None:
        """The job was not worth going on with."""

    def failed(self, reason: str) -> None:
        """The job went wrong by itself."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a worker needs to train and score a network."""

    name: str  # of its MLflow run
    stage: str  # of its MLflow run
    params: Params
    paths: Paths
    clips: str  # see `clips_identity`
    code: str
    score: tuple[str, ...]  # parts to score, val and test; of the first one there must be clips
    observer: Observer
    inits: Inits
    enhancement: Settings | None = None  # of synthetic clips, where the job pretrains with settings of its own
    seeds: int = 1  # how many are trained
    first_seed: int = 0  # the first is params.seed plus this
    other_validation: bool = False  # validate on other scenes than the index says (see splits.other_validation)
    work: Path | None = None  # where a stopped one goes on; None: it does not
    threads: int = 1
    parent: str = ""  # token of the MLflow run of all
    command: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


def clips_identity(params: Params, paths: Paths) -> str:
    """Identifies the clips of all datasets and their split."""
    return identity({}, inputs=index_digests(params.datasets, paths))


def run_job(job: Job) -> Outcome:
    """Trains, scores and records in MLflow; whatever goes wrong in it is its outcome.

    Raises:
        UserError: when no job of this launcher can be run here.
    """
    torch.set_num_threads(job.threads)
    check_place(job)
    job.observer.open()
    child = Child(name=job.name, command=job.command)
    try:
        with child_run(stage=job.stage, params=job.params, paths=job.paths, child=child, parent=job.parent) as run:
            run.set_tags(job.tags)
            job.observer.begin(run)
            outcome = _run_and_end(job, run)
            run.set_tags({f"{job.stage}.state": outcome.state})
            return outcome
    except (KeyboardInterrupt, SystemExit):  # Lightning turns the one into the other
        return Outcome(state=STOPPED)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong in a job is its result, not the others' end
        reason = reason_of(error)
        job.observer.failed(reason)
        return Outcome(state=FAILED, reason=reason)


def check_place(job: Job) -> None:
    """Refuses to work with other code or clips than the launcher's.

    Raises:
        UserError: naming what differs.
    """
    if training_code() != job.code:
        raise UserError(f"the code in {Path(__file__).parents[1]} on {socket.gethostname()} is not the launcher's")
    if clips_identity(job.params, job.paths) != job.clips:
        raise UserError(
            f"the clips in {job.paths.out or job.paths.root} on {socket.gethostname()} are not the launcher's"
        )


def _run_and_end(job: Job, run: Run) -> Outcome:
    try:
        with _folder(job) as work:
            trained = with_smaller_batch(
                lambda params: _train_seeds(job, params, work, run), job.params, job.observer.halved
            )
            return Outcome(state=COMPLETE, result=job.observer.finish(run, trained))
    except PrunedError:
        run.describe("pruned")
        job.observer.pruned(run)
        return Outcome(state=PRUNED)
    except Exception:
        run.set_tags({f"{job.stage}.state": FAILED})
        raise


@contextmanager
def _folder(job: Job) -> Iterator[Path]:
    """Where the job works: its own folder, removed when it has ended well, or a temporary one."""
    if job.work is None:
        with tempfile.TemporaryDirectory(prefix="darkaction-job-") as folder:
            yield Path(folder)
        return
    # A worker whose launcher was killed may live on for some seconds.
    with only_one(job.work.with_name(f"{job.work.name}.lock"), task=f"'{job.name}'", patience=PATIENCE):
        yield job.work
        shutil.rmtree(job.work, ignore_errors=True)


def _train_seeds(job: Job, params: Params, work: Path, run: Run) -> list[Trained]:
    """Trains and scores each seed."""
    clips = data.usable_clips(job.paths, index_settings(params))
    if "test" not in job.score:
        clips = clips[clips["fold_0"] != "test"].reset_index(drop=True)
    if job.other_validation:
        moved = other_validation(clips, seed=params.seed)
        assert moved is not None, "the launcher has found other validation scenes"
        clips = moved
    done = []
    for number in range(job.seeds):
        own = replace(params, seed=params.seed + job.first_seed + number)
        # A stopped job goes on in the folder of the batch size that memory sufficed for.
        folder = work / f"seed_{own.seed}-batch_{own.train.batch_size}"
        inits = job.inits
        if job.enhancement is not None:
            begun = folder / "pretraining"
            inits = [
                [
                    _pretrain(recipe.of_member(own, member), job.paths, begun / str(member), job.enhancement, run)
                    for member in range(own.train.members)
                ]
            ]
        prefix = f"seed_{number}." if job.seeds > 1 else ""
        started = time.monotonic()
        train_folds(own, job.paths, clips, folder, inits, record=_recorder(run, prefix, job))
        seconds = time.monotonic() - started
        predictions = {part: predict_part(own, job.paths, clips, part, recognizer=folder) for part in job.score}
        if predictions[job.score[0]] is None:
            index = Paths.index(params.datasets[0])
            raise UserError(f"{index}: no clip is marked {job.score[0]}; run prepare again")
        done.append(Trained(params=own, folder=folder, seconds=seconds, predictions=predictions))
        if job.observer.seed(number, done[-1]):
            raise PrunedError
    return done


def _recorder(run: Run, prefix: str, job: Job) -> Callable[[str, int, Row], None]:
    """What records each epoch and asks the observer whether to go on."""

    def record(fold: str, epoch: int, row: Row) -> None:
        run.log_metrics({f"{prefix}{fold}{name}": value for name, value in row.items()}, step=epoch)
        if job.observer.epoch(epoch, row):
            raise PrunedError

    return record


def _pretrain(params: Params, paths: Paths, folder: Path, enhancement: Settings, run: Run) -> Path:
    """Weights pretrained with the job's own settings."""
    made = pretraining.pretrain(
        params,
        paths,
        folder,
        enhancement=enhancement,
        mapper=Processes(0),  # the other cores have jobs of their own
        on_epoch=lambda epoch, row: run.log_metrics({f"pretraining.{k}": v for k, v in row.items()}, step=epoch),
    )
    return made / weights.WEIGHTS
