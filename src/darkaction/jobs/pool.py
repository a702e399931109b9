"""Worker processes on this machine or on a Ray cluster: the only module that imports ray.

Ray starts the processes, gives each its GPU or its share of processors, reuses them for the next task and replaces
those that die.
"""

import logging
import math
import os
import secrets
import signal
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from darkaction.core.errors import Terminated, UserError, reason_of
from darkaction.core.processes import usable_processors

MEMORY_PER_WORKER = 2 * 1024**3
"""Bytes that `auto` leaves for each worker on a machine without GPUs; a training of the demo takes a third."""

OBJECT_STORE = 100 * 1024**2
"""Bytes of Ray's shared memory, its least: tasks and results are small."""

STARTS = 2
"""Tries to start Ray."""

REACHABLE_WITHIN = 10.0
"""Seconds."""

PASSED_ON = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "PGPASSWORD",
)
"""Variables of the launcher that its workers on other machines get too. They may hold secrets."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """The end of a task: what it returned, or why its process is gone."""

    key: Any
    result: Any = None
    lost: str | None = None


class Pool:
    """Tasks on at most `size` worker processes, with `threads` processor threads each. Made by `start_pool`.

    Args:
        gpus: that each task takes; a fraction shares a GPU, 0 hides them all.
        passed_on: variables that every task sets before it begins. They are an argument of the task: Ray writes its
            environment into logs that every user of the machine can read, but not its arguments.
    """

    def __init__(self, size: int, *, gpus: float, threads: int, passed_on: dict[str, str]) -> None:
        self.size, self.threads = size, threads
        self._passed_on = passed_on
        self._options: dict[str, Any] = {
            "num_cpus": 1,
            "num_gpus": gpus,
            "max_retries": 0,  # what a lost task means is the caller's business
            # Ray assigns GPUs anew for each task, but a process stays on the one it began with
            "max_calls": 1 if gpus else 0,
            "runtime_env": {"env_vars": _environment(threads)},
        }
        self._running: dict[Any, Any] = {}

    @property
    def busy(self) -> int:
        """How many tasks run."""
        return len(self._running)

    def submit(self, key: Any, function: Callable[..., Any], *arguments: Any) -> None:
        """Starts a task; `key` names it in `wait`."""
        import ray

        options = self._options | {"name": function.__name__}
        reference = ray.remote(**options)(_run_with).remote(self._passed_on, function, *arguments)
        self._running[reference] = key

    def wait(self, seconds: float) -> list[Done]:
        """The tasks that ended, after at most so many seconds.

        Raises:
            UserError: when an exception left a task.
        """
        import ray
        from ray.exceptions import RayError, RayTaskError

        if not self._running:
            return []
        try:
            ready, _ = ray.wait(list(self._running), num_returns=1, timeout=seconds)
        except SystemExit:  # what Ray makes of the exception that our handler of SIGTERM raised
            raise Terminated(128 + signal.SIGTERM) from None
        done = []
        for reference in ready:
            key = self._running.pop(reference)
            try:
                done.append(Done(key=key, result=ray.get(reference)))
            except RayTaskError as error:
                raise UserError(f"a worker cannot work: {reason_of(error.cause)}") from None
            except RayError as error:
                done.append(Done(key=key, lost=type(error).__name__))
        return done

    def use_all_gpus(self) -> None:
        """Gives each worker so much of a GPU that none idles: Ray fills one before it begins the next."""
        import ray

        gpus = ray.cluster_resources().get("GPU", 0)  # type: ignore[no-untyped-call]
        if self._options["num_gpus"]:
            self._options["num_gpus"] = 1 / math.ceil(self.size / gpus)

    def ask_machines(self, function: Callable[..., Any], *arguments: Any, seconds: float) -> list[tuple[str, Any]]:
        """(name, what the function returns there) of each machine that has workers, or why it gave no answer in so many
        seconds."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        asked = {}
        for node in ray.nodes():  # type: ignore[no-untyped-call]
            if not node["Alive"] or not node["Resources"].get("CPU"):
                continue
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            options = self._options | {"num_cpus": 0, "num_gpus": 0, "max_calls": 0, "scheduling_strategy": there}
            reference = ray.remote(**options)(_run_with).remote(self._passed_on, function, *arguments)
            asked[reference] = node["NodeManagerHostname"]
        ray.wait(list(asked), num_returns=len(asked), timeout=seconds)
        answers = []
        for reference, name in asked.items():
            try:
                answers.append((name, ray.get(reference, timeout=0)))
            except Exception as error:  # noqa: BLE001 - whatever goes wrong there: it gave no answer
                answers.append((name, f"the project ({reason_of(error)})"))
        return answers

    def cancel(self, seconds: float) -> None:
        """Interrupts all tasks as Ctrl-C would, and waits so long for them to end."""
        import ray

        for reference in self._running:
            ray.cancel(reference, force=False)
        if self._running:
            ray.wait(list(self._running), num_returns=len(self._running), timeout=seconds)


@contextmanager
def start_pool(*, address: str | None, workers: int | None, gpu: float = 1) -> Iterator[Pool]:
    """A pool on this machine, or on the cluster at `address`; workers None: as many as the GPUs take, or without GPUs
    one per processor core as far as memory allows.

    Args:
        gpu: the part of a GPU that a worker takes, where there are some; 0: none. Workers on one GPU share its memory
            too.

    Raises:
        UserError: when there is no cluster, or there are too few GPUs where there are some.
    """
    if address is not None:
        _check_reachable(address)
    _prepare_environment(address)
    import ray  # reads the environment

    common: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    on_terminate = signal.getsignal(signal.SIGTERM)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if address is None:
                cores = usable_processors()
                size = workers or _auto(cores)
                _start_here(num_cpus=max(cores, size), object_store_memory=OBJECT_STORE, **common)
            else:
                del common["include_dashboard"]
                ray.init(address=address, **common)
    except Exception as error:  # noqa: BLE001 - Ray raises what its parts raise
        where = "Ray cannot start here" if address is None else f"--ray-address {address}: no Ray cluster there"
        raise UserError(f"{where} ({reason_of(error)})") from None
    finally:
        signal.signal(signal.SIGTERM, on_terminate)  # Ray's own ends the process on the spot
    try:
        resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
        cores = int(resources.get("CPU", 1))
        gpus = int(resources.get("GPU", 0)) if gpu else 0
        if gpus:
            size = _on_gpus(gpus, workers, gpu, cores=cores)
        elif address is not None:
            size = workers or cores
        threads = _threads(size) if address is None else max(1, cores // size)
        # Workers of this machine inherit them.
        passed_on = {} if address is None else {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        yield Pool(size, gpus=gpu if gpus else 0, threads=threads, passed_on=passed_on)
    finally:
        ray.shutdown()


def _prepare_environment(address: str | None) -> None:
    """What Ray reads from the environment; where it is set it stays."""
    settings = {
        "RAY_USAGE_STATS_ENABLED": "0",  # no usage statistics leave the machine
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_DEDUP_LOGS": "0",
    }
    if address is None:
        settings |= {
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on every system: it listens on loopback alone
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),  # or it writes ~/.ray/auth_token for all users to read
        }
    elif (Path.home() / ".ray" / "auth_token").exists():  # `ray start` uses one that is there; connecting does not
        settings["RAY_AUTH_MODE"] = "token"
    for name, value in settings.items():
        os.environ.setdefault(name, value)


def _start_here(**settings: Any) -> None:
    """Starts Ray on this machine. It gives its own parts 30 seconds, which a busy machine may need more than once."""
    import ray

    for attempt in range(STARTS):
        try:
            ray.init(address="local", **settings)
            return
        except Exception:  # Ray raises what its parts raise
            ray.shutdown()
            if attempt == STARTS - 1:
                raise


def _check_reachable(address: str) -> None:
    """Ray itself tries a wrong address for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto":
        return
    try:
        socket.create_connection((host, int(port)), timeout=REACHABLE_WITHIN).close()
    except (OSError, ValueError) as error:
        raise UserError(
            f"--ray-address {address}: no Ray cluster there ({error}); expected HOST:PORT, ray://HOST:PORT or auto"
        ) from None


def _on_gpus(gpus: int, workers: int | None, gpu: float, *, cores: int) -> int:
    """How many workers so many GPUs take, each of them a part of one.

    Raises:
        UserError: when that is less than the number asked for.
    """
    most = gpus * int(1 / gpu + 1e-9)
    if workers is not None and workers > most:
        raise UserError(f"--workers {workers}: {gpus} GPUs take {most} workers with --gpus-per-worker {gpu:g}")
    return workers or min(most, max(cores, gpus))


def _auto(cores: int) -> int:
    """Workers for a machine without GPUs."""
    return max(1, min(cores, psutil.virtual_memory().available // MEMORY_PER_WORKER))


def _threads(workers: int) -> int:
    """Processor threads of each worker on this machine: what OMP_NUM_THREADS says, or its share of the cores."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) else max(1, usable_processors() // workers)


def _environment(threads: int) -> dict[str, str]:
    """What the workers' environment has beside that of their machine."""
    sources = str(Path(__file__).resolve().parents[2])
    return {"PYTHONPATH": sources, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}


def _run_with(environment: dict[str, str], function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls `function` in a worker, with these variables set for good: its later tasks have the same."""
    os.environ.update(environment)
    return function(*arguments)
