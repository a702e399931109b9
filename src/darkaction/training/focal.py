"""Focal loss (equation 13; Lin et al. 2017), in its softmax form."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class FocalLoss(nn.Module):
    """FL(p_t) = -alpha_t (1 - p_t)^gamma log(p_t), mean over the samples.

    Args:
        gamma: focus; 0 is (weighted) cross entropy.
        alpha_K: weight of each class, or None for 1 each.
    """

    alpha_K: Tensor | None

    def __init__(self, *, gamma: float, alpha_K: Tensor | None) -> None:
        super().__init__()
        self.gamma = gamma
        self.register_buffer("alpha_K", alpha_K)

    def forward(self, logits_BK: Tensor, labels_B: Tensor) -> Tensor:
        """(B, K) logits and (B,) class numbers -> scalar."""
        return self.per_sample(logits_BK, labels_B).mean()

    def per_sample(self, logits_BK: Tensor, labels_B: Tensor) -> Tensor:
        """(B,) losses."""
        log_p_BK = functional.log_softmax(logits_BK, dim=-1)
        log_pt_B = log_p_BK.gather(1, labels_B[:, None]).squeeze(1)
        loss_B = -log_pt_B
        if self.gamma > 0:
            # 1 - p_t from log p_t without cancellation; the floor keeps the gradient of the power finite at p_t = 1.
            loss_B = loss_B * (-torch.expm1(log_pt_B)).clamp_min(1e-12) ** self.gamma
        return loss_B if self.alpha_K is None else loss_B * self.alpha_K[labels_B]


def class_weights(alpha: float | list[float] | str | None, *, labels: list[int], num_classes: int) -> Tensor | None:
    """alpha_K of the setting `focal.alpha`: None, one number for all, one for each, or `balanced`: inverse to the
    number of training clips of the class, with mean 1 over the clips."""
    if alpha is None:
        return None
    if alpha == "balanced":
        counts_K = torch.bincount(torch.tensor(labels), minlength=num_classes).float()
        return len(labels) / (num_classes * counts_K.clamp_min(1))
    if isinstance(alpha, list):
        return torch.tensor(alpha)
    return torch.full((num_classes,), float(alpha))
