"""A whole model as one network of operators that torch.export and ONNX have, for frames of any size:

    frames_MHWC ─ enhance ─ resize ─ levels_MChw ─ gather ─ clips_DCTHW ─ networks ─ mean, temperature ─ probabilities_K

The same steps as in predictor.py, in float32. C colour, D sampling draws, H W pixels, h w those that the networks are
shown, K classes, M different frames of a video, T frames of a draw.
"""

from fractions import Fraction
from typing import cast

import torch
from torch import Tensor, nn

from darkaction.enhancement.zero_dce import ZeroDCE, apply_curves, enlarge
from darkaction.models.recognizer import Recognizer
from darkaction.training.sampling import BLANK


class Graph(nn.Module):
    """From frames, and their places in each draw, to probabilities.

    Args:
        enhance: levels_MCHW, 0 to 255 -> the same, which may leave this range.
        networks: whose probabilities are averaged, each with its temperature.
        size: height and width that they are shown, in pixels.
    """

    def __init__(self, enhance: nn.Module, networks: list[tuple[Recognizer, float]], *, size: tuple[int, int]) -> None:
        super().__init__()
        self.enhance = enhance
        self.networks = nn.ModuleList([network for network, _ in networks])
        self.temperatures = [temperature for _, temperature in networks]
        self.size = size

    def forward(self, frames: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
        """frames_MHWC, uint8 RGB, and indices_DT into them, BLANK for a blank frame -> probabilities_K, and what the
        networks are shown of the frames, shown_MhwC, uint8."""
        levels_MCHW = _rounded(self.enhance(frames.permute(0, 3, 1, 2).contiguous().float()))
        levels_MChw = _rounded(resize(levels_MCHW, self.size))
        shown_DT = indices != BLANK
        clips_DTChw = levels_MChw[indices.clamp_min(0)] * shown_DT[:, :, None, None, None]
        clips_DCTHW = clips_DTChw.transpose(1, 2) / 255
        answers = []
        for network, temperature in zip(self.networks, self.temperatures, strict=True):
            mean_K = network(clips_DCTHW).softmax(-1).mean(0)
            logits_K = mean_K.clamp_min(torch.finfo(mean_K.dtype).tiny).log()
            answers.append((logits_K / temperature).softmax(-1))
        return torch.stack(answers).mean(0), levels_MChw.permute(0, 2, 3, 1).to(torch.uint8)


class Lookup(nn.Module):
    """Gamma correction.

    Args:
        table: gamma.gamma_table.
    """

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table: Tensor
        self.register_buffer("table", table.float())

    def forward(self, levels_MCHW: Tensor) -> Tensor:
        return self.table[levels_MCHW.long()]


class Brighten(nn.Module):
    """Zero-DCE. All frames are enhanced at once: at curve_scale 1, M frames of 320x240 take M times 10 MB a layer."""

    def __init__(self, network: ZeroDCE) -> None:
        super().__init__()
        self.network = network
        self.scale = Fraction(network.curve_scale).limit_denominator(1000)

    def forward(self, levels_MCHW: Tensor) -> Tensor:
        image_MCHW = levels_MCHW / 255
        height, width = image_MCHW.shape[-2:]
        small = pool(image_MCHW, (scaled(height, self.scale), scaled(width, self.scale)))
        maps = torch.tanh(self.network._logits(small))  # not in strips, as their number depends on the size
        enhanced = image_MCHW
        for curve in maps.split(3, dim=1):  # enlarged one by one: 24 take gigabytes
            enhanced = apply_curves(enhanced, enlarge(curve, image_MCHW))
        return enhanced * 255


def scaled(side: int, scale: Fraction) -> int:
    """round(side * scale), at least 1, in whole numbers: `round` of a size that is not known yet cannot be exported."""
    double = 2 * scale.denominator
    raised = 2 * side * scale.numerator + scale.denominator
    nearest, rest = raised // double, raised % double
    to_even = nearest % 2 * ((double - rest) // double)  # 1 where both neighbours are as near and this one is odd
    return cast(int, torch.sym_max(1, nearest - to_even))


def _rounded(levels: Tensor) -> Tensor:
    return levels.round().clamp(0, 255)


def pool(image_MCHW: Tensor, size: tuple[int, int]) -> Tensor:
    """interpolate's mode "area", as products with matrices: means of whole pixels."""
    rows, columns = (_means(source, target) for source, target in zip(image_MCHW.shape[-2:], size, strict=True))
    return rows @ image_MCHW @ columns.T


def _means(source: int, target: int) -> Tensor:
    numbers, pixels = torch.arange(target)[:, None], torch.arange(source)
    inside = (pixels >= numbers * source // target) & (pixels < -(-(numbers + 1) * source // target))
    return inside / inside.sum(1, keepdim=True)


def resize(levels_MCHW: Tensor, size: tuple[int, int]) -> Tensor:
    """`training_images.resize`, as products with the matrices of `networks.resizing_weights`."""
    pixels = [torch.arange(side, dtype=torch.float64) for side in levels_MCHW.shape[-2:]]
    shrinks = (pixels[0][-1] + 1 >= size[0]) & (pixels[1][-1] + 1 >= size[1])
    rows, columns = (
        torch.where(shrinks, _area_weights(source, target), _linear_weights(source, target)).float()
        for source, target in zip(pixels, size, strict=True)
    )
    return rows @ levels_MCHW @ columns.T


def _area_weights(pixels: Tensor, target: int) -> Tensor:
    per_target = (pixels[-1] + 1) / target
    numbers = torch.arange(target, dtype=pixels.dtype)[:, None]
    covered = torch.minimum((numbers + 1) * per_target, pixels + 1) - torch.maximum(numbers * per_target, pixels)
    return covered.clamp_min(0) / per_target


def _linear_weights(pixels: Tensor, target: int) -> Tensor:
    last = pixels[-1]
    per_pixel = torch.full_like(last, target) / (last + 1)  # NUMBER / tensor would be rounded twice
    numbers = torch.arange(target, dtype=pixels.dtype)[:, None]
    first = torch.minimum((numbers * (1 / per_pixel)).floor(), last)
    share = (numbers + 1) - (first + 1) * per_pixel
    share = torch.where(share <= 0, 0, share - share.floor())
    return (pixels == first) * (1 - share) + (pixels == torch.minimum(first + 1, last)) * share
