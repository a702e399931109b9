"""EnlightenGAN: a U-Net that brightens where an image is dark, taught by discriminators (Jiang et al. 2021, section 3).

Shapes: B batch, N frames of a video, C channels, H W pixels. Images are RGB in [0, 1] unless uint8 (0..255); inside,
the networks see [-1, 1] as published. attention_B1HW is 1 - illumination, in [0, 1]. The stages of the generator have
w, 2w, 4w, 8w and 16w channels, w the base width, at 1, 1/2, 1/4, 1/8 and 1/16 of the size.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darkaction.core.errors import UserError
from darkaction.data.video import Frames
from darkaction.enhancement.networks import OnDevice, convolution, in_strips, read_weights, require_weights_of

LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G, B in the illumination. The paper says only 'illumination channel'; these are the released code's."""

SLOPE = 0.2
"""Of every leaky ReLU, left of zero."""

UNNORMALISED = "9_2"
"""Stage and layer: the last hidden one has no batch normalisation."""

STRIDE = 16
"""Pixels that become one in the deepest stage: images are padded to a multiple."""

REACH = 160
"""Rows to each side that a pixel depends on, rounded up to a multiple of STRIDE: 3x3 convolutions and bilinear
enlargements reach 137, two convolutions down and (enlargement, three convolutions) up at every scale."""

LARGEST = 2**25
"""Numbers in the first stage (base width times pixels) above which an image is enhanced strip by strip: those of
Full HD at base width 16. A pass takes some seven times as many floats in memory, 900 MB."""


class Generator(nn.Module):
    """U-Net guided by attention (section 3.1): 8,636,675 parameters at the published base width of 32.

    Convolution, leaky ReLU and batch normalisation, in this order; maximum pooling down, bilinear enlargement and a
    convolution up. The attention, pooled alike, is a fourth input channel and weighs every skip, the deepest stage
    and the residual. Keys are those of the published weights. As published, frames are enhanced in evaluation mode,
    with the statistics of the training: what a frame becomes depends on no other frame.

    Two differences: enlargement goes by pixel areas (align_corners off; the release's PyTorch 0.3 aligned corners), so
    that a pixel depends on its surroundings only, wherever it lies; and wide images are not halved.
    """

    def __init__(self, *, base_width: int) -> None:
        super().__init__()
        if base_width < 1:
            raise ValueError(f"base_width is {base_width}; valid: 1 or more")
        self.base_width = base_width
        widths = [base_width * 2**i for i in range(5)]
        for stage, inputs, outputs in zip(range(1, 6), [4, *widths[:-1]], widths, strict=True):
            self._add_stage(stage, inputs, outputs)
        for stage, outputs in zip(range(6, 10), widths[-2::-1], strict=True):
            self.add_module(f"deconv{stage - 1}", convolution(2 * outputs, outputs))
            self._add_stage(stage, 2 * outputs, outputs)
        self.conv10 = nn.Conv2d(base_width, 3, kernel_size=1)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1], of any size -> enhanced (B, 3, H, W), which may leave [0, 1]."""
        height, width = image_BCHW.shape[-2:]
        padded, top, left = _pad(image_BCHW)
        if self.training or self.base_width * padded[0, 0].numel() <= LARGEST:
            enhanced = self._enhance(padded)
        else:
            whole = LARGEST // (self.base_width * padded.shape[-1]) // STRIDE * STRIDE
            # Few new rows at a time would mostly repeat others' work.
            enhanced = in_strips(self._enhance, padded, rows=max(whole - 2 * REACH, REACH), reach=REACH)
        return enhanced[..., top : top + height, left : left + width]

    def _enhance(self, image: Tensor) -> Tensor:
        """Image + latent * attention (figure 2): (B, 3, h, w), h and w multiples of STRIDE, into the same shape."""
        attention = attention_map(image)
        # The published sum is one of images in [-1, 1], where a difference is twice as large.
        return image + self._latent(image, attention) * attention / 2

    def _latent(self, image: Tensor, attention: Tensor) -> Tensor:
        """(B, 3, h, w) and (B, 1, h, w) -> (B, 3, h, w)."""
        x = torch.cat([2 * image - 1, attention], dim=1)
        skips = []
        for stage in range(1, 5):
            x = self._layer(f"{stage}_2", self._layer(f"{stage}_1", x))
            skips.append(x * attention)
            x, attention = F.max_pool2d(x, 2), F.max_pool2d(attention, 2)
        x = self._layer("5_2", self._layer("5_1", x) * attention)
        for stage in range(6, 10):
            x = self._enlarge(stage, x)
            x = self._layer(f"{stage}_2", self._layer(f"{stage}_1", torch.cat([x, skips.pop()], dim=1)))
        latent: Tensor = self.conv10(x)
        return latent

    def _layer(self, name: str, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.get_submodule(f"conv{name}")(x), SLOPE, inplace=True)
        return x if name == UNNORMALISED else self.get_submodule(f"bn{name}")(x)

    def _enlarge(self, stage: int, x: Tensor) -> Tensor:
        """Twice the size, half the channels."""
        large = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        convolved: Tensor = self.get_submodule(f"deconv{stage - 1}")(large)
        return convolved

    def _add_stage(self, stage: int, inputs: int, outputs: int) -> None:
        for layer in (1, 2):
            self.add_module(f"conv{stage}_{layer}", convolution(inputs if layer == 1 else outputs, outputs))
            if f"{stage}_{layer}" != UNNORMALISED:
                self.add_module(f"bn{stage}_{layer}", nn.BatchNorm2d(outputs))


class Discriminator(nn.Module):
    """PatchGAN without normalisation: a score for each of many overlapping regions of an image (section 3.2).

    Args:
        base_width: channels of the first layer, which double with every layer up to eight times as many; published: 64.
        layers: how often the size is halved; published: 5 for whole images, 4 for patches.
    """

    def __init__(self, *, base_width: int, layers: int) -> None:
        super().__init__()
        widths = [3, *(base_width * min(2**i, 8) for i in range(layers + 1))]
        modules: list[nn.Module] = []
        for i in range(layers + 1):
            stride = 2 if i < layers else 1
            modules.append(nn.Conv2d(widths[i], widths[i + 1], kernel_size=4, stride=stride, padding=2))
            modules.append(nn.LeakyReLU(SLOPE, inplace=True))
        self.layers = nn.Sequential(*modules, nn.Conv2d(widths[-1], 1, kernel_size=4, padding=2))

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> scores (B, 1, h, w), h about H / 2^layers."""
        scores: Tensor = self.layers(2 * image_BCHW - 1)
        return scores


def attention_map(image_BCHW: Tensor) -> Tensor:
    """1 - illumination (section 3.1): (B, 3, H, W) in [0, 1] -> (B, 1, H, W), 1 where the image is black."""
    weights_C11 = image_BCHW.new_tensor(LUMA)[:, None, None]
    return 1 - (image_BCHW * weights_C11).sum(dim=1, keepdim=True)


def load_weights(path: Path) -> Generator:
    """The frozen generator with the weights of a safetensors file, whose shapes tell the base width.

    Raises:
        UserError: naming the file when it is missing, unreadable or of another architecture.
    """
    weights = read_weights(path, remedy="python src/train_enhancer.py writes it")
    first = weights["conv1_1.weight"].shape if "conv1_1.weight" in weights else ()
    # Another file's first layer may be of any size: building a network for it must not take all memory.
    if len(first) != 4 or not 1 <= first[0] <= 1024:
        raise UserError(f"{path}: no weights of EnlightenGAN: conv1_1.weight differs")
    with torch.device("meta"):
        require_weights_of(Generator(base_width=first[0]), weights, name="EnlightenGAN", path=path)
    network = Generator(base_width=first[0])
    network.load_state_dict(weights, strict=False)  # strict but for the counters of batches, which no file has
    return network.eval().requires_grad_(False)


def on_device(network: Generator) -> OnDevice:
    """The enhancer, on the network's device: one frame at a time, so that memory does not grow with their number, and
    with their size only as LARGEST allows."""
    return OnDevice(network, next(network.parameters()).device, pixels=1)


def enhance_frames(network: Generator, frames_NHWC: Frames) -> Frames:
    """Enhances frames (N, H, W, 3) uint8 into the same shape, rounded to the nearest level and clipped."""
    return on_device(network)(frames_NHWC)


def _pad(image: Tensor) -> tuple[Tensor, int, int]:
    """The image mirrored outwards to multiples of STRIDE, and how many rows and columns came before it."""
    height, width = image.shape[-2:]
    rows, columns = -height % STRIDE, -width % STRIDE
    top, left = rows // 2, columns // 2
    # An image smaller than its margin cannot be mirrored into all of it.
    mode = "reflect" if rows - top < height and columns - left < width else "replicate"
    return F.pad(image, (left, columns - left, top, rows - top), mode=mode), top, left
