"""Adaptation between two domains (section 4.4, table 4): MRAN's loss, and the training that uses it.

    loss = focal loss of both domains + weight x strength(epoch) x sum over representations of cmmd

Zhu et al. 2019, "Multi-representation adaptation network for cross-domain image classification", in the form of its
published code, which differs from its equation 4: classes weigh by their clips, kernels are summed, and the bandwidth
is a mean of distances where the text says median.

B clips of each domain in a batch, F width of a representation, K classes.
"""

import math
from typing import Any

import torch
from torch import Tensor

from darkaction.training.module import RecognizerModule, right

KERNELS = 5
"""Gaussians of bandwidths 1, 2, 4, 8, 16 times the smallest."""


def cmmd(source_BF: Tensor, target_BF: Tensor, source_label_B: Tensor, target_label_B: Tensor) -> Tensor:
    """Conditional maximum mean discrepancy: how far the classes of one domain lie from the same classes of the other.

        1 / B^2  sum over classes  || sum of the source clips' features - sum of the target clips' features ||^2

    in the space of a sum of Gaussian kernels, whose bandwidths go by the mean squared distance of the batch and take no
    part in the gradient.

    Args:
        source_BF, target_BF: representations, as many of each.
        source_label_B, target_label_B: class numbers.
    """
    count = len(source_BF)
    kernel_2B2B = _kernels(torch.cat([source_BF, target_BF]))
    same_class_2B2B = torch.cat([source_label_B, target_label_B])
    same_class_2B2B = (same_class_2B2B[:, None] == same_class_2B2B[None, :]).to(kernel_2B2B.dtype)
    sign_2B = torch.ones(2 * count, dtype=kernel_2B2B.dtype, device=kernel_2B2B.device)
    sign_2B[count:] = -1
    return (sign_2B[:, None] * sign_2B[None, :] * same_class_2B2B * kernel_2B2B).sum() / count**2


def _kernels(x_NF: Tensor) -> Tensor:
    """Sum of the Gaussian kernels of all pairs, (N, N)."""
    distance_NN = (x_NF[:, None] - x_NF[None, :]).square().sum(-1)
    pairs = len(x_NF) ** 2 - len(x_NF)
    # Alike clips have no distance at all; the smallest float keeps the quotient finite.
    smallest = (distance_NN.detach().sum() / pairs / 2 ** (KERNELS // 2)).clamp_min(torch.finfo(x_NF.dtype).tiny)
    return torch.stack([(-distance_NN / (smallest * 2**power)).exp() for power in range(KERNELS)]).sum(0)


def strength(epoch: int, epochs: int) -> float:
    """From 0 to almost 1 over the training: features mean little at its beginning (section 3.4 of Zhu et al.)."""
    return 2 / (1 + math.exp(-10 * epoch / epochs)) - 1


class AdaptationModule(RecognizerModule):
    """Training on two domains at once; other arguments as RecognizerModule.

    Args:
        target_labels: learn from the target's labels too (the paper has them); else its classes are what the network
            predicts, and the classification loss is that of the source domain alone.
        weight: of the discrepancy.
        epochs: of the whole training.
    """

    def __init__(self, *arguments: Any, target_labels: bool, weight: float, epochs: int, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.target_labels = target_labels
        self.weight = weight
        self.epochs = epochs

    def training_step(self, batch: tuple[Tensor, Tensor], batch_number: int) -> Tensor:
        """Loss of one batch, whose first half is of the source domain and second half of the target (see
        PairedSampler). The halves pass one after the other, so that BatchNorm sees one domain at a time."""
        clip_BCTHW, label_B = batch
        half = len(label_B) // 2
        passes = [self.recognizer.with_representations(part_BCTHW) for part_BCTHW in clip_BCTHW.split(half)]
        (source_BK, source), (target_BK, target) = ((logits.float(), features) for logits, features in passes)
        source_label_B, label_of_target_B = label_B.split(half)
        target_label_B = label_of_target_B if self.target_labels else target_BK.detach().argmax(-1)
        classification = self.loss(source_BK, source_label_B)
        if self.target_labels:
            classification = (classification + self.loss(target_BK, target_label_B)) / 2
        discrepancy = torch.stack(
            [
                cmmd(first_BF.float(), second_BF.float(), source_label_B, target_label_B)
                for first_BF, second_BF in zip(source, target, strict=True)
            ]
        ).sum()
        loss: Tensor = classification + self.weight * strength(self.current_epoch, self.epochs) * discrepancy
        accuracy = right(torch.cat([source_BK, target_BK]), label_B)
        for name, value in (("train_loss", loss), ("train_discrepancy", discrepancy), ("train_accuracy", accuracy)):
            self._log_mean(name, value, len(label_B))
        return loss
