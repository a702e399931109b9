"""What a training does where memory does not suffice: it begins again with half the batch."""

import gc
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import torch

from darkaction.params import Params

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory")

T = TypeVar("T")


def with_smaller_batch(train: Callable[[Params], T], params: Params, halved: Callable[[int], None]) -> T:
    """Calls `train`, and once more with half the batch size, which it tells, where memory did not suffice. Of several
    processes one alone cannot begin again."""
    try:
        return train(params)
    except RuntimeError as error:  # torch.OutOfMemoryError is one; on a CPU it is a plain one
        if not is_out_of_memory(error) or params.train.batch_size < 4 or params.train.processes > 1:
            raise
    # Network, optimizer and trainer know each other, so they live on until cycles are looked for.
    gc.collect()
    torch.cuda.empty_cache()
    half = params.train.batch_size // 2
    halved(half)
    return train(replace(params, train=replace(params.train, batch_size=half)))


def say_halved(key: str, batch_size: int) -> None:
    """Says that memory did not suffice for the setting `key`."""
    print(f"{key}: memory did not suffice; begins again with {batch_size}", file=sys.stderr, flush=True)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch says so, of a GPU or of the machine."""
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error).lower() for text in OUT_OF_MEMORY)
