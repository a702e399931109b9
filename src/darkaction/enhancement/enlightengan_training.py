"""Training of EnlightenGAN without pairs (Jiang et al. 2021, section 3): dark images, bright images of anything else.

A discriminator of whole images and one of patches learn to tell enhanced images from bright ones; the generator learns
to deceive both while the features of its input stay (section 3.3). Where the paper leaves a choice, the released code
decides, and is then called the published one.

Shapes: N images, B batch, C colour (RGB), H W pixels. Images are RGB in [0, 1] unless uint8 (0..255); patches_BCHW are
the patches of all images of a batch, one patch of each image after the other.
"""

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import vgg16
from torchvision.transforms import Normalize
from tqdm import tqdm

from darkaction.core.errors import UserError
from darkaction.data.video import Frames
from darkaction.enhancement.checks import add_terms
from darkaction.enhancement.enlightengan import Discriminator, Generator
from darkaction.enhancement.networks import initialise, read_weights, require_weights_of
from darkaction.enhancement.settings import EnlightenGan

GLOBAL_LAYERS, LOCAL_LAYERS = 5, 4
"""Halvings in the discriminator of whole images and in that of patches, as published."""

BETAS = (0.5, 0.999)
"""Of Adam, as published."""

SMALLEST_PATCH = 16
"""Pixels on a side: relu5_1 without its pooling layer is at 1/8, and normalisation needs more than one number."""

SMALLEST_SCALE = 4
"""Pixels on a side of the coarsest scale in `pyramid_loss`."""

COLOUR_REGION = 8
"""Pixels on a side of the regions whose colour `pyramid_loss` keeps: the noise of dark pixels averages out."""

COLOUR_WEIGHT = 20.0
"""Of colour in `pyramid_loss`. With none, the discriminators talk the generator into tints."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of R, G, B in [0, 1], for which torchvision's VGG-16 was trained."""

RELU5_1, LAST_POOLING = 25, 23
"""Places among the features of torchvision's VGG-16. The published code by default leaves this pooling out."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""(enhanced_BCHW, image_BCHW) -> scalar."""


def train(
    dark_NHWC: Frames,
    bright_NHWC: Frames,
    settings: EnlightenGan,
    *,
    vgg: Path | None,
    seed: int,
    device: torch.device,
    on_epoch: Callable[[int, dict[str, float]], None],
) -> Generator:
    """Trains a generator on uint8 images (N, H, W, 3) of one size, H and W at least 32; the two sets may differ in N.

    An epoch shows every dark image once and as many bright ones, each set in an order of its own, flipped at random
    along both axes. The same seed gives the same network.

    Args:
        settings: discriminators as fast as the generator win too early in short trainings on small images.
        vgg: the file that `settings.vgg` names, see `feature_loss`.
        on_epoch: called with the epoch (from 0) and the mean of each loss term: fool_global, fool_local, keep_global
            and keep_local of the generator, `total` their sum (equation 9), and judge_global and judge_local of the
            discriminators.

    Raises:
        UserError: for patches of an impossible size, without usable weights in `vgg`, and as soon as a loss is not
            finite.
    """
    _check(dark_NHWC, bright_NHWC, patch_size=settings.patch_size)
    draw = torch.Generator().manual_seed(seed)
    players = _Players(settings, feature_loss(vgg, device=device), draw=draw, device=device)
    sets = [torch.from_numpy(images).permute(0, 3, 1, 2) for images in (dark_NHWC, bright_NHWC)]
    count = len(dark_NHWC)
    with tqdm(total=settings.epochs * count, desc="EnlightenGAN", unit="image") as progress:
        for epoch in range(settings.epochs):
            sums: dict[str, float] = {}
            orders = [_order(len(images), count, draw).split(settings.batch_size) for images in sets]
            for batches in zip(*orders, strict=True):
                image_BCHW, real_BCHW = (
                    _flipped(images[chosen], draw).to(device).float() / 255
                    for images, chosen in zip(sets, batches, strict=True)
                )
                corners = patch_corners(image_BCHW, patches=settings.patches, patch_size=settings.patch_size, draw=draw)
                terms = players.step(image_BCHW, real_BCHW, corners)
                share, remedy = len(image_BCHW) / count, "lower enlightengan.lr"
                add_terms(sums, terms, share=share, epoch=epoch, network="EnlightenGAN", remedy=remedy)
                progress.update(len(image_BCHW))
            players.end_epoch()
            progress.set_postfix(loss=f"{sums['total']:.4g}")
            on_epoch(epoch, sums)
    return players.generator.eval().requires_grad_(False)


class _Players:
    """The generator and its judges, which are discriminators of whole images and of patches, with their optimizers."""

    def __init__(self, settings: EnlightenGan, keep: Loss, *, draw: torch.Generator, device: torch.device) -> None:
        self.generator = Generator(base_width=settings.base_width)
        self._judges = nn.ModuleDict(
            {
                "global": Discriminator(base_width=settings.discriminator_width, layers=GLOBAL_LAYERS),
                "local": Discriminator(base_width=settings.discriminator_width, layers=LOCAL_LAYERS),
            }
        )
        self._keep, self._patch_size = keep, settings.patch_size
        for module in (self.generator, self._judges):
            initialise(module, generator=draw)
            module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._optimizers = [
            torch.optim.Adam(module.parameters(), lr=rate, betas=BETAS)
            for module, rate in (
                (self.generator, settings.lr),
                (self._judges, settings.discriminator_rate * settings.lr),
            )
        ]
        self._schedules = [
            torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: learning_rate_factor(epoch, settings.epochs))
            for optimizer in self._optimizers
        ]

    def step(self, image_BCHW: Tensor, real_BCHW: Tensor, corners: list[tuple[int, int]]) -> dict[str, Tensor]:
        """One step of the generator, then one of the judges on what it made before, as published. -> the terms."""
        judges, keep = self._judges, self._keep
        fake_BCHW = self.generator(image_BCHW)
        image_patches, real_patches, fake_patches = (
            cut(images, corners, self._patch_size) for images in (image_BCHW, real_BCHW, fake_BCHW)
        )
        judges.requires_grad_(False)
        terms = {
            "fool_global": relativistic_loss(judges["global"](fake_BCHW), judges["global"](real_BCHW)),
            "fool_local": (judges["local"](fake_patches) - 1).square().mean(),
            "keep_global": keep(fake_BCHW, image_BCHW),
            "keep_local": keep(fake_patches, image_patches),
        }
        terms["total"] = torch.stack(list(terms.values())).sum()
        _descend(self._optimizers[0], terms["total"])

        judges.requires_grad_(True)
        fake_BCHW, fake_patches = fake_BCHW.detach(), fake_patches.detach()
        terms["judge_global"] = relativistic_loss(judges["global"](real_BCHW), judges["global"](fake_BCHW))
        terms["judge_local"] = least_squares_loss(judges["local"](real_patches), judges["local"](fake_patches))
        _descend(self._optimizers[1], terms["judge_global"] + terms["judge_local"])
        return terms

    def end_epoch(self) -> None:
        """Lets the learning rates fall."""
        for schedule in self._schedules:
            schedule.step()


def relativistic_loss(higher: Tensor, lower: Tensor) -> Tensor:
    """Equations 3 and 4 with least squares: `higher` scores shall lie 1 above the mean of `lower` ones, and those level
    with the mean of `higher`. Halved as published.

    The discriminator's loss (equation 3) has the scores of real images as `higher`, the generator's (equation 4) has
    those of enhanced ones.
    """
    return ((higher - lower.mean() - 1).square().mean() + (lower - higher.mean()).square().mean()) / 2


def least_squares_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Equation 5: scores of real patches shall be 1, those of enhanced ones 0. Halved as published."""
    return ((real - 1).square().mean() + fake.square().mean()) / 2


def feature_loss(vgg: Path | None, *, device: torch.device) -> Loss:
    """The self feature preserving loss (section 3.3, equations 7 and 8): what an image shows stays, its light may not.

    Args:
        vgg: safetensors file with torchvision's weights of VGG-16: features at relu5_1, instance-normalised. None:
            `pyramid_loss`, which needs no learned features.

    Raises:
        UserError: naming the file when it is missing, unreadable or of another network.
    """
    if vgg is None:
        return pyramid_loss
    features = load_vgg(vgg).to(device)

    def loss(enhanced_BCHW: Tensor, image_BCHW: Tensor) -> Tensor:
        with torch.no_grad():
            expected = F.instance_norm(features(image_BCHW))
        return F.mse_loss(F.instance_norm(features(enhanced_BCHW)), expected)

    return loss


def pyramid_loss(enhanced_BCHW: Tensor, image_BCHW: Tensor) -> Tensor:
    """Stands in for features of VGG-16, without anything learned and not from the paper: structure and colour.

    Structure is the mean squared difference of the instance-normalised images, averaged over scales of 1, 1/2, 1/4 ...
    down to SMALLEST_SCALE pixels; zero where every channel is brightened and stretched. That leaves any tint free.
    Colour, weighted by COLOUR_WEIGHT, does not: it is the mean squared difference of the channels' shares in the light,
    on regions of COLOUR_REGION pixels.
    """
    before, after = (_shares(F.avg_pool2d(images, COLOUR_REGION)) for images in (image_BCHW, enhanced_BCHW))
    colour = F.mse_loss(after, before)
    losses = []
    while min(image_BCHW.shape[-2:]) >= SMALLEST_SCALE:
        # The eps, 2.5 grey levels squared, keeps the noise of almost blank images from counting as structure.
        before, after = (F.instance_norm(images, eps=1e-4) for images in (image_BCHW, enhanced_BCHW))
        losses.append(F.mse_loss(after, before))
        enhanced_BCHW, image_BCHW = (F.avg_pool2d(images, 2) for images in (enhanced_BCHW, image_BCHW))
    return torch.stack(losses).mean() + COLOUR_WEIGHT * colour


def _shares(image_BCHW: Tensor) -> Tensor:
    """R, G and B over their sum. Five grey levels are added to each, so that black is neutral."""
    light_BCHW = image_BCHW.clamp(min=0) + 0.02
    return light_BCHW / light_BCHW.sum(dim=1, keepdim=True)


def load_vgg(path: Path) -> nn.Sequential:
    """VGG-16 up to relu5_1, frozen, with the weights of a safetensors file with torchvision's keys:
    (B, 3, H, W) in [0, 1] -> (B, 512, H // 8, W // 8).

    Raises:
        UserError: naming the file when it is missing, unreadable or of another network.
    """
    with torch.device("meta"):
        layers = vgg16().features[: RELU5_1 + 1]
    layers[LAST_POOLING] = nn.Identity()
    network = nn.ModuleDict({"features": layers})
    try:
        weights = read_weights(path, remedy="give weights of VGG-16, or null")
        own = {key: value for key, value in weights.items() if key in network.state_dict()}
        require_weights_of(network, own, name="VGG-16", path=path)
    except UserError as error:
        raise UserError(f"enlightengan.vgg: {error}") from None
    network.load_state_dict(own, assign=True)
    return nn.Sequential(Normalize(IMAGENET_MEAN, IMAGENET_STD), layers.float().eval().requires_grad_(False))


def patch_corners(image_BCHW: Tensor, *, patches: int, patch_size: int, draw: torch.Generator) -> list[tuple[int, int]]:
    """Top and left of random patches. As published, a patch lies at the same place in all images of a batch."""
    height, width = image_BCHW.shape[-2:]
    tops, lefts = (
        torch.randint(pixels - patch_size + 1, (patches,), generator=draw).tolist() for pixels in (height, width)
    )
    return list(zip(tops, lefts, strict=True))


def cut(images_BCHW: Tensor, corners: list[tuple[int, int]], size: int) -> Tensor:
    """-> patches_BCHW (patches * B, C, size, size), with gradients."""
    return torch.cat([images_BCHW[..., top : top + size, left : left + size] for top, left in corners])


def learning_rate_factor(epoch: int, epochs: int) -> float:
    """1 in the first half of the epochs, then linearly towards 0, which it would reach after the last."""
    return min(1.0, (epochs - epoch) / (epochs - epochs // 2))


def _check(dark_NHWC: Frames, bright_NHWC: Frames, *, patch_size: int) -> None:
    if dark_NHWC.shape[1:] != bright_NHWC.shape[1:] or min(dark_NHWC.shape[1:3]) < 32:
        raise ValueError(f"images of {dark_NHWC.shape} and {bright_NHWC.shape}; valid: one size, at least 32x32")
    smaller = min(dark_NHWC.shape[1:3])
    if not SMALLEST_PATCH <= patch_size <= smaller:
        raise UserError(
            f"enlightengan.patch_size is {patch_size}; valid: {SMALLEST_PATCH} to {smaller}, the image size"
        )


def _order(count: int, length: int, draw: torch.Generator) -> Tensor:
    """`length` indices below `count` in random order; none comes again before all others have come."""
    rounds = [torch.randperm(count, generator=draw) for _ in range(math.ceil(length / count))]
    return torch.cat(rounds)[:length]


def _flipped(images_BCHW: Tensor, draw: torch.Generator) -> Tensor:
    """Each image flipped or not, along either axis."""
    for dim in (2, 3):
        flip_B111 = torch.randint(2, (len(images_BCHW), 1, 1, 1), generator=draw).bool()
        images_BCHW = torch.where(flip_B111, images_BCHW.flip(dim), images_BCHW)
    return images_BCHW


def _descend(optimizer: torch.optim.Adam, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
