"""I3D: Inception-v1 with every filter inflated into time.

    clip_BCTHW ── 7x7x7 stem ── 1x1x1, 3x3x3 ── 2 inception blocks ── 5 inception blocks ── 2 ── features_BDTHW
                           pool           pool                    pool                  pool

Carreira & Zisserman 2017, "Quo vadis, action recognition? A new model and the Kinetics dataset", figure 3. Padding is
that of the published TensorFlow network (SAME: sizes divided by the stride round up, an odd rest is padded behind).

B batch, C colour, T frames, H W pixels, D feature width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from darkaction.models.backbones.resnet3d import scaled

STAGES = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)
"""Channels of each inception block between the pools: branch 0; branch 1 before and after its 3x3x3; branch 2 likewise;
branch 3 (Szegedy et al. 2015, "Going deeper with convolutions", table 1)."""

Size = tuple[int, int, int]


def pad_same(x_BDTHW: Tensor, kernel: Size, stride: Size) -> Tensor:
    """Pads each axis so that a window of `kernel` fits as often as the axis divided by `stride`, rounded up. Zeros
    serve max pools too: what they pool has come through a ReLU."""
    pads: list[int] = []
    for size, window, step in zip(x_BDTHW.shape[2:], kernel, stride, strict=True):
        total = max(0, (-(-size // step) - 1) * step + window - size)
        pads = [total // 2, total - total // 2, *pads]  # functional.pad takes the last axis first
    return functional.pad(x_BDTHW, pads)


class ConvUnit(nn.Module):
    """Convolution, BatchNorm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = (kernel, kernel, kernel), (stride, stride, stride)
        self.conv = nn.Conv3d(inputs, outputs, self.kernel, stride=self.stride, bias=False)
        self.bn = nn.BatchNorm3d(outputs, eps=1e-3)

    def forward(self, x_BDTHW: Tensor) -> Tensor:
        """(B, inputs, T, H, W) -> (B, outputs, T / stride, H / stride, W / stride), rounded up."""
        return functional.relu(self.bn(self.conv(pad_same(x_BDTHW, self.kernel, self.stride))))


class Pool(nn.Module):
    """Max pool."""

    def __init__(self, kernel: Size, *, stride: Size) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x_BDTHW: Tensor) -> Tensor:
        """Each axis divided by its stride, rounded up."""
        return functional.max_pool3d(pad_same(x_BDTHW, self.kernel, self.stride), self.kernel, self.stride)


class Inception(nn.Module):
    """Four branches side by side: 1x1x1; 1x1x1 and 3x3x3, twice; pool and 1x1x1."""

    def __init__(self, inputs: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        b0, b1_inner, b1, b2_inner, b2, b3 = widths
        self.branches = nn.ModuleList(
            [
                ConvUnit(inputs, b0, 1, stride=1),
                nn.Sequential(ConvUnit(inputs, b1_inner, 1, stride=1), ConvUnit(b1_inner, b1, 3, stride=1)),
                nn.Sequential(ConvUnit(inputs, b2_inner, 1, stride=1), ConvUnit(b2_inner, b2, 3, stride=1)),
                nn.Sequential(Pool((3, 3, 3), stride=(1, 1, 1)), ConvUnit(inputs, b3, 1, stride=1)),
            ]
        )

    def forward(self, x_BDTHW: Tensor) -> Tensor:
        """(B, inputs, T, H, W) -> (B, outputs, T, H, W)."""
        return torch.cat([branch(x_BDTHW) for branch in self.branches], dim=1)


class I3D(nn.Module):
    """I3D up to Mixed_5c.

    Args:
        in_channels: C; 3 is the published one.
        width: times the published channels.
    """

    def __init__(self, *, in_channels: int, width: float) -> None:
        super().__init__()
        stem, outputs = (scaled(channels, width, multiple=8) for channels in (64, 192))
        layers: list[nn.Module] = [
            ConvUnit(in_channels, stem, 7, stride=2),
            Pool((1, 3, 3), stride=(1, 2, 2)),
            ConvUnit(stem, stem, 1, stride=1),
            ConvUnit(stem, outputs, 3, stride=1),
        ]
        pools = (
            Pool((1, 3, 3), stride=(1, 2, 2)),
            Pool((3, 3, 3), stride=(2, 2, 2)),
            Pool((2, 2, 2), stride=(2, 2, 2)),
        )
        for pool, stage in zip(pools, STAGES, strict=True):
            layers.append(pool)
            for published in stage:
                widths = tuple(scaled(channels, width, multiple=8) for channels in published)
                layers.append(Inception(outputs, widths))
                outputs = widths[0] + widths[2] + widths[4] + widths[5]
        self.features = nn.Sequential(*layers)
        self.width = outputs
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """(B, C, T, H, W) -> features_BDTHW with T divided by 8, H and W by 32, rounded up."""
        features: Tensor = self.features(clip_BCTHW)
        return features
