"""The recognizer, on one page:

    clip_BCTHW ─ backbone ─ features_BDTHW ─ mean over H W ─ tokens_BTD ─ head ─ vector_BD ─ classifier ─ logits_BK

B batch, C colour, T frames (then time steps), H W pixels, D feature width, K classes.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from darkaction.models.bert import Bert
from darkaction.models.r2plus1d import R2Plus1D

PIXEL_MEAN = (0.43216, 0.394666, 0.37645)
PIXEL_STD = (0.22803, 0.22145, 0.216989)
"""Statistics of Kinetics frames, RGB in [0, 1], with which the published weights were trained."""


class AverageHead(nn.Module):
    """Temporal global average pooling: the order of time steps is lost."""

    def __init__(self, *, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens_BTD: Tensor) -> Tensor:
        """(B, T, D) -> (B, D)."""
        result: Tensor = self.dropout(tokens_BTD.mean(1))
        return result


class BertHead(nn.Module):
    """Section 3.4: the tokens, L2-normalised, through BERT; its CLS vector, with dropout, is the result.

    The published code computes the normalised tokens but feeds the others: `normalize_tokens=False`.
    """

    def __init__(self, bert: Bert, *, normalize_tokens: bool, dropout: float) -> None:
        super().__init__()
        self.bert = bert
        self.normalize_tokens = normalize_tokens
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens_BTD: Tensor) -> Tensor:
        """(B, T, D) -> (B, D)."""
        if self.normalize_tokens:
            tokens_BTD = functional.normalize(tokens_BTD, dim=-1)  # with an epsilon: a zero token stays zero
        result: Tensor = self.dropout(self.bert(tokens_BTD)[:, 0])
        return result


class Recognizer(nn.Module):
    """Backbone, spatial mean, temporal head, linear classifier."""

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, backbone: R2Plus1D, head: AverageHead | BertHead, *, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.classifier = nn.Linear(backbone.width, num_classes)
        nn.init.xavier_uniform_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN).view(1, 3, 1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(PIXEL_STD).view(1, 3, 1, 1, 1), persistent=False)

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """(B, 3, T, H, W) uint8 RGB or float in [0, 1] -> (B, K) logits. Blank frames are black, so they are
        normalised like every other frame."""
        if clip_BCTHW.dtype == torch.uint8:
            clip_BCTHW = clip_BCTHW.float() / 255
        features_BDTHW = self.backbone((clip_BCTHW - self.pixel_mean) / self.pixel_std)
        # A mean over the axes, not AvgPool3d, whose backward pass is not deterministic on GPUs.
        tokens_BTD = features_BDTHW.mean(dim=(3, 4)).transpose(1, 2)
        logits_BK: Tensor = self.classifier(self.head(tokens_BTD))
        return logits_BK


def num_tokens(num_frames: int, temporal_strides: list[int]) -> int:
    """Time steps of the backbone's features: each strided stage rounds up."""
    for stride in temporal_strides:
        num_frames = -(-num_frames // stride)
    return num_frames
