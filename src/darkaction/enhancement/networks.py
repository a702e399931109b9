"""What the networks of Zero-DCE and EnlightenGAN share: initialisation, weights, large images in strips, a GPU.

Shapes: B batch, C channels, H W pixels.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor, nn

from darkaction.core.errors import UserError
from darkaction.data.video import Frames


def convolution(inputs: int, outputs: int) -> nn.Conv2d:
    """3x3, of the same size."""
    return nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)


def initialise(network: nn.Module, *, generator: torch.Generator) -> None:
    """Convolution weights ~ N(0, 0.02) and scales of normalisations ~ N(1, 0.02) as published; biases of convolutions
    ~ U(-1, 1) / sqrt(fan in), torch's default."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, 0.0, 0.02, generator=generator)
            bound = 1 / math.sqrt(layer.weight[0].numel())
            assert layer.bias is not None
            nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02, generator=generator)
            nn.init.zeros_(layer.bias)


def in_strips(function: Callable[[Tensor], Tensor], image_BCHW: Tensor, *, rows: int, reach: int) -> Tensor:
    """`function` of a large image, `rows` rows at a time. The strips overlap by `reach`, the rows to each side that a
    row of the result depends on, so this is no approximation."""
    strips = []
    for top in range(0, image_BCHW.shape[-2], rows):
        first = max(0, top - reach)
        strip = function(image_BCHW[..., first : top + rows + reach, :])
        strips.append(strip[..., top - first : top - first + rows, :])
    return torch.cat(strips, dim=-2)


class OnDevice:
    """An enhancer that runs on a GPU: levels of one byte go there and come back, and all floats stay there.

    Args:
        enhance: images_BCHW in [0, 1] -> images_BCHW, which may leave [0, 1].
        device: where.
        pixels: of all frames that are there at once, at least one frame.
    """

    def __init__(self, enhance: Callable[[Tensor], Tensor], device: torch.device, *, pixels: int) -> None:
        self._enhance = enhance
        self._device = device
        self._pixels = pixels

    @torch.inference_mode()
    def __call__(self, frames_NHWC: Frames, size: tuple[int, int] | None = None) -> Frames:
        """Frames (N, H, W, 3) uint8 enhanced and rounded and, where a height and width are given, then resized as
        `training_images.resize` does, to within one level."""
        count, *full = frames_NHWC.shape[:3]
        gpu = self._device.type == "cuda"
        resizing = None if size is None else [weights.to(self._device) for weights in resizing_weights(full, size)]
        # Pinned memory is copied while the next frames are put together.
        result_NHWC = torch.empty(count, *(size or full), 3, dtype=torch.uint8, pin_memory=gpu)
        batch = max(1, self._pixels // math.prod(full))
        for start in range(0, count, batch):
            frames = frames_NHWC[start : start + batch]
            staged = torch.empty(frames.shape, dtype=torch.uint8, pin_memory=gpu)
            staged.numpy()[...] = frames
            image_BCHW = staged.to(self._device, non_blocking=True).permute(0, 3, 1, 2).float() / 255
            levels = _rounded(self._enhance(image_BCHW) * 255)
            if resizing is not None:
                levels = _rounded(resizing[0] @ levels @ resizing[1])
            result_NHWC[start : start + batch].copy_(levels.byte().permute(0, 2, 3, 1).contiguous(), non_blocking=True)
        if gpu:
            torch.cuda.synchronize(self._device)
        return result_NHWC.numpy()


def _rounded(levels: Tensor) -> Tensor:
    return levels.round().clamp(0, 255)


def resizing_weights(full: Sequence[int], size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """OpenCV's INTER_AREA as matrices: (h, H) from the left and (W, w) from the right make (H, W) into (h, w)."""
    shrinks = all(source >= target for source, target in zip(full, size, strict=True))
    weights_of = _area_weights if shrinks else _linear_weights
    rows, columns = (weights_of(source, target) for source, target in zip(full, size, strict=True))
    return rows, columns.T.contiguous()


def _area_weights(source: int, target: int) -> Tensor:
    """(target, source): which share of each target pixel's area a source pixel is."""
    ends = np.arange(target + 1) * (source / target)
    pixels = np.arange(source)
    covered = np.minimum(ends[1:, np.newaxis], pixels + 1) - np.maximum(ends[:-1, np.newaxis], pixels)
    return torch.from_numpy((covered.clip(min=0) * (target / source)).astype(np.float32))


def _linear_weights(source: int, target: int) -> Tensor:
    """(target, source): what OpenCV takes instead where a side grows, two neighbours."""
    numbers, per_pixel = np.arange(target), target / source
    # In OpenCV's own arithmetic: where a quotient is whole, its rounding decides for one neighbour or the other.
    first = np.minimum(np.floor(numbers * (1 / per_pixel)).astype(int), source - 1)
    share = ((numbers + 1) - (first + 1) * per_pixel).astype(np.float32)
    share = np.where(share <= 0, 0, share - np.floor(share))
    weights = np.zeros((target, source), np.float32)
    weights[numbers, first] = 1 - share
    weights[numbers, np.minimum(first + 1, source - 1)] += share
    return torch.from_numpy(weights)


def save_weights(network: nn.Module, path: Path) -> None:
    """Writes the weights as safetensors, in the plain layout whatever the network's is."""
    path.write_bytes(serialize({key: value.cpu().contiguous() for key, value in _weights(network).items()}))


def read_weights(path: Path, *, remedy: str) -> dict[str, Tensor]:
    """The content of a safetensors file; `remedy` is for one that is missing.

    Raises:
        UserError: naming the file when it is missing or unreadable.
    """
    try:
        return load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; {remedy}") from None
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: not a readable safetensors file: {error}") from None


def require_weights_of(network: nn.Module, weights: dict[str, Tensor], *, name: str, path: Path) -> None:
    """Raises:
    UserError: naming the file when its weights are not those of this architecture, called `name`.
    """
    found, expected = (
        {key: tuple(value.shape) for key, value in tensors.items()} for tensors in (weights, _weights(network))
    )
    different = sorted(key for key in expected | found if expected.get(key) != found.get(key))
    if different:
        raise UserError(f"{path}: no weights of {name}: {', '.join(different[:4])} differ")


def _weights(network: nn.Module) -> dict[str, Tensor]:
    """Everything that decides what the network does; how many batches its normalisations saw is not part of it."""
    state = network.state_dict()
    return {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
