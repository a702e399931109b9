"""Ranger and the One Cycle schedule (section 4.3)."""

from collections.abc import Iterable, Iterator
from typing import Any

from pytorch_optimizer import Ranger
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from darkaction.models.recognizer import Recognizer

Group = dict[str, Any]
"""Parameters with a learning rate of their own: {"params": [...], "lr": ...}."""


def layer_groups(recognizer: Recognizer, *, max_lr: float, input_rate: float) -> list[Group]:
    """The parameters with their learning rates: `max_lr` for what follows the backbone, and less the nearer a block of
    the backbone is to its input, where it is max_lr x input_rate; geometrically between.

    With starting weights, what the first blocks know holds for many tasks, while the head has all to learn. A block is
    a part of the backbone, or of a sequence in it, in the order in which they are defined: every architecture has some.
    The first group is the head's. With one rate for all there is one group, in the network's own order: the norm that
    gradients are clipped to is summed in the order of the groups, and small networks end elsewhere for its rounding.
    """
    if input_rate == 1.0:
        return [{"params": list(recognizer.parameters()), "lr": max_lr}]
    backbone = recognizer.backbone
    assert isinstance(backbone, nn.Module)
    blocks = [parameters for block in _blocks(backbone) if (parameters := list(block.parameters()))]
    in_blocks = {parameter for block in blocks for parameter in block}
    blocks[0] += [parameter for parameter in backbone.parameters() if parameter not in in_blocks]
    in_backbone = set(backbone.parameters())
    groups = [{"params": [each for each in recognizer.parameters() if each not in in_backbone], "lr": max_lr}]
    for number, block in enumerate(blocks):
        groups.append({"params": block, "lr": max_lr * input_rate ** (1 - number / len(blocks))})
    return groups


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The parts of a network, those of its sequences one by one; a network of one part is looked into."""
    children = list(module.children())
    for child in children:
        if isinstance(child, nn.Sequential | nn.ModuleList) or (len(children) == 1 and list(child.children())):
            yield from _blocks(child)
        else:
            yield child


def make_ranger(parameters: Iterable[nn.Parameter] | list[Group], *, lr: float, weight_decay: float) -> Ranger:
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


def one_cycle(optimizer: Ranger, *, max_lr: float | list[float], total_steps: int, warmup: float) -> OneCycleLR:
    """Learning rate from max_lr / 25 up to max_lr over the first `warmup` of the steps, then down to about zero, along
    cosines. Ranger's momentum stays as it is.

    Args:
        max_lr: of all parameters, or of each group of the optimiser.
    """
    if warmup * total_steps == 1:  # a rise of no steps, by whose length OneCycleLR divides; it begins at the peak
        warmup *= 1 - 1e-6
    return OneCycleLR(optimizer, max_lr=max_lr, total_steps=total_steps, pct_start=warmup, cycle_momentum=False)
