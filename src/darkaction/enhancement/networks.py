"""What the networks of Zero-DCE and EnlightenGAN share: initialisation, files of weights, large images in strips.

Shapes: B batch, C channels, H W pixels.
"""

import math
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor, nn

from darkaction.core.errors import UserError


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
