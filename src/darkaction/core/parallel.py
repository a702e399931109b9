"""The same function for many items, in worker processes. Whoever maps does not know where they are: this module has
those of this machine, jobs/map_tasks.py those of a Ray cluster."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from typing import Protocol, TypeVar

from darkaction.core.processes import end_with_parent

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_IN_WORK = 2
"""Tasks per worker that are handed out: one more than it works at, so that none waits."""


class Mapper(Protocol):
    def __call__(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result | None]]:
        """Calls a function of a module on every item: (item, result), as they come.

        The result is None where the processes that had the item died, twice: the first time another may have been the
        cause. What the function raises ends all.
        """


@dataclass(frozen=True)
class Processes:
    """A Mapper on this machine.

    Args:
        workers: processes; 0: all is done in this one.
    """

    workers: int

    def __call__(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result | None]]:
        if self.workers == 0:
            yield from ((item, function(item)) for item in items)
            return
        pending, suspects = deque(items), deque[Item]()
        while pending or suspects:
            alone = bool(suspects)
            queue, workers = (suspects, 1) if alone else (pending, self.workers)
            in_work = 1 if alone else MOST_IN_WORK * workers
            for item, result in _map_in_pool(function, queue, workers=min(workers, len(queue)), in_work=in_work):
                if result is None and not alone:
                    suspects.append(item)  # its process died, or that of another: they are tried one at a time
                else:
                    yield item, result


def _map_in_pool(
    function: Callable[[Item], Result], queue: deque[Item], *, workers: int, in_work: int
) -> Iterator[tuple[Item, Result | None]]:
    """Takes items from `queue`, at most `in_work` at a time, and yields results until the queue is empty or a process
    dies; then those in work come with None and the rest stays in the queue."""
    # spawn: a fork would copy the locks of the parent's threads.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=(context.Value("i", 0),)
    )
    futures: dict[Future[Result], Item] = {}
    finished = False
    try:
        while queue or futures:
            while queue and len(futures) < in_work:
                futures[pool.submit(function, queue[0])] = queue[0]
                queue.popleft()
            for future in wait(futures, return_when=FIRST_COMPLETED).done:
                result = future.result()
                yield futures.pop(future), result
        finished = True
    except BrokenProcessPool:
        yield from ((item, None) for item in futures.values())
    finally:
        if not finished:  # nobody wants what is in work, which may take minutes
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
        pool.shutdown(cancel_futures=True)


_number = 0


def worker_number() -> int:
    """Of this worker process among those of its machine, from 0; 0 in every other process."""
    return _number


def in_worker() -> bool:
    """Whether this is one of several processes that share the processors."""
    return multiprocessing.parent_process() is not None


def _start_worker(started: "Synchronized[int]") -> None:
    global _number
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers Ctrl-C
    end_with_parent()
    with started.get_lock():
        _number = started.value
        started.value += 1
