"""One trial of the search: trains with drawn values as src/train.py does, scores on validation clips, and records it.

Runs in a worker process. Test clips are never read.
"""

import shutil
import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from darkaction import search
from darkaction.core import config
from darkaction.core.errors import UserError, reason_of
from darkaction.core.paths import Paths
from darkaction.core.provenance import index_digest
from darkaction.enhancement.apply import Settings
from darkaction.jobs import pretraining, recipe
from darkaction.jobs.identity import index_settings
from darkaction.jobs.scoring import predict_part
from darkaction.search import Claim, Search
from darkaction.search.settings import SearchParams
from darkaction.tracking.runs import Child, Run, child_run
from darkaction.training import data
from darkaction.training.fit import Row
from darkaction.training.weights import WEIGHTS

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory")


class PrunedError(Exception):
    """The pruner says that this trial is not worth going on with."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a worker needs to run a trial."""

    claim: Claim
    study: str
    storage: str
    token: str
    params: SearchParams  # of the study
    data: str
    code: str
    init: Path | None  # weights to begin with
    enhancement: Settings | None  # of drawn clips, where every trial pretrains on some; else None
    paths: Paths
    threads: int
    command: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a trial ended: complete, pruned, failed (and why) or interrupted."""

    state: str
    score: float | None = None
    reason: str | None = None


def run_trial(job: Job) -> Outcome:
    """Runs one trial, and records its end in the study and in MLflow."""
    torch.set_num_threads(job.threads)
    check_place(job)
    study = search.patiently(search.join)(job.storage, job.study, job.params, data=job.data)
    params = search.with_values(job.params, job.claim.values)
    child = Child(name=f"trial {job.claim.number}", command=job.command)
    try:
        with child_run(stage="trial", params=params, paths=job.paths, child=child, parent=job.token) as run:
            run.set_tags({"optuna.study": job.study, "optuna.trial": str(job.claim.number)})
            study.note(job.claim.trial_id, mlflow_run=run.run_id)
            outcome = _train_and_end(job, params, study, run)
            run.set_tags({"trial.state": outcome.state})
            return outcome
    except (KeyboardInterrupt, SystemExit):  # Lightning turns the one into the other
        return Outcome(state="interrupted")
    except Exception as error:  # noqa: BLE001 - whatever goes wrong in a trial is its result, not the search's end
        reason = reason_of(error)
        study.fail(job.claim.trial_id, reason)
        return Outcome(state="failed", reason=reason)


def check_place(job: Job) -> None:
    """Refuses to work with other code or clips than the launcher's.

    Raises:
        UserError: naming what differs.
    """
    if search.own_code() != job.code:
        raise UserError(f"the code in {Path(__file__).parent} on {socket.gethostname()} is not the launcher's")
    if data_digest(job.params, job.paths) != job.data:
        raise UserError(
            f"the clips in {job.paths.out or job.paths.root} on {socket.gethostname()} are not the launcher's"
        )


def data_digest(params: SearchParams, paths: Paths) -> str:
    """Identifies the clips and their split."""
    indexes = [index_digest(paths.read(Paths.index(name)) / "index.csv") for name in params.datasets]
    return config.digest(indexes)[:16]


def _train_and_end(job: Job, params: SearchParams, study: Search, run: Run) -> Outcome:
    """The training, and what the study learns of its end."""
    try:
        note = partial(study.note, job.claim.trial_id)
        right = with_smaller_batch(lambda used: _train(job, used, study, run), params, note)
    except PrunedError:
        run.describe("pruned")
        study.prune(job.claim.trial_id)
        return Outcome(state="pruned")
    except Exception:
        run.set_tags({"trial.state": "failed"})
        raise
    score = float(np.mean(right))
    run.log_metrics({"validation.accuracy": score})
    run.describe(f"validation accuracy {score:.1%}, {len(right)} clips", accuracy=f"{score:.1%} on validation clips")
    study.complete(job.claim.trial_id, score, right)
    return Outcome(state="complete", score=score)


def with_smaller_batch(
    train: Callable[[SearchParams], list[bool]], params: SearchParams, note: Callable[..., None]
) -> list[bool]:
    """Calls `train`, and once more with half the batch size, which it notes, where memory did not suffice."""
    try:
        return train(params)
    except RuntimeError as error:  # torch.OutOfMemoryError is one; on a CPU it is a plain one
        if not is_out_of_memory(error) or params.train.batch_size < 4:
            raise
    torch.cuda.empty_cache()
    half = params.train.batch_size // 2
    note(batch_size_used=half)
    return train(replace(params, train=replace(params.train, batch_size=half)))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch says so, of a GPU or of the machine."""
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error).lower() for text in OUT_OF_MEMORY)


def _train(job: Job, params: SearchParams, study: Search, run: Run) -> list[bool]:
    """Trains each seed of the trial; whether each validation clip is named rightly, in the order of clip ids, seed
    after seed."""
    clips = data.usable_clips(job.paths, index_settings(params))
    clips = clips[clips["fold_0"] != "test"].reset_index(drop=True)
    right: list[bool] = []
    for number in range(params.tune.seeds):
        own = replace(params, seed=params.seed + number)
        scratch = Path(tempfile.mkdtemp(prefix="darkaction-trial-"))
        try:
            (scratch / "fold_0").mkdir()
            recipe.train_fold(
                own,
                job.paths,
                clips,
                0,
                scratch / "fold_0",
                checkpoints=scratch / "checkpoints",
                init=_pretrained(job, own, scratch, run) if job.enhancement is not None else job.init,
                max_steps=None,
                on_epoch=_reporter(job, own, study, run, f"seed_{number}." if params.tune.seeds > 1 else ""),
            )
            predictions = predict_part(own, job.paths, clips, "val", recognizer=scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        if predictions is None:
            raise UserError(f"{Paths.index(params.datasets[0])}: no clip is marked val; run prepare again")
        order = predictions.clips["clip_id"].argsort().to_numpy()
        right += [bool(value) for value in predictions.correct_N[order]]
        if params.tune.seeds > 1 and study.report(
            job.claim.trial_id, number + 1, float(np.mean(predictions.correct_N))
        ):
            raise PrunedError
    return right


def _pretrained(job: Job, params: SearchParams, scratch: Path, run: Run) -> Path:
    """Weights pretrained with the trial's own settings."""
    assert job.enhancement is not None
    made = pretraining.pretrain(
        params,
        job.paths,
        0,
        scratch / "pretraining",
        enhancement=job.enhancement,
        workers=0,  # the other cores have trials of their own
        on_epoch=lambda epoch, row: run.log_metrics({f"pretraining.{k}": v for k, v in row.items()}, step=epoch),
    )
    return made / WEIGHTS


def _reporter(job: Job, params: SearchParams, study: Search, run: Run, prefix: str) -> Callable[[int, Row], None]:
    """What records each epoch and, with one seed a trial, asks the pruner."""

    def on_epoch(epoch: int, row: Row) -> None:
        run.log_metrics({f"{prefix}{name}": value for name, value in row.items()}, step=epoch)
        if params.tune.seeds == 1 and study.report(job.claim.trial_id, epoch + 1, row["val_accuracy"]):
            raise PrunedError

    return on_epoch
