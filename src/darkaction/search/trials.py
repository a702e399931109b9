"""The trials of a search: how one follows its job in a worker, and how a launcher takes them from the study.

A trial trains and is scored on validation clips as any job is. Test clips are never read.
"""

import contextlib
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from darkaction.core.errors import UserError, reason_of
from darkaction.jobs.job import COMPLETE, FAILED, LOST, Job, Observer, Outcome, Trained, run_job
from darkaction.jobs.launcher import Source, Task
from darkaction.search.settings import SearchParams
from darkaction.search.space import with_values
from darkaction.search.storage import retry
from darkaction.search.studies import join
from darkaction.search.study import DIED, Claim, Search
from darkaction.tracking.delivery import end_killed
from darkaction.tracking.runs import Run
from darkaction.training.fit import Row

HEARTBEAT = 10.0
"""Seconds between two heartbeats of a launcher, and two looks for others that are gone."""

ALL_FAIL = 3
"""So many failed trials before any that did not are no bad luck."""


class TrialObserver(Observer):
    """Tells the study of a trial, and asks its pruner.

    Args:
        params: those of the study.
        data: identifies the clips and their split.
    """

    def __init__(self, claim: Claim, *, storage: str, study: str, params: SearchParams, data: str) -> None:
        self.claim, self.storage, self.name, self.params, self.data = claim, storage, study, params, data
        self.study: Search | None = None

    def open(self) -> None:
        self.study = retry(join)(self.storage, self.name, self.params, data=self.data)

    @property
    def _study(self) -> Search:
        assert self.study is not None
        return self.study

    def begin(self, run: Run) -> None:
        run.set_tags({"optuna.study": self.name, "optuna.trial": str(self.claim.number)})
        self._study.note(self.claim.trial_id, mlflow_run=run.run_id)

    def epoch(self, number: int, row: Row) -> bool:
        one_seed = self.params.tune.seeds == 1
        return one_seed and self._study.report(self.claim.trial_id, number + 1, row["val_accuracy"])

    def seed(self, number: int, trained: Trained) -> bool:
        several = self.params.tune.seeds > 1
        return several and self._study.report(self.claim.trial_id, number + 1, float(np.mean(_correct(trained))))

    def halved(self, batch_size: int) -> None:
        self._study.note(self.claim.trial_id, batch_size_used=batch_size)

    def finish(self, run: Run, trained: Sequence[Trained]) -> float:
        correct = [value for each in trained for value in _correct(each)]
        score = float(np.mean(correct))
        run.log_metrics({"validation.accuracy": score})
        run.describe(
            f"validation accuracy {score:.1%}, {len(correct)} clips", accuracy=f"{score:.1%} on validation clips"
        )
        self._study.complete(self.claim.trial_id, score, correct)
        return score

    def pruned(self, run: Run) -> None:
        self._study.prune(self.claim.trial_id)

    def failed(self, reason: str) -> None:
        self._study.fail(self.claim.trial_id, reason)


def _correct(trained: Trained) -> list[bool]:
    """Whether each validation clip was classified correctly, in the order of clip ids."""
    predictions = trained.predictions["val"]
    assert predictions is not None
    order = predictions.clips["clip_id"].argsort().to_numpy()
    return [bool(value) for value in predictions.correct_N[order]]


class Trials(Source):
    """The trials of a study, as far as other launchers leave them.

    Args:
        template: what the jobs of all trials have in common.
        budget: trials in all.
        deadline: the moment (`time.monotonic`) after which no new one begins.
    """

    def __init__(
        self, study: Search, params: SearchParams, *, storage: str, template: Job, budget: int, deadline: float | None
    ) -> None:
        self.study, self.params, self.storage = study, params, storage
        self.template, self.budget, self.deadline = template, budget, deadline
        self._claims: dict[int, Claim] = {}
        self._ended: Counter[str] = Counter()
        self._last_reason = ""
        self._next_look = 0.0
        self._leaving = threading.Event()

    @contextlib.contextmanager
    def heartbeats(self) -> Iterator[None]:
        """Shows the others that this launcher is alive, whatever its main thread is at."""
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()
        try:
            yield
        finally:
            self._leaving.set()

    def _beat(self) -> None:
        while True:
            with contextlib.suppress(Exception):  # a storage that is away; the main thread says so
                self.study.heartbeat()
            if self._leaving.wait(HEARTBEAT):
                return

    def look(self) -> None:
        """Marks the trials of launchers that are gone as lost.

        Raises:
            UserError: when every trial fails.
        """
        self._stop_when_all_fail()
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + HEARTBEAT
        if gone := self.study.reconcile():
            print(f"trials {', '.join(str(t.number) for t in gone)}: their launcher is gone; they are tried again")
            end_killed([trial.user_attrs.get("mlflow_run") for trial in gone], self.template.paths)

    def next(self) -> Task | None:
        if self._is_late():
            return None
        self.study.fill(self.budget)
        claim = self.study.claim(self.budget)
        if claim is None:
            return None
        self._claims[claim.number] = claim
        observer = TrialObserver(
            claim, storage=self.storage, study=self.study.name, params=self.params, data=self.template.clips
        )
        params = with_values(self.params, claim.values)
        job = replace(self.template, name=f"trial {claim.number}", params=params, observer=observer)
        return Task(key=claim.number, name=f"trial {claim.number}", function=run_job, arguments=(job,))

    def is_exhausted(self) -> bool:
        left = self.study.progress(self.budget)
        return self._is_late() or not left["waiting"] + left["running"]

    def progress(self) -> tuple[int, int]:
        counts = self.study.progress(self.budget)
        return counts["complete"] + counts["pruned"] + counts["failed"], self.budget

    def book(self, task: Task, outcome: Outcome) -> str:
        claim = self._claims.pop(int(str(task.key)))
        if outcome.state == LOST:
            run_id = self.study.mark_lost(claim.trial_id, DIED, str(outcome.reason))
            end_killed([run_id], self.template.paths)
        self._ended[outcome.state] += 1
        self._last_reason = str(outcome.reason)
        values = "  ".join(f"{key.rpartition('.')[2]}={json.dumps(value)}" for key, value in claim.values.items())
        text = f"{outcome.result:.1%}" if outcome.state == COMPLETE else (outcome.reason or "")
        return " ".join(part for part in (outcome.state, text, f"({values})") if part)

    def leave(self) -> None:
        """Interrupted trials leave their slots open for --resume."""
        try:
            self.study.release("the search was stopped")
        except Exception as error:  # noqa: BLE001 - a storage that is away must not hide why the search stops
            print(f"trials are left running, --resume marks them as lost ({reason_of(error)})", file=sys.stderr)

    def _is_late(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline

    def _stop_when_all_fail(self) -> None:
        """Ends a search in which nothing works: the trials of this launcher, while no other one gets on."""
        failed = self._ended[FAILED]
        if failed >= ALL_FAIL and self._ended.total() == failed:
            table = self.study.table()
            if not (table["state"].isin(["complete", "pruned", "running"]) & (table["steps"] > 0)).any():
                raise UserError(f"the first {failed} trials all failed; the last: {self._last_reason}")
