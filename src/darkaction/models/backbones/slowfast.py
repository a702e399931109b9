"""SlowFast: one ResNet-50 sees few frames with many channels, another all frames with few channels.

    clip_BCTHW ── every ratio-th frame ── stem ⊕ stage 1 ⊕ stage 2 ⊕ stage 3 ⊕ stage 4 ── mean ─┐
             │                                 │         │         │         │                  ├─ vector_BD111
             └────────────────────────── stem ─┴ stage 1 ┴ stage 2 ┴ stage 3 ┴ stage 4 ── mean ─┘

⊕ appends what a lateral, time-strided convolution makes of the fast pathway's features. Feichtenhofer et al. 2019,
"SlowFast networks for video recognition", table 1 and section 3.3.

B batch, C colour, T frames, H W pixels, D feature width.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from darkaction.models.backbones.resnet3d import repeats, scaled

BLOCKS = (3, 4, 6, 3)
STEM, INNER, OUTPUTS = 64, (64, 128, 256, 512), (256, 512, 1024, 2048)
"""Channels of the slow pathway."""

BETA = 1 / 8
"""Channels of the fast pathway by those of the slow one."""

SLOW_TEMPORAL, FAST_TEMPORAL = (1, 1, 3, 3), (3, 3, 3, 3)
"""Temporal kernels of the stages' bottlenecks."""

Size = tuple[int, int, int]


def conv_bn(inputs: int, outputs: int, kernel: Size, *, stride: Size) -> nn.Sequential:
    """A convolution that changes the size by its stride only, and BatchNorm."""
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, kernel, stride=stride, padding=padding, bias=False), nn.BatchNorm3d(outputs)
    )


class Bottleneck(nn.Module):
    """(temporal)x1x1, 1x3x3 and 1x1x1 convolutions, and a shortcut."""

    def __init__(self, inputs: int, inner: int, outputs: int, *, temporal: int, spatial_stride: int) -> None:
        super().__init__()
        stride = (1, spatial_stride, spatial_stride)
        self.branch = nn.Sequential(
            conv_bn(inputs, inner, (temporal, 1, 1), stride=(1, 1, 1)),
            nn.ReLU(inplace=True),
            conv_bn(inner, inner, (1, 3, 3), stride=stride),
            nn.ReLU(inplace=True),
            conv_bn(inner, outputs, (1, 1, 1), stride=(1, 1, 1)),
        )
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs or spatial_stride > 1:
            self.shortcut = conv_bn(inputs, outputs, (1, 1, 1), stride=stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x_BDTHW: Tensor) -> Tensor:
        """(B, inputs, T, H, W) -> (B, outputs, T, H / spatial_stride, W / spatial_stride)."""
        result: Tensor = self.relu(self.branch(x_BDTHW) + self.shortcut(x_BDTHW))
        return result


def make_stem(inputs: int, outputs: int, *, temporal: int) -> nn.Sequential:
    """H and W divided by 4."""
    return nn.Sequential(
        conv_bn(inputs, outputs, (temporal, 7, 7), stride=(1, 2, 2)),
        nn.ReLU(inplace=True),
        nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
    )


def make_stage(
    inputs: int, inner: int, outputs: int, *, blocks: int, temporal: int, spatial_stride: int
) -> nn.Sequential:
    """Bottlenecks, the first of which strides."""
    first = Bottleneck(inputs, inner, outputs, temporal=temporal, spatial_stride=spatial_stride)
    rest = [Bottleneck(outputs, inner, outputs, temporal=temporal, spatial_stride=1) for _ in range(blocks - 1)]
    return nn.Sequential(first, *rest)


class SlowFast(nn.Module):
    """SlowFast without its dropout and classifier.

    Args:
        in_channels: C; 3 is the published one.
        ratio: alpha, frames of the fast pathway by those of the slow one; 8 (their 4x16, 32 frames) and 4 (their 8x8)
            are published.
        width, depth: times the published channels and blocks per stage. Channels round to a multiple of 8, so a narrow
            fast pathway has more than 1/8 of the slow one's.
    """

    def __init__(self, *, in_channels: int, ratio: int, width: float, depth: float) -> None:
        super().__init__()
        self.ratio = ratio
        lateral_kernel = 7 if ratio == 4 else 5  # the paper has 5; the released 8x8 model, with ratio 4, has 7

        def slow(channels: int) -> int:
            return scaled(channels, width, multiple=8)

        def fast(channels: int) -> int:
            return scaled(channels, BETA * width, multiple=8)

        self.slow_stem = make_stem(in_channels, slow(STEM), temporal=1)
        self.fast_stem = make_stem(in_channels, fast(STEM), temporal=5)
        self.slow_stages, self.fast_stages, self.laterals = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        slow_inputs, fast_inputs = slow(STEM), fast(STEM)
        for number, (published, inner, outputs) in enumerate(zip(BLOCKS, INNER, OUTPUTS, strict=True)):
            blocks, spatial_stride = repeats(published, depth), 1 if number == 0 else 2
            self.laterals.append(
                nn.Sequential(
                    conv_bn(fast_inputs, 2 * fast_inputs, (lateral_kernel, 1, 1), stride=(ratio, 1, 1)),
                    nn.ReLU(inplace=True),
                )
            )
            self.slow_stages.append(
                make_stage(
                    slow_inputs + 2 * fast_inputs, slow(inner), slow(outputs),
                    blocks=blocks, temporal=SLOW_TEMPORAL[number], spatial_stride=spatial_stride,
                )
            )  # fmt: skip
            self.fast_stages.append(
                make_stage(
                    fast_inputs, fast(inner), fast(outputs),
                    blocks=blocks, temporal=FAST_TEMPORAL[number], spatial_stride=spatial_stride,
                )
            )  # fmt: skip
            slow_inputs, fast_inputs = slow(outputs), fast(outputs)
        self.width = slow_inputs + fast_inputs
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, D, 1, 1, 1): the means of the slow and of the fast pathway over T, H and W."""
        slow_BDTHW: Tensor = self.slow_stem(clip_BCTHW[:, :, :: self.ratio])
        fast_BDTHW: Tensor = self.fast_stem(clip_BCTHW)
        for lateral, slow_stage, fast_stage in zip(self.laterals, self.slow_stages, self.fast_stages, strict=True):
            slow_BDTHW = slow_stage(torch.cat([slow_BDTHW, lateral(fast_BDTHW)], dim=1))
            fast_BDTHW = fast_stage(fast_BDTHW)
        means = [features.mean(dim=(2, 3, 4), keepdim=True) for features in (slow_BDTHW, fast_BDTHW)]
        return torch.cat(means, dim=1)


STEM_KEY = re.compile(r"(?:blocks\.0\.multipathway_blocks\.|s1\.pathway)(\d)(?:_stem)?\.(conv|norm|bn)\.(\w+)")
LATERAL_KEY = re.compile(
    r"(?:blocks\.(\d)\.multipathway_fusion|s(\d)_fuse)\.(conv_fast_to_slow|conv_f2s|norm|bn)\.(\w+)"
)
BLOCK_KEY = re.compile(
    r"(?:blocks\.(\d)\.multipathway_blocks\.(\d)\.res_blocks\.|s(\d)\.pathway(\d)_res)(\d+)\.(branch[12])(.*)\.(\w+)"
)
CLASSIFIER_KEY = "blocks.6.proj."
"""Names of tensors in released files of PyTorchVideo and PySlowFast, which number stages from 0 and from 1."""

PATHWAYS = ("slow", "fast")


def from_released(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights released by PyTorchVideo or PySlowFast, under the names of this module; others keep their names. The
    classifier is called head."""
    return {_own_name(name): tensor for name, tensor in state.items()}


def _own_name(name: str) -> str:
    if found := STEM_KEY.fullmatch(name):
        pathway, layer, value = found.groups()
        return f"{PATHWAYS[int(pathway)]}_stem.0.{_number(layer)}.{value}"
    if found := LATERAL_KEY.fullmatch(name):
        from_0, from_1, layer, value = found.groups()
        stage = int(from_1) - 1 if from_0 is None else int(from_0)
        return f"laterals.{stage}.0.{_number(layer)}.{value}"
    if found := BLOCK_KEY.fullmatch(name):
        from_0, first, from_1, second, block, branch, layer, value = found.groups()
        stage = int(from_1) - 2 if from_0 is None else int(from_0) - 1
        place = f"{PATHWAYS[int(first or second)]}_stages.{stage}.{block}"
        if branch == "branch1":
            return f"{place}.shortcut.{_number(layer)}.{value}"
        letter = next(part for part in re.split(r"[._]", layer) if part in ("a", "b", "c"))
        return f"{place}.branch.{2 * 'abc'.index(letter)}.{_number(layer)}.{value}"
    return name.replace(CLASSIFIER_KEY, "head.")


def _number(layer: str) -> int:
    """Of a convolution 0, of the BatchNorm after it 1."""
    return 1 if "norm" in layer or "bn" in layer else 0
