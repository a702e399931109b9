"""Zero-DCE: a small network that draws, for every pixel and colour, eight brightening curves (section 3.2).

Shapes: B batch, N frames of a video, C colour (RGB), H W pixels. Images lie in [0, 1] unless uint8 (0..255); curve
maps have 24 channels, channel 3 * iteration + colour, and lie in [-1, 1].
"""

import math
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from darkaction.core.processor import computes_bf16
from darkaction.data.video import Frames
from darkaction.enhancement.networks import OnDevice, convolution, in_strips, read_weights, require_weights_of

Floats = NDArray[np.float32]

ITERATIONS = 8
WIDTH = 32

BATCH_PIXELS = 2**14
"""Pixels of the images whose curves are estimated at once on a processor: their layers fit its cache. 320x240 and
curve_scale 1: one frame at a time 14.4 frames/s, eight 7.0."""

DEVICE_PIXELS = 2**22
"""Pixels of the frames that are on a GPU at once: some four gigabytes at curve_scale 1."""

STRIP = 2**18
"""Pixels of an image above which its curves are estimated strip by strip: the layers of a large one take gigabytes."""

GEOMETRY = ([1, 1], [1, 1], [1, 1], 1)
"""Padding, stride, dilation and groups of all seven convolutions."""

REACH = 7
"""Pixels to each side that a curve depends on: seven convolutions of 3x3."""

CACHED_BYTES = 2**20
"""Most bytes of a frame whose colours are brightened together: as floats, three such arrays must fit the cache."""


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
        self.offset_M11: Tensor
        self.register_buffer("offset_M11", torch.zeros(3 * ITERATIONS, 1, 1), persistent=False)

    def forward(self, image_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) in [0, 1] -> enhanced image (B, 3, H, W) in [0, 1] and curve maps (B, 24, H, W)."""
        maps_BMHW = self.curve_maps(image_BCHW)
        return apply_curves(image_BCHW, maps_BMHW), maps_BMHW

    def curve_maps(self, image_BCHW: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> curve maps (B, 24, H, W), estimated at `curve_scale` of the size."""
        return enlarge(self.small_curve_maps(image_BCHW), image_BCHW)

    def small_curve_maps(self, image_BCHW: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> curve maps (B, 24, h, w) of the `small_size`."""
        size = self.small_size(*image_BCHW.shape[-2:])
        image = image_BCHW if self.curve_scale == 1 else F.interpolate(image_BCHW, size=size, mode="area")
        return torch.tanh(self.logits(image).float() + self.offset_M11)

    def small_size(self, height: int, width: int) -> tuple[int, int]:
        """The height and width at which the curves of an image of this size are estimated."""
        return max(1, round(height * self.curve_scale)), max(1, round(width * self.curve_scale))

    def logits(self, image_BCHW: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1] -> what the tanh makes curve maps of, but for `offset_M11`: (B, 24, h, w)."""
        height, width = image_BCHW.shape[-2:]
        if height * width <= STRIP or torch.is_grad_enabled():
            return self._logits(image_BCHW)
        strips = math.ceil(height * width / STRIP)
        return in_strips(self._logits, image_BCHW, rows=math.ceil(height / strips), reach=REACH)

    def _logits(self, image: Tensor) -> Tensor:
        x1 = convolve(self.e_conv1, image.to(self.e_conv1.weight.dtype))
        x2 = convolve(self.e_conv2, x1)
        x3 = convolve(self.e_conv3, x2)
        x4 = convolve(self.e_conv4, x3)
        x5 = convolve_both(self.e_conv5, x3, x4, relu=True)
        x6 = convolve_both(self.e_conv6, x2, x5, relu=True)
        return convolve_both(self.e_conv7, x1, x6, relu=False)


def convolve(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Convolution and ReLU."""
    if not _fuses(x):
        convolved: Tensor = layer(x)
        return convolved.relu_()
    fused: Tensor = torch.ops.mkldnn._convolution_pointwise(x, layer.weight, layer.bias, *GEOMETRY, "relu", [], "")
    return fused


def convolve_both(layer: nn.Conv2d, earlier: Tensor, later: Tensor, *, relu: bool) -> Tensor:
    """The convolution of a skip, of both inputs side by side, as the sum of its two halves: they need not be written
    side by side first. A frame of 320x240 in float32 gains 7 %, one of 640x480 18 %."""
    earlier_weight, later_weight = layer.weight.split(WIDTH, dim=1)
    sum_ = F.conv2d(earlier, earlier_weight, layer.bias, padding=1)
    if _fuses(later):
        add = torch.ops.mkldnn._convolution_pointwise_.binary
        add(sum_, later, later_weight, None, *GEOMETRY, "add", 1.0, "relu" if relu else None, [], "")
        return sum_
    sum_.add_(F.conv2d(later, later_weight, padding=1))
    return sum_.relu_() if relu else sum_


def _fuses(x: Tensor) -> bool:
    """Whether sums and ReLU are left to oneDNN, by the operators that torch.compile uses: in bfloat16 on a processor,
    where convolutions are so fast that these passes count. 8 % at 320x240, 3 % on small images."""
    if x.dtype != torch.bfloat16 or x.device.type != "cpu" or torch.is_grad_enabled():
        return False
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


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


def prepare(network: ZeroDCE, device: str) -> ZeroDCE:
    """The frozen network as it is fastest on a device: in its memory, channels last, in bfloat16 where it has that."""
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return to_bf16(network) if computes_bf16(device) else network


@torch.inference_mode()
def to_bf16(network: ZeroDCE) -> ZeroDCE:
    """The network in bfloat16, three times as fast where the processor has it.

    A number has eight bits then, too few for the last layer: curves of a clip differ little from each other. What they
    share, the logits of black, stays in float32 as `offset_M11`; the layer gives the rest. With the weights in git the
    mean difference to float32 is 0.03 levels, and 0.06 without this.
    """
    side = 2 * REACH + 1
    last = network.e_conv7
    assert last.bias is not None
    black_M = network.logits(last.weight.new_zeros(1, 3, side, side))[0, :, REACH, REACH]
    bias_M = last.bias.clone()
    network.to(torch.bfloat16)
    last.bias.copy_(bias_M - black_M)
    network.offset_M11 = (bias_M - last.bias.float())[:, None, None]
    return network


def on_device(network: ZeroDCE) -> OnDevice:
    """`forward` over frames on the network's device."""

    def enhance(image_BCHW: Tensor) -> Tensor:
        enhanced = image_BCHW
        for curve in network.small_curve_maps(image_BCHW).split(3, dim=1):  # enlarged one by one: 24 take gigabytes
            enhanced = apply_curves(enhanced, enlarge(curve, image_BCHW))
        return enhanced

    return OnDevice(enhance, next(network.parameters()).device, pixels=DEVICE_PIXELS)


@torch.inference_mode()
def enhance_frames(network: ZeroDCE, frames_NHWC: Frames) -> Frames:
    """Enhances frames (N, H, W, 3) uint8 into the same shape, rounded to the nearest level; memory beyond the result
    does not grow with N. The same as `forward`, on the network's device."""
    if next(network.parameters()).device.type != "cpu":
        return on_device(network)(frames_NHWC)
    enhanced_NHWC = np.empty_like(frames_NHWC)
    height, width = network.small_size(*frames_NHWC.shape[1:3])
    batch = max(1, BATCH_PIXELS // (height * width))
    for start in range(0, len(frames_NHWC), batch):
        frames = frames_NHWC[start : start + batch]
        small_BhwC = np.stack([_shrink(frame, height, width) for frame in frames])
        logits = network.logits(torch.from_numpy(small_BhwC).permute(0, 3, 1, 2))
        for frame, logits_Mhw, enhanced in zip(frames, logits, enhanced_NHWC[start:], strict=False):
            _brighten(frame, _curves(logits_Mhw, network.offset_M11), out=enhanced)
    return enhanced_NHWC


def _shrink(frame_HWC: Frames, height: int, width: int) -> Floats:
    """uint8 -> (h, w, 3) in [0, 1], as interpolate's mode "area" does: the mean of every pixel's, from whole pixels.

    By sums over all pixels above and left, which is exact, and 0.16 ms instead of 0.25 ms for 320x240.
    """
    if frame_HWC.shape[:2] == (height, width):
        return frame_HWC.astype(np.float32) / np.float32(255)
    sums = cv2.integral(frame_HWC)
    (top, bottom), (left, right) = (_ends(*sizes) for sizes in zip(frame_HWC.shape, (height, width), strict=False))
    rows = sums[bottom] - sums[top]
    pixels = np.outer(bottom - top, right - left)[..., np.newaxis]
    means: NDArray[np.float64] = (rows[:, right] - rows[:, left]) / (255 * pixels)
    return means.astype(np.float32)


def _ends(source: int, target: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First of the pixels that become each of `target` pixels, and the one after the last."""
    numbers = np.arange(target)
    return numbers * source // target, -(-(numbers + 1) * source // target)


def _curves(logits_Mhw: Tensor, offset_M11: Tensor) -> Floats:
    """(24, h, w) -> curve maps (8, h, w, 3): colours last, as in a frame, so that a frame need not be transposed.

    NumPy's tanh takes 0.7 ms for the maps of 320x240, torch's 4.7 ms.
    """
    kinds = (ITERATIONS, 3)
    apart = logits_Mhw.unflatten(0, kinds).permute(0, 2, 3, 1).contiguous().float()
    curves: Floats = (apart + offset_M11.unflatten(0, kinds).permute(0, 2, 3, 1)).numpy()
    np.tanh(curves, out=curves)
    return curves


def _brighten(frame_HWC: Frames, curves_8hwC: Floats, *, out: Frames) -> None:
    """`enlarge`, `apply_curves` and rounding into `out`, on levels: x <- x - A (x - x^2 / 255).

    In few passes over arrays that stay in the cache: 0.9 ms for 320x240 instead of 1.8 ms plane by plane. Only large
    frames are taken apart: at 1080p that gives 41 ms instead of 64 ms.
    """
    if frame_HWC.nbytes > CACHED_BYTES and frame_HWC.ndim == 3:
        for colour in range(3):
            _brighten(frame_HWC[..., colour], curves_8hwC[..., colour], out=out[..., colour])
        return
    x = torch.from_numpy(frame_HWC.astype(np.float32))
    curve, step = torch.empty_like(x), torch.empty_like(x)
    for small in curves_8hwC:
        cv2.resize(small, frame_HWC.shape[1::-1], dst=curve.numpy(), interpolation=cv2.INTER_LINEAR)
        torch.addcmul(x, x, x, value=-1 / 255, out=step)
        x.addcmul_(curve, step, value=-1)
    out[...] = cv2.convertScaleAbs(x.numpy())  # x is never negative
