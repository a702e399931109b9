"""The recognizer in training, as Lightning sees it; Ranger and the One Cycle schedule (section 4.3)."""

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_optimizer import Ranger
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.lr_scheduler import OneCycleLR

from darkaction.models.recognizer import Recognizer, channels_last
from darkaction.training.focal import FocalLoss
from darkaction.training.loader import NO_CLIP


class RecognizerModule(pl.LightningModule):
    """Forward, loss, optimiser and epoch metrics of one training.

    Args:
        max_lr, weight_decay, warmup: see params.yaml `optimizer`.
        seed: of dropout and masks.
        freeze_batchnorm: BatchNorm normalises with the statistics it has, and keeps them.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        loss: FocalLoss,
        *,
        max_lr: float,
        weight_decay: float,
        warmup: float,
        seed: int,
        freeze_batchnorm: bool = False,
    ) -> None:
        super().__init__()
        self.recognizer = recognizer
        channels_last(recognizer)
        plain_strides(recognizer)
        self.loss = loss
        self.max_lr = max_lr
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.seed = seed
        self.freeze_batchnorm = freeze_batchnorm
        self.train()  # Lightning takes modules as it finds them

    def train(self, mode: bool = True) -> Self:
        """As of any module; frozen BatchNorm stays as in evaluation."""
        super().train(mode)
        if self.freeze_batchnorm:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """(B, 3, T, H, W) uint8 -> (B, K) logits."""
        logits_BK: Tensor = self.recognizer(clip_BCTHW)
        return logits_BK

    def on_train_epoch_start(self) -> None:
        """Dropout and masks depend on (seed, epoch, process) alone, so a resumed training repeats the whole one."""
        generator = np.random.SeedSequence([self.seed, self.current_epoch, self.global_rank])
        torch.manual_seed(int(generator.generate_state(1)[0]))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_number: int) -> Tensor:
        """Focal loss of one batch."""
        clip_BCTHW, label_B = batch
        logits_BK = self(clip_BCTHW).float()
        loss: Tensor = self.loss(logits_BK, label_B)
        self._log_mean("train_loss", loss, len(label_B))
        self._log_mean("train_accuracy", right(logits_BK, label_B), len(label_B))
        return loss

    def on_validation_epoch_start(self) -> None:
        """Sums of the focal loss, of right answers and of clips."""
        self._validation_3 = torch.zeros(3, device=self.device)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_number: int) -> None:
        """Adds a batch of validation clips to the sums; what has the class number NO_CLIP adds nothing."""
        clip_BCTHW, label_B = batch
        logits_BK = self(clip_BCTHW).float()
        counts_B = label_B != NO_CLIP
        loss_B = self.loss.per_sample(logits_BK, label_B.clamp_min(0)) * counts_B
        self._validation_3 += torch.stack([loss_B.sum(), (logits_BK.argmax(-1) == label_B).sum(), counts_B.sum()])

    def on_validation_epoch_end(self) -> None:
        """Means over the clips of all processes."""
        loss, hits, clips = self.trainer.strategy.reduce(self._validation_3, reduce_op="sum")
        for name, value in (("val_loss", loss / clips), ("val_accuracy", hits / clips)):
            self.log(name, value, prog_bar=True, sync_dist=self.trainer.world_size > 1)

    def _log_mean(self, name: str, value: Tensor, clips: int) -> None:
        """Adds the mean of a batch of so many clips to that of the epoch."""
        self.log(
            name,
            value,
            on_step=False,
            on_epoch=True,
            prog_bar=True,
            batch_size=clips,
            sync_dist=self.trainer.world_size > 1,
        )

    def configure_optimizers(self) -> Any:
        """Ranger with One Cycle, stepped every batch."""
        optimizer = make_ranger(self.recognizer.parameters(), lr=self.max_lr, weight_decay=self.weight_decay)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = one_cycle(optimizer, max_lr=self.max_lr, total_steps=steps, warmup=self.warmup)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def plain_strides(network: nn.Module) -> None:
    """Gives gradients of 1x1x1 kernels the strides of their weights. Along axes of length 1 strides mean nothing, and
    torch sets them as it likes; DistributedDataParallel copies each gradient whose strides are others, and warns."""
    for parameter in network.parameters():
        if parameter.dim() == 5 and parameter[0, 0].numel() == 1:
            parameter.register_hook(lambda gradient: gradient.flatten(1).contiguous().view(gradient.shape))


def right(logits_BK: Tensor, label_B: Tensor) -> Tensor:
    """Top-1 accuracy."""
    return (logits_BK.argmax(-1) == label_B).float().mean()


def make_ranger(parameters: Iterable[nn.Parameter], *, lr: float, weight_decay: float) -> Ranger:
    """RAdam + Lookahead (k=6, alpha=0.5) + gradient centralisation, with the published settings.

    `degenerated_to_sgd`: while RAdam's variance is not yet known (the first five steps) the published optimiser steps
    along the momentum; without the switch this one would step against it.
    """
    return Ranger(
        parameters,
        lr=lr,
        betas=(0.95, 0.999),
        alpha=0.5,
        k=6,
        eps=1e-5,
        weight_decay=weight_decay,
        degenerated_to_sgd=True,
    )


def one_cycle(optimizer: Ranger, *, max_lr: float, total_steps: int, warmup: float) -> OneCycleLR:
    """Learning rate from max_lr / 25 up to max_lr over the first `warmup` of the steps, then down to about zero, along
    cosines. Ranger's momentum stays as it is."""
    if warmup * total_steps == 1:  # a rise of no steps, by whose length OneCycleLR divides; it begins at the peak
        warmup *= 1 - 1e-6
    return OneCycleLR(optimizer, max_lr=max_lr, total_steps=total_steps, pct_start=warmup, cycle_momentum=False)
