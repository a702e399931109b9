"""The loop that keeps workers busy: for searches, comparisons and pretrainings alike."""

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from darkaction.jobs.job import COMPLETE, LOST, STOPPED, Outcome
from darkaction.jobs.pool import Done, Pool

POLL = 1.0

STOPPING = 20.0
"""Seconds that jobs get to end after Ctrl-C."""

TRIES = 2
"""Of a task whose worker died."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a worker is to do. `function` returns an Outcome; `key` is unique among the tasks that run."""

    key: Hashable
    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


class Source(ABC):
    """Where tasks come from, and what becomes of their outcomes."""

    def look(self) -> None:  # noqa: B027 - a source may have nothing to look at
        """Called again and again, about once a second."""

    @abstractmethod
    def next(self) -> Task | None:
        """The next task; None: there is none now."""

    @abstractmethod
    def is_exhausted(self) -> bool:
        """Whether no task will come any more. Asked when no worker is busy."""

    @abstractmethod
    def book(self, task: Task, outcome: Outcome) -> str | None:
        """Records the end of a task; what to say of it. None: nothing, it is tried again."""

    @abstractmethod
    def progress(self) -> tuple[int, int]:
        """How many tasks have ended, and how many there are in all."""

    def leave(self) -> None:  # noqa: B027 - or nothing to take back
        """The launcher was stopped; the tasks that ran are interrupted."""


def launch(pool: Pool, source: Source) -> None:
    """Runs tasks until none is left. Ctrl-C and SIGTERM interrupt what runs, in order, and go on to the caller.

    Raises:
        UserError: when a worker cannot work, or the source says so.
    """
    began = time.monotonic()
    running: dict[Hashable, tuple[Task, float]] = {}
    ended = 0
    try:
        while True:
            while pool.busy < pool.size and (task := source.next()) is not None:
                running[task.key] = task, time.monotonic()
                pool.submit(task.key, task.function, *task.arguments)
            for done in pool.wait(POLL):
                task, started = running.pop(done.key)
                text = source.book(task, _outcome(done))
                if text is None:
                    continue
                ended += 1
                count, total = source.progress()
                seconds = time.monotonic() - started
                left = _time_left((total - count) * (time.monotonic() - began) / ended)
                print(f"[{count}/{total}] {task.name}: {text} in {seconds:.0f} s{left}", flush=True)
            source.look()
            if not pool.busy:
                if source.is_exhausted():
                    return
                time.sleep(POLL)  # other launchers run what is left; one of them may die
    finally:
        if pool.busy:
            try:
                pool.cancel(STOPPING)
            finally:
                source.leave()


def _outcome(done: Done) -> Outcome:
    if done.lost is not None:
        return Outcome(state=LOST, reason=f"its worker died ({done.lost})")
    outcome: Outcome = done.result
    return Outcome(state=LOST, reason="its worker was stopped") if outcome.state == STOPPED else outcome


def _time_left(seconds: float) -> str:
    if seconds < 1:
        return ""
    return f", {seconds / 60:.0f} min left" if seconds >= 90 else f", {seconds:.0f} s left"


class Tasks(Source):
    """Tasks known beforehand. One whose worker died or was stopped is tried again once.

    Args:
        complete: called with the task and its outcome when it is complete; what it returns is shown.
        fail: called with a task that is not, and why.
    """

    def __init__(
        self,
        tasks: list[Task],
        *,
        complete: Callable[[Task, Outcome], str],
        fail: Callable[[Task, str], None],
    ) -> None:
        self._waiting, self._total = tasks, len(tasks)
        self._complete, self._fail = complete, fail
        self._tries: Counter[Hashable] = Counter()
        self._ended = 0
        self.failed = 0

    def next(self) -> Task | None:
        return self._waiting.pop(0) if self._waiting else None

    def is_exhausted(self) -> bool:
        return not self._waiting

    def progress(self) -> tuple[int, int]:
        return self._ended, self._total

    def book(self, task: Task, outcome: Outcome) -> str | None:
        if outcome.state == LOST:
            self._tries[task.key] += 1
            if self._tries[task.key] < TRIES:
                self._waiting.insert(0, task)
                return None
        self._ended += 1
        if outcome.state == COMPLETE:
            return self._complete(task, outcome)
        self.failed += 1
        self._fail(task, str(outcome.reason))
        return f"failed: {outcome.reason}"
