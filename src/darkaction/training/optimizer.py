"""Ranger and the One Cycle schedule (section 4.3)."""

from collections.abc import Iterable

from pytorch_optimizer import Ranger
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR


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
