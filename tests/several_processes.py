"""One process of a distributed training on the CPU, started by torchrun: python tests/several_processes.py FOLDER

Writes FOLDER/<rank>.json: what the process saw. The states of the training lie in FOLDER/state.
"""

import json
import os
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, distributed
from torch.distributed.nn.functional import all_reduce
from torch.nn import SyncBatchNorm, functional
from torch.nn.parallel import DistributedDataParallel

from darkaction.training import fit
from tiny_training import BERT, new_module, run_fit

BATCH = 12
EPOCHS = 3
VALIDATED = 23
"""Clips: no number of processes shares them evenly."""


def on_cpu(self: SyncBatchNorm, given: Tensor) -> Tensor:
    """What torch's SyncBatchNorm computes, which needs GPUs: equally many values in each process."""
    if not self.training:
        return functional.batch_norm(given, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
    x = given.float()
    axes = [0, *range(2, x.dim())]
    shape = [1, -1, *[1] * (x.dim() - 2)]
    processes = distributed.get_world_size()
    mean_C = all_reduce(x.mean(axes).contiguous()) / processes
    variance_C = all_reduce((x - mean_C.view(shape)).square().mean(axes).contiguous()) / processes
    count = processes * x.numel() / x.shape[1]
    with torch.no_grad():
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        self.running_mean.lerp_(mean_C, self.momentum)
        self.running_var.lerp_(variance_C * count / (count - 1), self.momentum)
    normalized = (x - mean_C.view(shape)) * (variance_C.view(shape) + self.eps).rsqrt()
    return (normalized * self.weight.view(shape) + self.bias.view(shape)).to(given.dtype)


def train(folder: Path, *, devices: int, epochs: int = EPOCHS, bf16: bool = False) -> dict[str, Any]:
    """Trains without dropout and masks, which differ between processes; the history and the rate of each step."""
    module = new_module(replace(BERT, dropout=0.0, head_dropout=0.0, mask=0.0))
    rates: list[float] = []
    step = module.training_step

    def counted(*arguments: Any) -> Tensor:
        rates.append(module.trainer.optimizers[0].param_groups[0]["lr"])
        return step(*arguments)

    module.training_step = counted  # type: ignore[method-assign]
    with warnings.catch_warnings(record=True) as said, mock.patch.object(SyncBatchNorm, "forward", on_cpu):
        warnings.simplefilter("always")
        module, history = run_fit(
            folder,
            epochs=epochs,
            module=module,
            batch_size=BATCH,
            devices=devices,
            validated=VALIDATED,
            bf16=bf16,
        )
    kinds = sorted({type(part).__name__ for part in module.modules() if "BatchNorm" in type(part).__name__})
    texts = [str(warning.message) for warning in said]
    return {"rates": rates, "history": history, "batchnorm": kinds, "warnings": texts}


if __name__ == "__main__":
    out = Path(sys.argv[1])
    with (
        mock.patch.object(fit, "synchronizes_batchnorm", return_value=True),
        mock.patch.object(DistributedDataParallel, "_passing_sync_batchnorm_handle"),  # which refuses CPUs
    ):
        devices = int(os.environ["WORLD_SIZE"])
        found = train(out / "state", devices=devices)
        found["warnings"] += train(out / "bf16", devices=devices, epochs=1, bf16=True)["warnings"]
    (out / f"{os.environ['RANK']}.json").write_text(json.dumps(found))
