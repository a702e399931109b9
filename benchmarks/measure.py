"""What the benchmarks share: ways of doing one thing measured in turns, the limits of this machine, and their table."""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

ROUNDS = 5
MATRIX = 2048
"""Rows of the matrices that are multiplied for `matmul_rate`."""

COPIED = 2**28
"""Bytes that are copied for `copy_rate`: more than any cache holds."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Items a second: the median of some rounds, and the range."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g}-{self.high:.3g})"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison: ours against one alternative, measured in the same turns."""

    what: str  # with sizes and threads
    unit: str
    ours: Rate
    alternative: str  # how a competent user does the same with stock tools
    theirs: Rate
    limit: float | None = None  # share of what this machine can do at most; None where nothing simple bounds it
    note: str = ""  # how far the results differ, for instance

    @property
    def ratio(self) -> float:
        """How many times faster ours is."""
        return self.ours.median / self.theirs.median


def in_turns(
    ways: Mapping[str, Callable[[], int]],
    *,
    threads: int,
    rounds: int = ROUNDS,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Rate]:
    """Items a second of each way, measured in turns, so that a busy moment of the machine hits all of them.

    Args:
        ways: functions that do some work and return how many items it was. Each is called once before the first round.
        threads: processor threads of torch and OpenCV.
        rounds: calls of each.
        clock: `time.process_time` for work of one thread, which then may share its core.
    """
    use_threads(threads)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(rounds):
        for name, way in ways.items():
            started = clock()
            items = way()
            rates[name].append(items / (clock() - started))
    return {name: Rate(median=statistics.median(r), low=min(r), high=max(r)) for name, r in rates.items()}


def kilobytes(key: str) -> int:
    """A value of /proc/self/status: VmRSS is the memory of this process, VmHWM the most it had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def clock_of(threads: int) -> Callable[[], float]:
    """Time of the processor for one thread, which other programs disturb less, and of the clock for several."""
    return time.process_time if threads == 1 else time.perf_counter


def use_threads(threads: int) -> None:
    """Of torch and OpenCV."""
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


def cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0))


def matmul_rate(dtype: torch.dtype, *, threads: int) -> float:
    """Floating-point operations a second of a matrix product, which no convolution exceeds by much."""
    a, b = torch.randn(MATRIX, MATRIX, dtype=dtype), torch.randn(MATRIX, MATRIX, dtype=dtype)

    def multiply() -> int:
        torch.mm(a, b)
        return 2 * MATRIX**3

    return in_turns({"": multiply}, threads=threads, clock=clock_of(threads))[""].median


def copy_rate(*, threads: int) -> float:
    """Bytes a second that are copied in memory, each read once and written once."""
    source = torch.from_numpy(np.ones(COPIED, np.uint8))
    target = torch.empty_like(source)

    def copy() -> int:
        target.copy_(source)
        return COPIED

    return in_turns({"": copy}, threads=threads, clock=clock_of(threads))[""].median


def table(rows: list[Row]) -> str:
    """The rows as a table in Markdown."""
    lines = [
        "| What | Unit | Ours | Alternative | Its rate | Ratio | Share of the limit |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        limit = "" if row.limit is None else f"{row.limit:.0%}"
        what = row.what + (f" ({row.note})" if row.note else "")
        ratio = f"{row.ratio:.2f}x"
        lines.append(f"| {what} | {row.unit} | {row.ours} | {row.alternative} | {row.theirs} | {ratio} | {limit} |")
    return "\n".join(lines)


def no_arguments(text: str | None) -> None:
    """Answers --help with `text`, and refuses any other argument."""
    argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
