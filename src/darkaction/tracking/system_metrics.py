"""Use of processor, memory and GPU as metrics of a run."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Log = Callable[[Mapping[str, float], int], None]
"""Takes metrics and their step."""

SYSTEM_METRICS_EVERY = 10.0
"""Seconds between two samples of processor, memory and GPU."""


@contextlib.contextmanager
def system_metrics(log: Log) -> Iterator[None]:
    """Use of processor, memory and GPU while the block runs, as MLflow's own monitors measure them."""
    stop = threading.Event()
    thread = threading.Thread(target=_sample_system, args=(log, stop), name="system metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _sample_system(log: Log, stop: threading.Event) -> None:
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor

    monitors: list[Any] = [CPUMonitor()]  # type: ignore[no-untyped-call]
    with contextlib.suppress(ImportError, RuntimeError):  # no GPU, or no driver
        monitors.append(GPUMonitor())  # type: ignore[no-untyped-call]
    step = 0
    while not stop.wait(SYSTEM_METRICS_EVERY):
        for monitor in monitors:
            monitor.collect_metrics()
            values = monitor.aggregate_metrics()
            monitor.clear_metrics()
            log({f"system/{name}": float(value) for name, value in values.items()}, step)
        step += 1
