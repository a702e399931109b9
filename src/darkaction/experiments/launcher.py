"""Tasks on workers until all are done."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkaction.experiments.cell import STOPPED, Outcome
from darkaction.jobs.pool import Done, Pool

POLL = 1.0

STOPPING = 20.0
"""Seconds that cells get to end after Ctrl-C."""

TRIES = 2
"""Of a task whose worker died."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a worker is to do; `key` is a folder of its own, where a stopped one goes on."""

    key: Path
    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


class Launcher:
    """Keeps the workers busy until every task is done; one whose worker died or was stopped is tried again once.

    Args:
        tasks: their functions return an Outcome.
        book: called with the key and the outcome of a task that is done; what it returns is shown.
        fail: called with the key of another, and why it is not done.
    """

    def __init__(
        self,
        pool: Pool,
        tasks: list[Task],
        *,
        book: Callable[[Path, Outcome], str],
        fail: Callable[[Path, str], None],
    ) -> None:
        self.pool, self.book, self.fail = pool, book, fail
        self.waiting = tasks
        self.total = len(tasks)
        self.started: dict[int, tuple[Task, float]] = {}
        self.tries: dict[Path, int] = {}
        self.ended = 0
        self.failed = 0
        self.number = 0

    def run(self) -> int:
        """Runs the tasks; what is running when it is stopped goes on at the next start.

        Returns:
            How many failed.

        Raises:
            UserError: when a worker cannot work.
        """
        try:
            while self.waiting or self.pool.busy:
                while self.waiting and self.pool.busy < self.pool.size:
                    self.start(self.waiting.pop(0))
                for done in self.pool.wait(POLL):
                    self.finish(done)
            return self.failed
        finally:
            if self.pool.busy:
                self.pool.cancel(STOPPING)

    def start(self, task: Task) -> None:
        self.number += 1
        self.started[self.number] = task, time.monotonic()
        self.pool.submit(self.number, task.function, *task.arguments)

    def finish(self, done: Done) -> None:
        """Books the end of a task, and says so."""
        task, started = self.started.pop(done.key)
        outcome: Outcome = done.result or Outcome(reason=f"its worker died ({done.lost})")
        if done.lost or outcome.reason == STOPPED:  # somebody killed or ended the worker
            self.tries[task.key] = self.tries.get(task.key, 1) + 1
            if self.tries[task.key] <= TRIES:
                self.waiting.insert(0, task)
                return
        self.ended += 1
        if outcome.reason is None:
            text = self.book(task.key, outcome)
        else:
            self.failed += 1
            self.fail(task.key, outcome.reason)
            text = f"failed: {outcome.reason}"
        seconds = time.monotonic() - started
        print(f"[{self.ended}/{self.total}] {task.name}: {text} in {seconds:.0f} s", flush=True)
