"""C3D: eight 3x3x3 convolutions, five max pools and two fully connected layers.

    clip_BCTHW ── conv1a .. conv5b with pools ── fc6 ── fc7 ── vector_BD111

Tran et al. 2015, "Learning spatiotemporal features with 3D convolutional networks", figure 3. As published it has no
BatchNorm.

B batch, C colour, T frames, H W pixels, D feature width.
"""

from torch import Tensor, nn

from darkaction.models.backbones.resnet3d import scaled

STAGES = ((64,), (128,), (256, 256), (512, 512), (512, 512))
"""Channels of the convolutions before each pool."""

FULLY_CONNECTED = 4096


class C3D(nn.Module):
    """C3D without its classifier.

    Args:
        in_channels: C; 3 is the published one.
        num_frames, height, frame_width: of the clips, which fix the size of fc6; 16, 112, 112 are the published ones.
        width: times the published channels, convolutions and fully connected layers alike.
    """

    def __init__(self, *, in_channels: int, num_frames: int, height: int, frame_width: int, width: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs, sizes = in_channels, [num_frames, height, frame_width]
        for number, stage in enumerate(STAGES):
            for channels in stage:
                outputs = scaled(channels, width, multiple=8)
                layers += [nn.Conv3d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
                inputs = outputs
            # The first pool spares time. Rounding up is Caffe's, and keeps small clips from vanishing.
            pool = (1 if number == 0 else 2, 2, 2)
            layers.append(nn.MaxPool3d(pool, ceil_mode=True))
            sizes = [-(-size // kernel) for size, kernel in zip(sizes, pool, strict=True)]
        self.features = nn.Sequential(*layers)
        self.width = scaled(FULLY_CONNECTED, width, multiple=8)
        self.fully_connected = nn.Sequential(
            nn.Linear(inputs * sizes[0] * sizes[1] * sizes[2], self.width),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(self.width, self.width),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.Linear):
                # Without BatchNorm, ten layers pass a signal on only if each keeps its scale.
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, D, 1, 1, 1)."""
        vector_BD: Tensor = self.fully_connected(self.features(clip_BCTHW).flatten(1))
        return vector_BD[:, :, None, None, None]
