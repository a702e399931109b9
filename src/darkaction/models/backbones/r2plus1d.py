"""R(2+1)D: residual networks whose 3-D convolutions are a spatial one followed by a temporal one.

    clip_BCTHW ── stem ── stage 1 ── stage 2 ── stage 3 ── stage 4 ── features_BDTHW

Tran et al. 2018, "A closer look at spatiotemporal convolutions for action recognition". Key names and shapes are those
of the released IG-65M and Kinetics weights (34 layers), which load strictly; torchvision's R(2+1)D differs from them in
three mid widths and in the epsilon of BatchNorm.

B batch, C colour, T frames, H W pixels, D feature width.
"""

from torch import Tensor, nn
from torch.nn import functional


def mid_width(inputs: int, outputs: int) -> int:
    """Width between the spatial and the temporal part, so that both together have as many parameters as the 3x3x3
    convolution they replace (section 3.5 of Tran et al.)."""
    return (inputs * outputs * 27) // (inputs * 9 + 3 * outputs)


SMALL = 2**16
"""Values of a frame, channels x H x W, up to which a CPU computes a temporal convolution faster as a 2-D one."""


class TemporalConv(nn.Conv3d):
    """A 3x1x1 convolution. On a CPU, small ones are computed as 2-D ones over time and places: for the 3-D ones, torch
    falls back to code up to six times slower in fp32 with one thread. Large ones take up to twice as long as 2-D ones.
    `python benchmarks/step_speed.py` compares networks of both sizes."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__(inputs, outputs, (3, 1, 1), stride=(stride, 1, 1), padding=(1, 0, 0), bias=False)

    def forward(self, x_BDTHW: Tensor) -> Tensor:
        """(B, inputs, T, H, W) -> (B, outputs, T / stride, H, W)."""
        if x_BDTHW.device.type != "cpu" or x_BDTHW[0, :, 0].numel() > SMALL:
            result: Tensor = super().forward(x_BDTHW)
            return result
        weight_OI31 = self.weight.flatten(3)
        y_BDTP = functional.conv2d(x_BDTHW.flatten(3), weight_OI31, stride=(self.stride[0], 1), padding=(1, 0))
        return y_BDTP.view(*y_BDTP.shape[:3], *x_BDTHW.shape[3:])


class Conv2Plus1D(nn.Sequential):
    """A 1x3x3 convolution, BatchNorm, ReLU, and a 3x1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, *, temporal_stride: int, spatial_stride: int) -> None:
        mid = mid_width(inputs, outputs)
        super().__init__(
            nn.Conv3d(
                inputs, mid, (1, 3, 3), stride=(1, spatial_stride, spatial_stride), padding=(0, 1, 1), bias=False
            ),
            nn.BatchNorm3d(mid),
            nn.ReLU(inplace=True),
            TemporalConv(mid, outputs, stride=temporal_stride),
        )


class BasicBlock(nn.Module):
    """Two (2+1)D convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, *, temporal_stride: int, spatial_stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(
            Conv2Plus1D(inputs, outputs, temporal_stride=temporal_stride, spatial_stride=spatial_stride),
            nn.BatchNorm3d(outputs),
            nn.ReLU(inplace=True),
        )
        self.conv2 = nn.Sequential(
            Conv2Plus1D(outputs, outputs, temporal_stride=1, spatial_stride=1), nn.BatchNorm3d(outputs)
        )
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Sequential | None = None
        if inputs != outputs or temporal_stride > 1 or spatial_stride > 1:
            stride = (temporal_stride, spatial_stride, spatial_stride)
            self.downsample = nn.Sequential(
                nn.Conv3d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm3d(outputs)
            )

    def forward(self, x_BDTHW: Tensor) -> Tensor:
        """(B, inputs, T, H, W) -> (B, outputs, T / temporal_stride, H / spatial_stride, W / spatial_stride)."""
        shortcut = x_BDTHW if self.downsample is None else self.downsample(x_BDTHW)
        result: Tensor = self.relu(self.conv2(self.conv1(x_BDTHW)) + shortcut)
        return result


class R2Plus1D(nn.Module):
    """R(2+1)D without its pooling and classifier.

    Args:
        in_channels: of the clip: 3 of colour, or 5 with flow.
        layers: residual blocks per stage; [3, 4, 6, 3] is the 34-layer network.
        widths: channels per stage; [64, 128, 256, 512] are the published ones. The stem has widths[0].
        temporal_strides: per stage; [1, 2, 2, 2] are the published ones. Spatially the stem and stages 2-4 halve.
        bn_eps, bn_momentum: of every BatchNorm; the published weights were trained with eps 1e-3.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        layers: list[int],
        widths: list[int],
        temporal_strides: list[int],
        bn_eps: float,
        bn_momentum: float,
    ) -> None:
        super().__init__()
        stem_mid = max(1, round(45 * widths[0] / 64))  # the published stem has 45 where mid_width would give 83
        self.stem = nn.Sequential(
            nn.Conv3d(in_channels, stem_mid, (1, 7, 7), stride=(1, 2, 2), padding=(0, 3, 3), bias=False),
            nn.BatchNorm3d(stem_mid),
            nn.ReLU(inplace=True),
            TemporalConv(stem_mid, widths[0], stride=1),
            nn.BatchNorm3d(widths[0]),
            nn.ReLU(inplace=True),
        )
        inputs = [widths[0], *widths[:3]]
        for number, spatial_stride in enumerate((1, 2, 2, 2)):
            blocks = [
                BasicBlock(
                    inputs[number] if block == 0 else widths[number],
                    widths[number],
                    temporal_stride=temporal_strides[number] if block == 0 else 1,
                    spatial_stride=spatial_stride if block == 0 else 1,
                )
                for block in range(layers[number])
            ]
            self.add_module(f"layer{number + 1}", nn.Sequential(*blocks))
        self.width = widths[3]
        _initialize(self, bn_eps=bn_eps, bn_momentum=bn_momentum)

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """(B, C, T, H, W), normalised -> features_BDTHW with H and W divided by 16, T by the temporal strides."""
        features: Tensor = self.stem(clip_BCTHW)
        for number in range(1, 5):
            features = self.get_submodule(f"layer{number}")(features)
        return features


def _initialize(network: nn.Module, *, bn_eps: float, bn_momentum: float) -> None:
    """Kaiming-normal convolutions (fan out), BatchNorm at identity."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm3d):
            module.eps, module.momentum = bn_eps, bn_momentum
