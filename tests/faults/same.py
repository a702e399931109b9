"""What must not change a result."""

import os
import random

from faults.pipeline import Outcome, Pipeline

CASES = (
    ("train", 0, False),
    ("train", 1, False),
    ("train", 2, False),
    ("synthesize", 0, True),
    ("prepare", 0, True),
    ("enhance", 0, True),
    ("pretrain", 0, True),
)
"""Stage, loader workers, and whether it has one processor, so that it starts one worker process."""


def processes(pipeline: Pipeline, rng: random.Random, number: int) -> Outcome:
    """Loads clips with 0, 1 or 2 workers; makes clips and indexes with one process."""
    stage, workers, alone = CASES[number % len(CASES)]
    pipeline.before(stage)

    def one_processor() -> None:
        if alone:
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    return pipeline.unchanged(stage, f"train.num_workers={workers}", before=one_processor)
