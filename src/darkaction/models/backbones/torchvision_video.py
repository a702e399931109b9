"""Three video networks of torchvision without their classifiers: S3D, MViT-v2-S and Swin3D-T.

    clip_BCTHW ── S3D or Swin3D ── features_BDTHW
    clip_BCTHW ── MViT ── class token ── vector_BD111

Xie et al. 2018, "Rethinking spatiotemporal feature learning"; Li et al. 2022, "MViTv2: Improved multiscale vision
transformers for classification and detection", table 1; Liu et al. 2022, "Video Swin transformer", section 3.3. Key
names are torchvision's, so that its Kinetics weights load strictly without their classifiers.

B batch, C colour, T frames, H W pixels, D feature width, N tokens.
"""

from functools import partial

from torch import Tensor, nn
from torchvision.models.video.mvit import MSBlockConfig, MViT
from torchvision.models.video.s3d import Conv3dNormActivation, SepInceptionBlock3D, TemporalSeparableConv
from torchvision.models.video.swin_transformer import SwinTransformer3d

from darkaction.models.backbones.i3d import STAGES
from darkaction.models.backbones.resnet3d import repeats, scaled


class S3DBackbone(nn.Module):
    """S3D: I3D's layout, its 3x3x3 convolutions split into 1x3x3 and 3x1x1.

    Args:
        in_channels: C; 3 is the published one.
        width: times the published channels.
    """

    def __init__(self, *, in_channels: int, width: float) -> None:
        super().__init__()
        # torchvision's momentum of 0.001 suits its weights; from scratch, the running averages would take thousands of
        # steps to leave their start.
        norm = partial(nn.BatchNorm3d, eps=0.001, momentum=0.1)
        stem, outputs = (scaled(channels, width, multiple=8) for channels in (64, 192))
        layers: list[nn.Module] = [
            TemporalSeparableConv(in_channels, stem, 7, 2, 3, norm),
            nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
            Conv3dNormActivation(stem, stem, kernel_size=1, norm_layer=norm),
            TemporalSeparableConv(stem, outputs, 3, 1, 1, norm),
        ]
        pools = (
            nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
            nn.MaxPool3d(3, stride=2, padding=1),
            nn.MaxPool3d(2),
        )
        for pool, stage in zip(pools, STAGES, strict=True):
            layers.append(pool)
            for published in stage:
                widths = [scaled(channels, width, multiple=8) for channels in published]
                layers.append(SepInceptionBlock3D(outputs, *widths, norm))
                outputs = widths[0] + widths[2] + widths[4] + widths[5]
        self.features = nn.Sequential(*layers)
        self.width = outputs

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """(B, C, T, H, W), from 8 frames of 32 pixels -> features_BDTHW with T divided by 8, H and W by 32."""
        features: Tensor = self.features(clip_BCTHW)
        return features


MVIT_HEAD_WIDTH = 96
MVIT_STAGES = ((1, 1, 8), (2, 2, 4), (11, 4, 2), (2, 8, 1))
"""Blocks, attention heads and spatial stride of keys and values of each stage; the first block of stages 2-4 also
strides the queries."""


class MViTBackbone(MViT):  # type: ignore[misc]
    """MViT-v2-S up to its class token.

    Args:
        in_channels: C; 3 is the published one.
        num_frames, height, frame_width: of the clips, which fix the tables of relative positions; 16, 224, 224 are the
            published ones, 32 pixels the least.
        width, depth: times the published 96 channels of an attention head (the heads stay) and blocks per stage.
    """

    def __init__(
        self, *, in_channels: int, num_frames: int, height: int, frame_width: int, width: float, depth: float
    ) -> None:
        head_width = scaled(MVIT_HEAD_WIDTH, width, multiple=8)
        settings: list[MSBlockConfig] = []
        channels = head_width
        for number, (blocks, heads, stride_kv) in enumerate(MVIT_STAGES):
            for block in range(repeats(blocks, depth)):
                stride_q = 2 if number > 0 and block == 0 else 1
                settings.append(
                    MSBlockConfig(
                        num_heads=heads,
                        input_channels=channels,
                        output_channels=heads * head_width,
                        kernel_q=[3, 3, 3],
                        kernel_kv=[3, 3, 3],
                        stride_q=[1, stride_q, stride_q],
                        stride_kv=[1, stride_kv, stride_kv],
                    )
                )
                channels = heads * head_width
        super().__init__(
            # The patches' sizes round up, torchvision's own calculation of them down.
            spatial_size=(-(-height // 4) * 4, -(-frame_width // 4) * 4),
            temporal_size=-(-num_frames // 2) * 2,
            block_setting=settings,
            residual_pool=True,
            residual_with_cls_embed=False,
            rel_pos_embed=True,
            proj_after_attn=True,
            stochastic_depth_prob=0.2,
            num_classes=1,
        )
        if in_channels != 3:
            self.conv_proj = nn.Conv3d(in_channels, head_width, (3, 7, 7), stride=(2, 4, 4), padding=(1, 3, 3))
        self.width = channels
        self.head = nn.Identity()

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, D, 1, 1, 1)."""
        vector_BD: Tensor = super().forward(clip_BCTHW)
        return vector_BD[:, :, None, None, None]


SWIN_WIDTH, SWIN_BLOCKS, SWIN_HEADS = 96, (2, 2, 6, 2), (3, 6, 12, 24)


class Swin3DBackbone(SwinTransformer3d):  # type: ignore[misc]
    """Swin3D-T up to its last norm. Windows shrink to clips that are smaller.

    Args:
        in_channels: C; 3 is the published one.
        width, depth: times the published 96 channels of the first stage (to a multiple of 24: of 8, and of its 3 heads)
            and blocks per stage.
    """

    def __init__(self, *, in_channels: int, width: float, depth: float) -> None:
        embedded = scaled(SWIN_WIDTH, width, multiple=8 * SWIN_HEADS[0])
        super().__init__(
            patch_size=[2, 4, 4],
            embed_dim=embedded,
            depths=[repeats(blocks, depth) for blocks in SWIN_BLOCKS],
            num_heads=list(SWIN_HEADS),
            window_size=[8, 7, 7],
            stochastic_depth_prob=0.1,
            num_classes=1,
        )
        if in_channels != 3:
            self.patch_embed.proj = nn.Conv3d(in_channels, embedded, (2, 4, 4), stride=(2, 4, 4))
        self.width: int = self.num_features
        self.head = nn.Identity()

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """(B, C, T, H, W) -> features_BDTHW with T divided by 2, H and W by 32, rounded up."""
        features_BTHWD: Tensor = self.norm(self.features(self.pos_drop(self.patch_embed(clip_BCTHW))))
        return features_BTHWD.movedim(-1, 1)
