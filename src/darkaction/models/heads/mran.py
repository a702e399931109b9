"""The multi-representation module of MRAN: one feature map seen through four windows of different size.

    map_BDHW ─┬─ 1x1 ──────────── mean ─┐
              ├─ 1x1, 5x5 ─────── mean ─┼─ features_B288 ─ classifier ─ logits_BK
              ├─ 1x1, 3x3, 3x3 ── mean ─┤
              └─ pool, 1x1 ────── mean ─┘

Zhu et al. 2019, "Multi-representation adaptation network for cross-domain image classification", section 3.2. It stands
beside the temporal head; what brings the domains together is the loss in training/adaptation.py.

B batch, D feature width, H W places, K classes.
"""

import torch
from torch import Tensor, nn

BN_EPS = 1e-3
"""The published value."""

BRANCH_WIDTHS = (64, 64, 96, 64)
"""Of the four representations; 288 together."""


class ConvBnRelu(nn.Sequential):
    """Convolution without bias, BatchNorm, ReLU; the size stays."""

    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False),
            nn.BatchNorm2d(outputs, eps=BN_EPS),
            nn.ReLU(inplace=True),
        )


class MultiRepresentation(nn.Module):
    """Four branches and a classifier on what they say together."""

    def __init__(self, width: int, *, num_classes: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                ConvBnRelu(width, 64, 1),
                nn.Sequential(ConvBnRelu(width, 48, 1), ConvBnRelu(48, 64, 5)),
                nn.Sequential(ConvBnRelu(width, 64, 1), ConvBnRelu(64, 96, 3), ConvBnRelu(96, 96, 3)),
                nn.Sequential(nn.AvgPool2d(3, stride=1, padding=1), ConvBnRelu(width, 64, 1)),
            ]
        )
        self.classifier = nn.Linear(sum(BRANCH_WIDTHS), num_classes)

    def forward(self, map_BDHW: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(B, D, H, W) -> logits (B, K) and the four representations, (B, 64), (B, 64), (B, 96) and (B, 64)."""
        features = [branch(map_BDHW).mean(dim=(2, 3)) for branch in self.branches]
        return self.classifier(torch.cat(features, dim=1)), features
