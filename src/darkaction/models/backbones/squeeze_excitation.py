"""R(2+1)D with squeeze and excitation along time: each block weighs its time steps by what all of them show.

    x_BDTHW ── mean over D H W ── T ── T / r ── ReLU ── T ── sigmoid ── times x_BDTHW

Hu et al. 2018, "Squeeze-and-excitation networks", section 3, with time in the place of channels: the paper says
"attention along the time dimension in the backbone" and no more (section 4.2). As in the SE-ResNet of that work it
stands at the end of each residual branch, before the shortcut is added; and like there, without biases, it adds
2 / r x (sum over the blocks of T^2) weights (its equation 5).

B batch, D feature width, T time steps, H W pixels, r reduction.
"""

from torch import Tensor, nn

from darkaction.models.backbones.r2plus1d import BasicBlock, R2Plus1D


class TemporalExcitation(nn.Module):
    """Weighs time steps.

    Args:
        steps: T, fixed by the layers.
        reduction: r; at least one hidden unit is left.
    """

    def __init__(self, steps: int, *, reduction: int) -> None:
        super().__init__()
        hidden = -(-steps // reduction)
        self.squeeze = nn.Linear(steps, hidden, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.excite = nn.Linear(hidden, steps, bias=False)

    def forward(self, x_BDTHW: Tensor) -> Tensor:
        """(B, D, T, H, W) -> (B, D, T, H, W)."""
        weight_BT: Tensor = self.excite(self.relu(self.squeeze(x_BDTHW.mean(dim=(1, 3, 4))))).sigmoid()
        return x_BDTHW * weight_BT[:, None, :, None, None]


class SeR2Plus1D(R2Plus1D):
    """R(2+1)D with an excitation at the end of each residual branch; other arguments as R2Plus1D.

    Args:
        num_frames: of the clips.
        reduction: of every excitation.
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
        num_frames: int,
        reduction: int,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            layers=layers,
            widths=widths,
            temporal_strides=temporal_strides,
            bn_eps=bn_eps,
            bn_momentum=bn_momentum,
        )
        steps = num_frames
        for number, stride in enumerate(temporal_strides, start=1):
            steps = -(-steps // stride)
            for block in self.get_submodule(f"layer{number}").children():
                assert isinstance(block, BasicBlock)
                block.conv2.append(TemporalExcitation(steps, reduction=reduction))
