"""3-D residual networks: every 2-D convolution of a ResNet becomes a 3x3x3 one.

    clip_BCTHW ── 7x7x7 stem, max pool ── stage 1 ── stage 2 ── stage 3 ── stage 4 ── features_BDTHW

Hara et al. 2018, "Can spatiotemporal 3D CNNs retrace the history of 2D CNNs and ImageNet?", table 1. Module names are
those of their released code.

B batch, C colour, T frames, H W pixels, D feature width.
"""

import math
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional


def scaled(channels: int, width: float, *, multiple: int) -> int:
    """A published number of channels times `width`, rounded to a multiple, at least that multiple."""
    return max(multiple, round(channels * width / multiple) * multiple)


def repeats(blocks: int, depth: float) -> int:
    """A published number of blocks times `depth`, rounded up."""
    return max(1, math.ceil(blocks * depth))


@dataclass(frozen=True)
class Layout:
    """Blocks per stage; channels inside and after a stage's blocks; groups of the 3x3x3 convolution in a bottleneck;
    whether a shortcut that changes shape is a 1x1x1 convolution (type B) or drops pixels and appends zero channels
    (type A)."""

    blocks: tuple[int, int, int, int]
    inner: tuple[int, int, int, int]
    outputs: tuple[int, int, int, int]
    bottleneck: bool
    cardinality: int
    projection: bool


NARROW, WIDE = (64, 128, 256, 512), (256, 512, 1024, 2048)

PUBLISHED = {
    "resnet18": Layout((2, 2, 2, 2), NARROW, NARROW, bottleneck=False, cardinality=1, projection=False),
    "resnet50": Layout((3, 4, 6, 3), NARROW, WIDE, bottleneck=True, cardinality=1, projection=True),
    "resnet101": Layout((3, 4, 23, 3), NARROW, WIDE, bottleneck=True, cardinality=1, projection=True),
    "resnext101": Layout((3, 4, 23, 3), (128, 256, 512, 1024), WIDE, bottleneck=True, cardinality=32, projection=True),
}
"""Table 1, with the shortcuts of the released weights. They reproduce the counts printed for 18 layers (33.24 M) and
ResNeXt (48.34 M, both with 400 classes)."""


class ZeroPad(nn.Module):
    """The shortcut without parameters: every stride-th position, and zeros for the channels that are missing."""

    def __init__(self, missing: int, *, stride: int) -> None:
        super().__init__()
        self.missing = missing
        self.stride = stride

    def forward(self, x_BDTHW: Tensor) -> Tensor:
        """(B, D, T, H, W) -> (B, D + missing, T / stride, H / stride, W / stride)."""
        kept = x_BDTHW[:, :, :: self.stride, :: self.stride, :: self.stride]
        return functional.pad(kept, (0, 0, 0, 0, 0, 0, 0, self.missing))


class Block(nn.Module):
    """What both blocks share: the shortcut and the sum."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, projection: bool) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if projection and (inputs != outputs or stride > 1):
            self.downsample = nn.Sequential(
                nn.Conv3d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm3d(outputs)
            )
        elif inputs != outputs or stride > 1:
            self.downsample = ZeroPad(outputs - inputs, stride=stride)

    def branch(self, x_BDTHW: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x_BDTHW: Tensor) -> Tensor:
        """(B, inputs, T, H, W) -> (B, outputs, T / stride, H / stride, W / stride)."""
        result: Tensor = self.relu(self.branch(x_BDTHW) + self.downsample(x_BDTHW))
        return result


class BasicBlock(Block):
    """Two 3x3x3 convolutions."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, projection: bool) -> None:
        super().__init__(inputs, outputs, stride=stride, projection=projection)
        self.conv1 = nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm3d(outputs)
        self.conv2 = nn.Conv3d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm3d(outputs)

    def branch(self, x_BDTHW: Tensor) -> Tensor:
        """As `forward`, without the shortcut."""
        result: Tensor = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x_BDTHW)))))
        return result


class Bottleneck(Block):
    """1x1x1, 3x3x3 (in groups: ResNeXt) and 1x1x1 convolutions; the middle one strides."""

    def __init__(
        self, inputs: int, inner: int, outputs: int, *, cardinality: int, stride: int, projection: bool
    ) -> None:
        super().__init__(inputs, outputs, stride=stride, projection=projection)
        self.conv1 = nn.Conv3d(inputs, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(inner)
        self.conv2 = nn.Conv3d(inner, inner, 3, stride=stride, padding=1, groups=cardinality, bias=False)
        self.bn2 = nn.BatchNorm3d(inner)
        self.conv3 = nn.Conv3d(inner, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm3d(outputs)

    def branch(self, x_BDTHW: Tensor) -> Tensor:
        """As `forward`, without the shortcut."""
        x_BDTHW = self.relu(self.bn1(self.conv1(x_BDTHW)))
        x_BDTHW = self.relu(self.bn2(self.conv2(x_BDTHW)))
        result: Tensor = self.bn3(self.conv3(x_BDTHW))
        return result


class ResNet3D(nn.Module):
    """A 3-D ResNet without its pooling and classifier.

    Args:
        name: a key of PUBLISHED.
        in_channels: C; 3 is the published one.
        width, depth: times the published channels (to a multiple of 8, inside ResNeXt's blocks of its 32 groups) and
            blocks per stage (rounded up).
    """

    def __init__(self, *, name: str, in_channels: int, width: float, depth: float) -> None:
        super().__init__()
        layout = PUBLISHED[name]
        stem = scaled(64, width, multiple=8)
        self.conv1 = nn.Conv3d(in_channels, stem, 7, stride=(1, 2, 2), padding=3, bias=False)
        self.bn1 = nn.BatchNorm3d(stem)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool3d(3, stride=2, padding=1)
        inputs = stem
        for number in range(4):
            inner = scaled(layout.inner[number], width, multiple=max(8, layout.cardinality))
            outputs = scaled(layout.outputs[number], width, multiple=8)
            blocks: list[Block] = []
            for _ in range(repeats(layout.blocks[number], depth)):
                stride = 2 if number > 0 and not blocks else 1
                if layout.bottleneck:
                    blocks.append(
                        Bottleneck(
                            inputs, inner, outputs,
                            cardinality=layout.cardinality, stride=stride, projection=layout.projection,
                        )
                    )  # fmt: skip
                else:
                    blocks.append(BasicBlock(inputs, outputs, stride=stride, projection=layout.projection))
                inputs = outputs
            self.add_module(f"layer{number + 1}", nn.Sequential(*blocks))
        self.width = inputs
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """(B, C, T, H, W) -> features_BDTHW with T divided by 16, H and W by 32, rounded up."""
        features: Tensor = self.maxpool(self.relu(self.bn1(self.conv1(clip_BCTHW))))
        for number in range(1, 5):
            features = self.get_submodule(f"layer{number}")(features)
        return features
