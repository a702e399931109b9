"""Processes that are killed or stopped at any moment, started twice, or see a wrong clock."""

import contextlib
import random
import signal
import time

import psutil

from faults.pipeline import STAGES, Outcome, Pipeline
from faults.processes import Running, until

QUICK = ("prepare", "leakage", "train_enhancer", "train", "evaluate", "report")


def kill(pipeline: Pipeline, rng: random.Random, number: int) -> Outcome:
    """SIGKILL of a stage: each in turn, and those of seconds twice as often."""
    order = (*STAGES, *QUICK)
    stage = order[number % len(order)]
    pipeline.before(stage)
    running = _at_some_moment(pipeline, stage, rng, signal.SIGKILL)
    orphans = running.orphans()
    return pipeline.judged(stage, half=pipeline.halves(stage), orphans=orphans)


def stop(pipeline: Pipeline, rng: random.Random, number: int) -> Outcome:
    """SIGTERM of a stage: it tidies up and ends with 143, or was just about to end."""
    stage = list(STAGES)[number % len(STAGES)]
    pipeline.before(stage)
    running = _at_some_moment(pipeline, stage, rng, signal.SIGTERM)
    orphans = running.orphans()
    half = pipeline.halves(stage) + (pipeline.leftovers(stopped=True) if running.code == 143 else [])
    # Before the program has begun SIGTERM ends it as any other process.
    unclear = running.code not in (143, 0, -signal.SIGTERM)
    return pipeline.judged(stage, half=half, orphans=orphans, unclear=unclear, running=running)


def _at_some_moment(pipeline: Pipeline, stage: str, rng: random.Random, number: int) -> Running:
    """Sends the signal within the time that the stage takes; it may have ended by then."""
    running = pipeline.start(stage)
    moment = time.monotonic() + rng.uniform(0.02, pipeline.seconds[stage])
    until(lambda: running.poll() is not None or time.monotonic() > moment)
    if running.poll() is None:
        running.signal(number)
    running.wait()
    return running


def worker(pipeline: Pipeline, rng: random.Random, number: int) -> Outcome:
    """SIGKILL of a worker process of the stages that have some: of pools, and of the loader of training clips."""
    stage = ("synthesize", "prepare", "enhance", "pretrain", "train")[number % 5]
    pipeline.before(stage)
    running = pipeline.start(stage, "train.num_workers=2")
    until(lambda: running.poll() is not None or _workers(running))
    running.poll_for(rng.uniform(0.0, 0.5) * pipeline.seconds[stage])
    for process in _workers(running)[:1]:
        with contextlib.suppress(psutil.Error):
            process.kill()
    running.wait()
    unclear = running.code != 0 and not running.refused()
    return pipeline.judged(stage, half=pipeline.halves(stage), unclear=unclear, running=running)


def _workers(running: Running) -> list[psutil.Process]:
    """Processes of its session that are not multiprocessing's own."""
    found = []
    for process in running.family():
        with contextlib.suppress(psutil.Error):  # it ends at this moment
            if "resource_tracker" not in " ".join(process.cmdline()):
                found.append(process)
    return found


def twice(pipeline: Pipeline, rng: random.Random, number: int) -> Outcome:
    """Each stage in turn is started twice at about the same time: each ends well or says why not."""
    stage = list(STAGES)[number % len(STAGES)]
    pipeline.before(stage)
    both = [pipeline.start(stage)]
    both[0].poll_for(rng.uniform(0.0, 0.5) * pipeline.seconds[stage])
    both.append(pipeline.start(stage))
    for running in both:
        running.wait()
    bad = [running for running in both if running.code != 0 and not running.refused()]
    return pipeline.judged(stage, half=pipeline.halves(stage), unclear=bool(bad), running=(bad or both)[0])


def clock(pipeline: Pipeline, rng: random.Random, number: int) -> Outcome:
    """A stage is killed; when it runs again, the clock goes back by a day in the middle."""
    stage = ("train", "train_enhancer", "pretrain", "evaluate")[number % 4]
    pipeline.before(stage)
    running = _at_some_moment(pipeline, stage, rng, signal.SIGKILL)
    running.orphans()
    when = time.monotonic() + rng.uniform(0.0, 0.5) * pipeline.seconds[stage]

    def go_back() -> None:
        now = time.time
        time.time = lambda: now() - (86400.0 if time.monotonic() > when else 0.0)

    return pipeline.unchanged(stage, before=go_back)


def diverge(pipeline: Pipeline, rng: random.Random, number: int) -> Outcome:
    """The loss is no number: an error says so, nothing is written, and the next training is as if nothing was."""
    pipeline.before("train")
    running = pipeline.start("train", "optimizer.max_lr=1e30", "optimizer.grad_clip=0")
    running.wait()
    unclear = not (running.refused() and "diverged" in running.said())
    return pipeline.judged("train", half=pipeline.halves("train"), unclear=unclear, running=running)
