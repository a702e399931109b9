"""EfficientNet-B0 on every frame by itself: time is left to the head.

    clip_BCTHW ── frames into the batch ── stem, seven stages, 1x1 ── frames out of it ── features_BDTHW

Tan & Le 2019, "EfficientNet: Rethinking model scaling for convolutional neural networks", table 1. torchvision's class
and key names, so that its ImageNet weights load strictly without their classifier.

B batch, C colour, T frames, H W pixels, D feature width.
"""

from torch import Tensor, nn
from torchvision.models.efficientnet import EfficientNet, MBConvConfig

STAGES = (
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)
"""Expansion, kernel, stride, inputs, outputs and blocks of each stage."""


class EfficientNetFrames(EfficientNet):  # type: ignore[misc]
    """EfficientNet-B0 without its pooling and classifier.

    Args:
        in_channels: C; 3 is the published one.
        width, depth: times the published channels (torchvision rounds them to a multiple of 8, down by a tenth at most)
            and blocks per stage (rounded up).
    """

    def __init__(self, *, in_channels: int, width: float, depth: float) -> None:
        stages = [MBConvConfig(*stage, width_mult=width, depth_mult=depth) for stage in STAGES]
        super().__init__(stages, dropout=0.0, stochastic_depth_prob=0.2, num_classes=1)
        if in_channels != 3:
            stem = nn.Conv2d(in_channels, stages[0].input_channels, 3, stride=2, padding=1, bias=False)
            nn.init.kaiming_normal_(stem.weight, mode="fan_out")
            self.features[0][0] = stem
        self.width: int = self.features[-1][0].out_channels
        self.classifier = nn.Identity()

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """(B, C, T, H, W) -> features_BDTHW with H and W divided by 32, rounded up."""
        frames_NCHW = clip_BCTHW.transpose(1, 2).flatten(0, 1)
        features_NDHW: Tensor = self.features(frames_NCHW)
        features_BDTHW: Tensor = features_NDHW.unflatten(0, (len(clip_BCTHW), -1)).transpose(1, 2)
        return features_BDTHW
