"""3-D SqueezeNet: fire modules, which squeeze the channels before they expand them.

    clip_BCTHW ── 3x3x3 stem ── fire 2, 3 ── fire 4, 5 ── fire 6, 7 ── fire 8, 9 ── features_BDTHW
                             pool         pool         pool         pool (before each pair)

Köpüklü et al. 2019, "Resource efficient 3D convolutional neural networks". The second fire module of
each pair has a shortcut, and every convolution a BatchNorm.

B batch, C colour, T frames, H W pixels, D feature width.
"""

import torch
from torch import Tensor, nn

from darkaction.models.backbones.resnet3d import scaled

STEM = 64
PAIRS = ((16, 128), (32, 256), (48, 384), (64, 512))
"""Squeezed and expanded channels of each pair of fire modules."""


def conv_bn(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """A convolution that keeps the size, and BatchNorm."""
    return nn.Sequential(nn.Conv3d(inputs, outputs, kernel, padding=kernel // 2), nn.BatchNorm3d(outputs))


class Fire(nn.Module):
    """1x1x1 to few channels, then 1x1x1 and 3x3x3 side by side, each to half of the outputs."""

    def __init__(self, inputs: int, squeezed: int, outputs: int, *, shortcut: bool) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.relu = nn.ReLU(inplace=True)
        self.squeeze = conv_bn(inputs, squeezed, 1)
        self.expand1 = conv_bn(squeezed, outputs // 2, 1)
        self.expand3 = conv_bn(squeezed, outputs // 2, 3)

    def forward(self, x_BDTHW: Tensor) -> Tensor:
        """(B, inputs, T, H, W) -> (B, outputs, T, H, W)."""
        squeezed = self.relu(self.squeeze(x_BDTHW))
        expanded = torch.cat([self.expand1(squeezed), self.expand3(squeezed)], dim=1)
        result: Tensor = self.relu(expanded + x_BDTHW if self.shortcut else expanded)
        return result


class SqueezeNet3D(nn.Module):
    """3-D SqueezeNet without its classifier, which is a 1x1x1 convolution and a mean.

    Args:
        in_channels: C; 3 is the published one.
        width: times the published channels.
    """

    def __init__(self, *, in_channels: int, width: float) -> None:
        super().__init__()
        inputs = scaled(STEM, width, multiple=8)
        layers: list[nn.Module] = [
            nn.Conv3d(in_channels, inputs, 3, stride=(1, 2, 2), padding=1),
            nn.BatchNorm3d(inputs),
            nn.ReLU(inplace=True),
        ]
        for squeezed, expanded in PAIRS:
            middle, outputs = scaled(squeezed, width, multiple=8), scaled(expanded, width, multiple=8)
            layers += [
                nn.MaxPool3d(3, stride=2, padding=1),
                Fire(inputs, middle, outputs, shortcut=False),
                Fire(outputs, middle, outputs, shortcut=True),
            ]
            inputs = outputs
        self.features = nn.Sequential(*layers)
        self.width = inputs
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """(B, C, T, H, W) -> features_BDTHW with T divided by 16, H and W by 32, rounded up."""
        features: Tensor = self.features(clip_BCTHW)
        return features
