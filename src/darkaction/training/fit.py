"""One training through Lightning, from fresh or given weights to the last epoch. A stopped one goes on where it was."""

import logging
import math
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.callbacks import Callback, EarlyStopping, TQDMProgressBar
from torch import Tensor
from torch.utils.data import DataLoader

from darkaction.core.errors import UserError
from darkaction.core.processes import is_first_process, launcher_of
from darkaction.training.checkpoints import BestWeights, CheckedIO, remove_states, resumable, saver
from darkaction.training.loader import EpochSampler, lost_worker_is_said
from darkaction.training.module import RecognizerModule

Batches = DataLoader[tuple[Tensor, int]]
Row = dict[str, float]

EXPECTED_WARNINGS = (
    ".*does not have many workers.*",  # how many loader processes there are is the user's setting
    ".*exists and is not empty.*",  # the checkpoint folder, which holds the fingerprint
    ".*have no `val_dataloader`.*",  # split.validation: none
    ".*LeafSpec.*",  # Lightning's own use of torch
    ".*in eval mode at the start of training.*",  # BatchNorm with train.freeze_batchnorm
)
"""Remarks of Lightning that tell the user nothing."""

SWITCHED_OFF: dict[str, Any] = {
    "logger": False,
    "use_distributed_sampler": False,
    "num_sanity_val_steps": 0,
    "enable_model_summary": False,
}
"""What Lightning does by itself and is done elsewhere here, or not at all."""


class DivergedError(UserError):
    """The loss is no number any more."""


class History(Callback):
    """Collects one row of metrics an epoch, the same for the same training, and hands it to `on_epoch` with the time it
    took; survives in the checkpoint."""

    def __init__(self, on_epoch: Callable[[int, Row], None], training: Batches) -> None:
        assert isinstance(training.sampler, EpochSampler)
        self.rows: list[Row] = []
        self._on_epoch = on_epoch
        self._order = training.sampler
        self._num_clips = len(training.dataset)  # type: ignore[arg-type]
        self._started = 0.0
        self._seconds = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._started = time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, *arguments: Any, **keywords: Any) -> None:
        self._seconds = time.monotonic() - self._started

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        row = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        row["learning_rate"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        if not math.isfinite(row["train_loss"]):
            raise DivergedError(
                f"the training diverged: loss {row['train_loss']} in epoch {trainer.current_epoch + 1}; "
                "lower optimizer.max_lr or set optimizer.grad_clip"
            )
        self.rows.append({"epoch": float(trainer.current_epoch), **row})
        rate = self._num_clips / max(self._seconds, 1e-9)
        self._on_epoch(trainer.current_epoch, row | {"seconds": self._seconds, "clips_per_second": rate})

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])
        # Processes that load clips are asked for the first batches before Lightning says which epoch it is.
        self._order.set_epoch(len(self.rows))


class SameState(Callback):
    """Ends a training whose processes found different states to go on from."""

    def __init__(self, state: Path | None) -> None:
        self.state = state

    def setup(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        first = trainer.strategy.broadcast(self.state)
        if not trainer.strategy.reduce_boolean_decision(first == self.state):
            raise UserError(
                f"the first process goes on from {first or 'no state'}, another one from something else: "
                "all machines need the project's folder on one file system"
            )


class EpochLines(Callback):
    """Progress where no terminal shows a bar: a line an epoch in the log, from the first process, with the time that
    the remaining epochs take at the mean pace of those since the start."""

    def __init__(self) -> None:
        self._started = 0.0
        self._first = 0

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._started, self._first = time.monotonic(), trainer.current_epoch

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        metrics = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        numbers = "  ".join(f"{name} {value:.3f}" for name, value in metrics.items())
        done, total = trainer.current_epoch + 1, trainer.max_epochs or 0
        remaining = (time.monotonic() - self._started) / (done - self._first) * (total - done)
        print(f"epoch {done}/{total}  {numbers}{f'  {for_people(remaining)} left' if done < total else ''}", flush=True)


def for_people(seconds: float) -> str:
    """The same in the largest unit of which there are two or more: 90 s, 12 min, 3 h."""
    for unit, name in ((3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"


class Patience(EarlyStopping):
    """Ends a training after so many epochs without a lower validation loss. The count is part of the state: one that
    goes on from its very end has no further epoch."""

    def __init__(self, epochs: int) -> None:
        super().__init__("val_loss", patience=epochs, mode="min")

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        trainer.should_stop = self.wait_count >= self.patience


def environment(processes: int) -> ClusterEnvironment:
    """Who starts the processes of a training of so many, and tells them of each other. By itself Lightning takes every
    task of Slurm for one of them."""
    launcher = launcher_of(processes)
    if launcher is None:
        return LightningEnvironment()
    return TorchElasticEnvironment() if launcher == "torchrun" else SLURMEnvironment(auto_requeue=False)


def synchronizes_batchnorm(processes: int) -> bool:
    """Whether BatchNorm's statistics are those of the batches of all processes. torch does that on GPUs only: on CPUs
    they are of each process' own clips, and those of the first one stay."""
    return processes > 1 and torch.cuda.is_available()


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """On what a training computes, and how exactly.

    Args:
        bf16: compute in bfloat16 where autocast allows it; weights stay as they are.
        devices, nodes: processes on each machine, and machines. The loaders share the batches between them.
        deterministic: refuse operations that give other results each time, or warn of them (on GPUs; a CPU has none).
            False: let cuDNN choose the fastest ones, and TF32.
    """

    bf16: bool
    devices: int
    nodes: int
    deterministic: bool | Literal["warn"]

    @property
    def processes(self) -> int:
        return self.devices * self.nodes

    def set_arithmetic(self) -> None:
        """Lets GPUs compute float32 as such, or in TF32, which has 10 of its 23 bits."""
        if torch.cuda.is_available():
            exact = self.deterministic is not False
            torch.set_float32_matmul_precision("highest" if exact else "high")
            torch.backends.cudnn.allow_tf32 = not exact

    def for_lightning(self) -> dict[str, Any]:
        """The same as arguments of Lightning's trainer."""
        return {
            "devices": self.devices,
            "num_nodes": self.nodes,
            "strategy": "ddp" if self.processes > 1 else "auto",
            "sync_batchnorm": synchronizes_batchnorm(self.processes),
            "precision": "bf16-mixed" if self.bf16 else "32-true",
            "deterministic": self.deterministic,
            "benchmark": self.deterministic is False,
        }


def fit(
    module: RecognizerModule,
    training: Batches,
    validation: Batches | None,
    *,
    epochs: int,
    max_steps: int | None,
    hardware: Hardware,
    grad_clip: float,
    keep: str,
    patience: int | None,
    checkpoints: Path,
    fingerprint: Mapping[str, Any],
    on_epoch: Callable[[int, Row], None],
) -> list[Row]:
    """Trains `module` in place and returns its history, one row an epoch.

    Args:
        max_steps: stop after so many optimiser steps; None: train to the end.
        keep: `last`, or `best` for the weights of the epoch with the highest validation accuracy.
        patience: epochs without a lower validation loss after which the training ends; None: it does not end early.
        checkpoints: folder for the states after each epoch. Resume order: the newest whole one there, when it was made
            with the same `fingerprint`; else the weights `module` came with. Removed when the training is complete.
        fingerprint: whatever decides the result, by names.
        on_epoch: called with the epoch and its metrics.
    """
    history = History(on_epoch, training)
    best = BestWeights() if keep == "best" and max_steps is None else None
    last = resumable(checkpoints, fingerprint, first=is_first_process(hardware.processes))
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    terminal = sys.stderr.isatty()
    hardware.set_arithmetic()
    trainer = pl.Trainer(
        max_epochs=epochs,
        max_steps=max_steps or -1,
        gradient_clip_val=grad_clip or None,
        callbacks=[
            SameState(last),
            history,
            *([] if best is None else [best]),
            *([] if patience is None else [Patience(patience)]),
            saver(checkpoints),
            TQDMProgressBar() if terminal else EpochLines(),
        ],
        plugins=[CheckedIO(), environment(hardware.processes)],
        # By itself Lightning adds a bar of Rich, whose thread wakes a hundred times a second, seen or not.
        enable_progress_bar=terminal,
        default_root_dir=checkpoints,
        **hardware.for_lightning(),
        **SWITCHED_OFF,
    )
    with warnings.catch_warnings(), lost_worker_is_said():
        for expected in EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message=expected)
        trainer.fit(module, training, validation, ckpt_path=last, weights_only=True)
    if best is not None:
        module.load_state_dict(best.weights)
    trainer.strategy.barrier()
    if trainer.is_global_zero:
        remove_states(checkpoints)
    return history.rows
