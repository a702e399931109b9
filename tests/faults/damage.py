"""Files that are damaged between two commands."""

import random
import signal
from pathlib import Path

from faults.pipeline import Outcome, Pipeline
from faults.processes import until


def checkpoint(pipeline: Pipeline, rng: random.Random, number: int) -> Outcome:
    """A training is killed and a file of its state damaged: it goes on, or begins anew, to the same weights."""
    stage = ("train", "pretrain", "train_enhancer")[number % 3]
    pipeline.before(stage)
    running = pipeline.start(stage)
    until(lambda: running.poll() is not None or bool(_states(pipeline)))
    running.poll_for(0.05)
    running.signal(signal.SIGKILL)
    running.wait()
    states = _states(pipeline)
    if states:
        _spoil(rng.choice(states), rng)
    return pipeline.judged(stage)


def _states(pipeline: Pipeline) -> list[Path]:
    """Files of the state of a training, but those that are being written."""
    files = (pipeline.out / "checkpoints").rglob("*")
    return sorted(file for file in files if file.is_file() and not file.name.startswith(".") and file.stat().st_size)


def clip(pipeline: Pipeline, rng: random.Random, number: int) -> Outcome:
    """A stored clip is damaged: training or evaluation names it, and after `enhance` all is as before."""
    pipeline.before("train")
    _spoil(rng.choice(sorted((pipeline.out / "data/clips/demo").glob("*.npy"))), rng)
    return _noticed(pipeline, ("train", "evaluate"), ("enhance", "train", "evaluate"))


def index(pipeline: Pipeline, rng: random.Random, number: int) -> Outcome:
    """The index ends in the middle of a line: the next stage names it, and after `prepare` all is as before."""
    stage = ("enhance", "train", "leakage")[number % 3]
    pipeline.before(stage)
    path = pipeline.out / "data/index/demo/index.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    keep = rng.randrange(1, len(lines))
    path.write_bytes(b"".join(lines[:keep]) + lines[keep][: rng.randrange(1, len(lines[keep]) - 2)])
    return _noticed(pipeline, (stage,), ("prepare", stage))


def _noticed(pipeline: Pipeline, readers: tuple[str, ...], repairs: tuple[str, ...]) -> Outcome:
    """Runs the stages that read what is damaged, one of which must refuse, and then those that make it again."""
    for stage in readers:
        running = pipeline.start(stage)
        running.wait()
        if running.code:
            break
    outcome = pipeline.judged(*repairs, unclear=not running.refused(), running=running)
    if running.code == 0:
        return Outcome(False, outcome.seconds, f"{' and '.join(readers)} did not notice")
    return outcome


def spool(pipeline: Pipeline, rng: random.Random, number: int) -> Outcome:
    """A record on its way to MLflow is damaged: the next training works, and delivers what it can."""
    pipeline.before("train")
    running = pipeline.start("train")
    with pipeline.locked_store(running):
        until(lambda: running.poll() is not None or len(_records(pipeline)) > 1, 60.0)
        running.signal(signal.SIGKILL)
        running.wait()
        records = _records(pipeline)
        if records:
            _spoil(rng.choice(records), rng)
    return pipeline.judged("train")


def _records(pipeline: Pipeline) -> list[Path]:
    return sorted((pipeline.spool / "spool").glob("*/*.json"))


def _spoil(path: Path, rng: random.Random) -> None:
    """Flips a byte, cuts the file off, empties it or fills a part of it with zeros."""
    data = bytearray(path.read_bytes())
    position, how = rng.randrange(len(data)), rng.choice(("flip", "cut", "empty", "zeros"))
    if how == "flip":
        data[position] ^= 1 << rng.randrange(8)
    elif how == "zeros":
        data[position // 2 : position] = bytes(position - position // 2)
    else:
        del data[0 if how == "empty" else position :]
    path.write_bytes(data)
