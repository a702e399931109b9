"""Zero-DCE: a small network that draws, for every pixel and colour, eight brightening curves (section 3.2).

Shapes: B batch, N frames of a video, C colour (RGB), H W pixels. Images lie in [0, 1] unless uint8 (0..255); curve
maps have 24 channels, channel 3 * iteration + colour, and lie in [-1, 1].
"""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darkaction.enhancement.networks import convolution, in_strips, read_weights, require_weights_of

ITERATIONS = 8
WIDTH = 32
BATCH = 8
"""Frames whose curves are estimated at once in `enhance_frames`."""

STRIP = 2**18
"""Pixels of an image above which its curves are estimated strip by strip: the layers of a large one take gigabytes."""

REACH = 7
"""Pixels to each side that a curve depends on: seven convolutions of 3x3."""


class ZeroDCE(nn.Module):
    """Seven 3x3 convolutions with symmetric skips, 79,416 parameters. Keys are those of the published weights.

    Args:
        curve_scale: fraction of the image size, in (0, 1], at which the curves are estimated. They are smooth by
            training (equation 4), so estimating them small and enlarging them costs little and saves the square of it.
    """

    def __init__(self, *, curve_scale: float) -> None:
        super().__init__()
        if not 0 < curve_scale <= 1:
            raise ValueError(f"curve_scale is {curve_scale}; valid: above 0 and at most 1")
        self.curve_scale = curve_scale
        self.e_conv1 = convolution(3, WIDTH)
        self.e_conv2 = convolution(WIDTH, WIDTH)
        self.e_conv3 = convolution(WIDTH, WIDTH)
        self.e_conv4 = convolution(WIDTH, WIDTH)
        self.e_conv5 = convolution(2 * WIDTH, WIDTH)
        self.e_conv6 = convolution(2 * WIDTH, WIDTH)
        self.e_conv7 = convolution(2 * WIDTH, 3 * ITERATIONS)

    def forward(self, image_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) in [0, 1] -> enhanced image (B, 3, H, W) in [0, 1] and curve maps (B, 24, H, W)."""
        maps_BMHW = self.curve_maps(image_BCHW)
        return apply_curves(image_BCHW, maps_BMHW), maps_BMHW

    def curve_maps(self, image_BCHW: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> curve maps (B, 24, H, W), estimated at `curve_scale` of the size."""
        return enlarge(self.small_curve_maps(image_BCHW), image_BCHW)

    def small_curve_maps(self, image_BCHW: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> curve maps (B, 24, h, w) with h, w = `curve_scale` times H, W."""
        small = [max(1, round(pixels * self.curve_scale)) for pixels in image_BCHW.shape[-2:]]
        image = image_BCHW if self.curve_scale == 1 else F.interpolate(image_BCHW, size=small, mode="area")
        if image.shape[-2] * image.shape[-1] <= STRIP or torch.is_grad_enabled():
            return self._maps(image)
        return in_strips(self._maps, image, rows=max(1, STRIP // image.shape[-1]), reach=REACH)

    def _maps(self, image: Tensor) -> Tensor:
        """(B, 3, h, w) -> curve maps (B, 24, h, w)."""
        # Skips join the earlier layer first.
        x1 = F.relu(self.e_conv1(image))
        x2 = F.relu(self.e_conv2(x1))
        x3 = F.relu(self.e_conv3(x2))
        x4 = F.relu(self.e_conv4(x3))
        x5 = F.relu(self.e_conv5(torch.cat([x3, x4], dim=1)))
        x6 = F.relu(self.e_conv6(torch.cat([x2, x5], dim=1)))
        return torch.tanh(self.e_conv7(torch.cat([x1, x6], dim=1)))


def enlarge(maps_BMHW: Tensor, image_BCHW: Tensor) -> Tensor:
    """Curve maps at the height and width of the image, interpolated bilinearly."""
    if maps_BMHW.shape[-2:] == image_BCHW.shape[-2:]:
        return maps_BMHW
    return F.interpolate(maps_BMHW, size=image_BCHW.shape[-2:], mode="bilinear", align_corners=False)


def apply_curves(image_BCHW: Tensor, maps_BMHW: Tensor) -> Tensor:
    """Eight times x <- x + A (x^2 - x), each with its own map A; negative A brightens. 0 and 1 stay where they are.

    The paper's LE(x) = x + A x (1 - x) with the sign of A turned, as in the published weights.
    """
    x = image_BCHW
    for curve in maps_BMHW.split(3, dim=1):
        x = x + curve * (x * x - x)
    return x


def load_weights(path: Path, *, curve_scale: float) -> ZeroDCE:
    """The frozen network with the weights of a safetensors file.

    Raises:
        UserError: naming the file when it is missing, unreadable or of another architecture.
    """
    network = ZeroDCE(curve_scale=curve_scale)
    weights = read_weights(path, remedy="python src/train_enhancer.py writes it")
    require_weights_of(network, weights, name="Zero-DCE", path=path)
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)


@torch.inference_mode()
def enhance_frames(network: ZeroDCE, frames_NHWC: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Enhances frames (N, H, W, 3) uint8 into the same shape, rounded to the nearest level; memory beyond the result
    does not grow with N. The same as `forward`, where the network runs on its device and the curves on the processor.
    """
    device = next(network.parameters()).device
    enhanced_NHWC = np.empty_like(frames_NHWC)
    for start in range(0, len(frames_NHWC), BATCH):
        images_BCHW = frames_NHWC[start : start + BATCH].transpose(0, 3, 1, 2).astype(np.float32, order="C")
        images_BCHW /= 255
        maps_BMHW = network.small_curve_maps(torch.from_numpy(images_BCHW).to(device))
        for i, (image_CHW, maps_MHW) in enumerate(zip(images_BCHW, maps_BMHW.cpu().contiguous().numpy(), strict=True)):
            _apply_curves_in_place(image_CHW, maps_MHW)
            levels_CHW = np.clip(image_CHW * 255 + 0.5, 0, 255).astype(np.uint8)
            enhanced_NHWC[start + i] = levels_CHW.transpose(1, 2, 0)
    return enhanced_NHWC


def _apply_curves_in_place(image_CHW: npt.NDArray[np.float32], maps_MHW: npt.NDArray[np.float32]) -> None:
    """`enlarge` and `apply_curves` plane by plane: a plane fits the processor's cache, 24 enlarged maps do not."""
    height, width = image_CHW.shape[1:]
    for i, map_HW in enumerate(maps_MHW):
        curve_HW = cv2.resize(map_HW, (width, height), interpolation=cv2.INTER_LINEAR)
        plane_HW = image_CHW[i % 3]
        plane_HW += curve_HW * (plane_HW * plane_HW - plane_HW)
