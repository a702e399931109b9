"""3-D ShuffleNet (version 1, 3 groups): cheap 1x1x1 convolutions in groups, whose channels are shuffled between them.

    clip_BCTHW ── 3x3x3 stem, max pool ── stage 2 ── stage 3 ── stage 4 ── features_BDTHW

Köpüklü et al. 2019, "Resource efficient 3D convolutional neural networks", after Zhang et al. 2018,
"ShuffleNet", section 3.2. Of the published widths (0.5x to 2.0x) the widest is taken here as the network itself, so
`width=1.0` is their 2.0x and `width=0.5` their 1.0x.

B batch, C colour, T frames, H W pixels, D feature width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from darkaction.models.backbones.resnet3d import repeats, scaled

GROUPS = 3
STEM = 48
UNGROUPED = 24
"""Inputs (of the 1.0x stem) that are too few for groups, which the released code tells by their number."""

STAGES = ((4, 480), (8, 960), (4, 1920))
"""Units and channels of each stage at 2.0x."""


class Shuffle(nn.Module):
    """Deals the channels of each group out to all groups."""

    def forward(self, x_BDTHW: Tensor) -> Tensor:
        """(B, D, T, H, W) -> same shape."""
        result: Tensor = x_BDTHW.unflatten(1, (GROUPS, -1)).transpose(1, 2).flatten(1, 2)
        return result


class Pool(nn.Module):
    """2x3x3 average with stride 2. Space is padded here, since torch's pool refuses sizes below its kernel even where
    its own padding would fill them up; an odd last frame is averaged with itself."""

    def forward(self, x_BDTHW: Tensor) -> Tensor:
        """(B, D, T, H, W) -> (B, D, T / 2, H / 2, W / 2), rounded up."""
        if x_BDTHW.shape[2] % 2 == 1:
            x_BDTHW = torch.cat([x_BDTHW, x_BDTHW[:, :, -1:]], dim=2)
        return functional.avg_pool3d(functional.pad(x_BDTHW, (1, 1, 1, 1)), (2, 3, 3), stride=2)


class Unit(nn.Module):
    """1x1x1 in groups, shuffle, 3x3x3 on each channel, 1x1x1 in groups. With stride, the shortcut is an average pool,
    and its channels are appended instead of added."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        inner, added = outputs // 4, outputs - inputs if stride == 2 else outputs
        self.branch = nn.Sequential(
            nn.Conv3d(inputs, inner, 1, groups=1 if inputs == UNGROUPED else GROUPS, bias=False),
            nn.BatchNorm3d(inner),
            nn.ReLU(inplace=True),
            Shuffle(),
            nn.Conv3d(inner, inner, 3, stride=stride, padding=1, groups=inner, bias=False),
            nn.BatchNorm3d(inner),
            nn.Conv3d(inner, added, 1, groups=GROUPS, bias=False),
            nn.BatchNorm3d(added),
        )
        self.relu = nn.ReLU(inplace=True)
        self.pool = Pool() if stride == 2 else None

    def forward(self, x_BDTHW: Tensor) -> Tensor:
        """(B, inputs, T, H, W) -> (B, outputs, T / stride, H / stride, W / stride)."""
        branch = self.branch(x_BDTHW)
        both = branch + x_BDTHW if self.pool is None else torch.cat([branch, self.pool(x_BDTHW)], dim=1)
        result: Tensor = self.relu(both)
        return result


class ShuffleNet3D(nn.Module):
    """3-D ShuffleNet without its pooling and classifier.

    Args:
        in_channels: C; 3 is the published one.
        width, depth: times the channels of the 2.0x network (to a multiple of 24: of 8, and of the groups in every
            convolution) and units per stage (rounded up).
    """

    def __init__(self, *, in_channels: int, width: float, depth: float) -> None:
        super().__init__()
        inputs = scaled(STEM, width, multiple=8 * GROUPS)
        layers: list[nn.Module] = [
            nn.Conv3d(in_channels, inputs, 3, stride=(1, 2, 2), padding=1, bias=False),
            nn.BatchNorm3d(inputs),
            nn.ReLU(inplace=True),
            nn.MaxPool3d(3, stride=2, padding=1),
        ]
        for units, channels in STAGES:
            outputs = scaled(channels, width, multiple=8 * GROUPS)
            for unit in range(repeats(units, depth)):
                layers.append(Unit(inputs, outputs, stride=2 if unit == 0 else 1))
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
