"""VideoMAE's ViT-B without its classifier, from the library transformers.

    clip_BCTHW ── patches of 2x16x16 ── 12 blocks ── mean over the tokens ── norm ── vector_BD111

Tong et al. 2022, "VideoMAE: Masked autoencoders are data-efficient learners for self-supervised video pre-training".
Its mean comes before the norm, so a vector is what its released classification weights are for. Nothing is downloaded.

B batch, C colour, T frames, H W pixels, D feature width, N tokens.
"""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional

from darkaction.models.backbones.resnet3d import repeats, scaled

WIDTH, BLOCKS, HEAD_WIDTH = 768, 12, 64
PATCH, TUBELET = 16, 2
"""Pixels and frames."""


class VideoMAEBackbone(nn.Module):
    """VideoMAE ViT-B up to its last norm. Key names are those of VideoMAEForVideoClassification.

    Args:
        in_channels: C; 3 is the published one.
        num_frames, height, frame_width: of the clips, which are padded to whole patches with zeros; 16, 224, 224 are
            the published ones.
        width, depth: times the published 768 channels (to a multiple of the 64 of an attention head) and 12 blocks.
    """

    def __init__(
        self, *, in_channels: int, num_frames: int, height: int, frame_width: int, width: float, depth: float
    ) -> None:
        from transformers import VideoMAEConfig, VideoMAEModel  # seconds: only for whoever builds one

        super().__init__()
        self.width = scaled(WIDTH, width, multiple=HEAD_WIDTH)
        config = VideoMAEConfig(
            image_size=[-(-height // PATCH) * PATCH, -(-frame_width // PATCH) * PATCH],
            patch_size=PATCH,
            num_channels=in_channels,
            num_frames=-(-num_frames // TUBELET) * TUBELET,
            tubelet_size=TUBELET,
            hidden_size=self.width,
            num_hidden_layers=repeats(BLOCKS, depth),
            num_attention_heads=self.width // HEAD_WIDTH,
            intermediate_size=4 * self.width,
            use_mean_pooling=True,
        )
        self.videomae = VideoMAEModel(config)
        self.fc_norm = nn.LayerNorm(self.width)

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, D, 1, 1, 1)."""
        frames, height, width = clip_BCTHW.shape[2:]
        clip_BCTHW = functional.pad(clip_BCTHW, (0, -width % PATCH, 0, -height % PATCH, 0, -frames % TUBELET))
        tokens_BND = self.videomae(clip_BCTHW.transpose(1, 2)).last_hidden_state
        vector_BD: Tensor = self.fc_norm(tokens_BND.mean(1))
        return vector_BD[:, :, None, None, None]


def from_released(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Released weights with today's names of the biases of queries and values."""
    renamed = {"attention.attention.q_bias": "attention.attention.query.bias"}
    renamed["attention.attention.v_bias"] = "attention.attention.value.bias"
    result = {}
    for name, tensor in state.items():
        for former, today in renamed.items():
            name = name.replace(former, today)
        result[name] = tensor
    return result
