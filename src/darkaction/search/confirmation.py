"""Before a trial's values are written: it and the values of params.yaml are trained again, with seeds that no trial had
and, where there are enough scenes, with other validation scenes.

The highest of many trials is chosen for its luck too, and one training tells nothing about other seeds. What decides is
therefore a comparison in which nothing was chosen.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darkaction.core.errors import UserError
from darkaction.core.paths import ROOT
from darkaction.data.splits import other_validation
from darkaction.evaluation.comparison import Comparison, compare
from darkaction.jobs.identity import identity, index_settings, training_settings
from darkaction.jobs.job import Job, Observer, Outcome, Trained, run_job
from darkaction.jobs.launcher import Task, Tasks, launch
from darkaction.jobs.pool import start_pool
from darkaction.search.settings import SearchParams
from darkaction.search.space import with_values
from darkaction.search.study import Scored
from darkaction.tracking.runs import Run
from darkaction.training import data


class ConfirmingObserver(Observer):
    """Keeps which validation clips each training classifies correctly."""

    def finish(self, run: Run, trained: Sequence[Trained]) -> list[NDArray[np.bool_]]:
        found = []
        for each in trained:
            predictions = each.predictions["val"]
            assert predictions is not None
            found.append(predictions.correct_N[predictions.clips["clip_id"].argsort().to_numpy()])
        accuracy = float(np.mean(found))
        run.log_metrics({"validation.accuracy": accuracy})
        run.describe(f"validation accuracy {accuracy:.1%} over {len(found)} seeds", accuracy=f"{accuracy:.1%}")
        return found


def confirm(
    highest: Scored,
    params: SearchParams,
    template: Job,
    *,
    workers: int | None,
    ray_address: str | None,
    gpus_per_worker: float = 1.0,
) -> Comparison:
    """Trains a trial's values and those of params.yaml `tune.confirm_seeds` times each and compares them.

    Args:
        params: of the search, with the values of params.yaml.
        template: what all trainings have in common, with the weights to begin with.

    Raises:
        UserError: when a training fails.
    """
    clips = data.usable_clips(template.paths, index_settings(params))
    moved = other_validation(clips, seed=params.seed)
    validation = clips if moved is None else moved
    print(
        f"training trial {highest.number} and the values of params.yaml again, {params.tune.confirm_seeds} other seeds "
        f"each{'' if moved is None else ', with other validation scenes'}"
    )
    wanted = {f"trial {highest.number}, again": with_values(params, highest.values), "params.yaml, again": params}
    found: dict[str, list[NDArray[np.bool_]]] = {}
    failures: list[str] = []

    def complete(task: Task, outcome: Outcome) -> str:
        found[task.name] = outcome.result
        return f"validation accuracy {np.mean(outcome.result):.1%}"

    with start_pool(address=ray_address, workers=workers, gpu=gpus_per_worker) as pool:
        jobs = {
            name: _job(name, own, params, template, other=moved is not None, threads=pool.threads)
            for name, own in wanted.items()
        }
        tasks = [Task(key=name, name=name, function=run_job, arguments=(job,)) for name, job in jobs.items()]
        launch(pool, Tasks(tasks, complete=complete, fail=lambda task, reason: failures.append(reason)))
    if failures:
        raise UserError(f"{failures[-1]}: the trial could not be confirmed, so params.yaml stays as it is")
    trial, own = (found[name] for name in wanted)
    return compare(trial, own, _scenes(validation), confidence=params.evaluate.confidence)


def _job(name: str, own: SearchParams, params: SearchParams, template: Job, *, other: bool, threads: int) -> Job:
    settings = training_settings(own) | {"other_validation": other, "seed": own.seed}
    return replace(
        template,
        name=name,
        params=own,
        observer=ConfirmingObserver(),
        first_seed=params.tune.seeds,
        seeds=params.tune.confirm_seeds,
        other_validation=other,
        work=ROOT / "runs/tune/confirmation" / identity(settings, inputs={"clips": template.clips}, code=template.code),
        threads=threads,
    )


def _scenes(clips: pd.DataFrame) -> NDArray[np.str_]:
    """(N,) the scene of each validation clip, in the order of clip ids."""
    return data.select(clips, fold=0, part="val").sort_values("clip_id")["scene"].to_numpy(dtype=str)
