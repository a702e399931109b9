"""Where the stages do the same for many clips: in processes of this machine, or on a Ray cluster."""

import secrets
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from darkaction.core.errors import UserError
from darkaction.core.parallel import Item, Mapper, Processes, Result
from darkaction.core.processes import usable_processors
from darkaction.jobs.pool import Pool, start_pool

WORKERS_PER_GPU = 3
"""That enhance clips: each has a context of its own there, half a gigabyte. While one decodes others use the GPU."""

TRIES = 2
"""Of a task whose worker died."""

POLL, STOPPING, ANSWER = 1.0, 20.0, 120.0
"""Seconds: between two looks at the workers; that they get to end; that a machine gets to say what it sees."""


def processes(*, gpus: bool) -> Processes:
    """A Mapper on this machine: a process for each core, or, for what computes on GPUs, as many as keep these busy."""
    cores, devices = usable_processors(), torch.cuda.device_count() if gpus else 0
    return Processes(min(cores, WORKERS_PER_GPU * devices) if devices else cores)


def mapper_for(address: str | None, *, gpu: float, folders: Sequence[Path]) -> Mapper:
    """A Mapper on the Ray cluster at `address`; None: in processes of this machine.

    Args:
        gpu: the part of a GPU that a task takes, where there are some.
        folders: what tasks read and write, which all machines of the cluster must see; the first one is written to.
    """
    if address is None:
        return processes(gpus=gpu > 0)
    return OnRay(address, gpu, tuple(folder.absolute() for folder in folders))


@dataclass(frozen=True)
class OnRay:
    """A Mapper on a Ray cluster. It connects when it is called.

    Raises:
        UserError: when there is no cluster at the address, or a machine of it does not see one of the folders.
    """

    address: str
    gpu: float
    folders: tuple[Path, ...]

    def __call__(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result | None]]:
        if not items:
            return
        with start_pool(address=self.address, workers=None, gpu=self.gpu) as pool:
            require_shared(pool, self.folders)
            pool.use_all_gpus()
            try:
                yield from _map_in_pool(pool, function, items)
            finally:
                if pool.busy:
                    pool.cancel(STOPPING)


def _map_in_pool(
    pool: Pool, function: Callable[[Item], Result], items: Sequence[Item]
) -> Iterator[tuple[Item, Result | None]]:
    waiting, tries = deque(range(len(items))), Counter[int]()
    while waiting or pool.busy:
        while waiting and pool.busy < pool.size:
            number = waiting.popleft()
            pool.submit(number, _call, function, items[number])
        for done in pool.wait(POLL):
            number = done.key
            tries[number] += 1
            if done.lost is None:
                yield items[number], done.result
            elif tries[number] < TRIES:
                print(f"a worker died ({done.lost}); its part is done again", flush=True)
                waiting.appendleft(number)
            else:
                yield items[number], None


def _call(function: Callable[[Item], Result], item: Item) -> Result:
    return function(item)


def require_shared(pool: Pool, folders: Sequence[Path]) -> None:
    """Refuses a cluster with a machine that does not see what this one sees.

    Raises:
        UserError: naming the machine and what it does not see.
    """
    token = folders[0] / f".shared-{secrets.token_hex(8)}"
    token.touch()
    try:
        for machine, missing in pool.ask_machines(_missing, (token, *folders), seconds=ANSWER):
            if missing:
                raise UserError(
                    f"--ray-address: {machine} does not see {missing}; all machines of the cluster must have the "
                    "project and its data in one shared folder, at the same path (deploy/README.md)"
                )
    finally:
        token.unlink(missing_ok=True)


def _missing(paths: Sequence[Path]) -> str:
    """The folder of the first path that is not there; empty where all are."""
    return next((str(path.parent if path.name.startswith(".") else path) for path in paths if not path.exists()), "")
