"""The recognizer, on one page:

    clip_BCTHW ─ view ─ backbone ─ features_BDTHW ─ mean over H W ─ tokens_BTD
                                                     tokens_BTD ─ head ─ vector_BD ─ classifier ─ logits_BK

With a multi-representation module (section 4.4), which looks at the same features averaged over time:

    features_BDTHW ─ mean over T ─ map_BDHW ─ mran ─ its logits_BK ─┬─ fusion ─ logits_BK
                                            classifier's logits_BK ─┘

B batch, C colour and flow, T frames (then time steps), H W pixels, D feature width, K classes.
"""

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from darkaction.models.heads.bert import Bert
from darkaction.models.heads.mran import MultiRepresentation
from darkaction.models.settings import Normalization
from darkaction.models.views import View


class Backbone(Protocol):
    """What turns clips into features: `width` channels of them at each time step and place."""

    width: int

    def __call__(self, clip_BCTHW: Tensor) -> Tensor:
        """(B, C, T, H, W), normalised -> features_BDTHW; a network that ends in one vector gives (B, D, 1, 1, 1)."""


def channels_last(network: nn.Module) -> None:
    """Lays the weights of 3-D convolutions out channels last, in place: faster on CPUs and in bfloat16 on GPUs."""
    for parameter in network.parameters():
        if parameter.dim() == 5:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)


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
    """Section 3.4: the tokens, normalised, through BERT; its CLS vector, with dropout, is the result.

    Args:
        normalize: the paper says "normalized in the time domain" (section 4.3). token: the D features of each time step
            have length 1, as the published code computes; time: the T values of each feature have length 1; none:
            what the published code feeds.
        dropout: of the CLS vector.
    """

    def __init__(self, bert: Bert, *, normalize: Normalization, dropout: float) -> None:
        super().__init__()
        self.bert = bert
        self.normalize = normalize
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens_BTD: Tensor) -> Tensor:
        """(B, T, D) -> (B, D)."""
        if self.normalize != "none":
            axis = 2 if self.normalize == "token" else 1
            tokens_BTD = functional.normalize(tokens_BTD, dim=axis)  # with an epsilon: zeros stay zeros
        result: Tensor = self.dropout(self.bert(tokens_BTD)[:, 0])
        return result


class Recognizer(nn.Module):
    """Backbone, spatial mean, temporal head, linear classifier; with `mran` a second opinion of the same features.

    Args:
        views: of each clip that `view` gives, one batch after the other; the features of all follow each other in time.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: AverageHead | BertHead,
        *,
        view: View,
        views: int,
        num_classes: int,
        mran: MultiRepresentation | None,
    ) -> None:
        super().__init__()
        self.view = view
        self.views = views
        self.backbone = backbone
        self.head = head
        self.classifier = nn.Linear(backbone.width, num_classes)
        nn.init.xavier_uniform_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)
        self.mran = mran
        if mran is not None:
            self.fusion = nn.Linear(2 * num_classes, num_classes)
            with torch.no_grad():  # begins as the mean of both opinions
                self.fusion.weight.copy_(torch.eye(num_classes).repeat(1, 2) / 2)
                self.fusion.bias.zero_()

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """(B, C, T, H, W) uint8, or float in [0, 1], RGB and perhaps flow -> (B, K) logits. Blank frames are
        black."""
        return self.with_representations(clip_BCTHW)[0]

    def with_representations(self, clip_BCTHW: Tensor) -> tuple[Tensor, list[Tensor]]:
        """As `forward`, and the representations of `mran`, which has none where there is no such module."""
        if clip_BCTHW.dtype == torch.uint8:
            clip_BCTHW = clip_BCTHW.float() / 255
        features_BDTHW = self.backbone(self.view(clip_BCTHW))
        if self.views > 1:
            features_BDTHW = torch.cat(features_BDTHW.chunk(self.views), dim=2)
        # A mean over the axes, not AvgPool3d, whose backward pass is not deterministic on GPUs.
        tokens_BTD = features_BDTHW.mean(dim=(3, 4)).transpose(1, 2)
        logits_BK: Tensor = self.classifier(self.head(tokens_BTD))
        if self.mran is None:
            return logits_BK, []
        second_BK, representations = self.mran(features_BDTHW.mean(2))
        return self.fusion(torch.cat([logits_BK, second_BK], dim=1)), representations
