"""MLflow's store locked or away."""

import os
import random

from faults.pipeline import Outcome, Pipeline
from faults.processes import start
from servers import MlflowServer

LOCKED_FOR = 8.0
"""Seconds; longer than SQLite waits by itself."""


def locked(pipeline: Pipeline, rng: random.Random, number: int) -> Outcome:
    """Another process holds mlflow.db while a stage runs: it goes on and every record arrives."""
    stage = ("train", "train_enhancer", "evaluate")[number % 3]
    pipeline.before(stage)
    running = pipeline.start(stage)
    with pipeline.locked_store(running):
        running.poll_for(LOCKED_FOR)
    running.wait()
    if running.code:
        return pipeline.judged(stage, unclear=True, running=running)
    wrong = pipeline.differences(stage) + pipeline.waiting()
    return Outcome(not wrong, 0.0, f"{stage}: {', '.join(wrong[:4])}" if wrong else "")


def away(pipeline: Pipeline, rng: random.Random, number: int) -> Outcome:
    """No server answers during a training: its weights are the same, and later every record is delivered."""
    pipeline.before("train")
    server = MlflowServer(pipeline.out, f"sqlite:///{pipeline.out}/mlflow.db")

    def use() -> None:
        os.environ["MLFLOW_TRACKING_URI"] = server.uri

    running = pipeline.start("train", before=use)
    running.wait()
    if running.code or not pipeline.waiting():
        return pipeline.judged("train", unclear=True, running=running)
    wrong = pipeline.differences("train")
    try:
        server.start()
        sync = start("tracking_sync", [], log=running.log.with_suffix(".sync"), before=use)
        sync.wait()
    finally:
        server.kill()
    wrong += pipeline.waiting()
    return Outcome(not wrong and sync.code == 0, 0.0, f"train: {', '.join(wrong[:4])}" if wrong else "")
