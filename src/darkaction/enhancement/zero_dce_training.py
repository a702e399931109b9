"""Training of Zero-DCE without references (sections 3.2 and 4.1): equations 1-5 of the paper, and the released forms.

Two forms of the same four terms stand in for a distance to a reference. `paper` is equations 1-4 as printed;
`published` is what the released training code computes: other exponents, zero-padded neighbours, other normalisation.
Each returns its terms by name, and `total` weighs them (equation 5).

Shapes: N images, B batch, H W pixels. image_BCHW and enhanced_BCHW are RGB in [0, 1], maps_BMHW are the 24 curve maps,
channel 3 * iteration + colour. Every gradient is finite, on grey and on black images too.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from darkaction.data.video import Frames
from darkaction.enhancement.checks import add_terms
from darkaction.enhancement.networks import initialise
from darkaction.enhancement.settings import ZeroDce
from darkaction.enhancement.zero_dce import ITERATIONS, ZeroDCE

SPATIAL_REGION = 4
"""Pixels on a side of the local regions of equation 1."""

EXPOSURE_REGION = 16
"""Pixels on a side of the local regions of equation 2."""

Terms = dict[str, Tensor]
"""Scalars by name: spa, exp, col, tv."""


def paper_terms(image_BCHW: Tensor, enhanced_BCHW: Tensor, maps_BMHW: Tensor, *, exposure: float) -> Terms:
    """Equations 1-4 as printed; `exposure` is E of equation 2. Each is the mean over the batch."""
    return {
        "spa": _spatial_paper(image_BCHW, enhanced_BCHW),
        "exp": (_regions(enhanced_BCHW, EXPOSURE_REGION) - exposure).abs().mean(),
        "col": _colour_pairs(enhanced_BCHW).square().sum(dim=1).mean(),
        "tv": _smoothness_paper(maps_BMHW),
    }


def published_terms(image_BCHW: Tensor, enhanced_BCHW: Tensor, maps_BMHW: Tensor, *, exposure: float) -> Terms:
    """The terms as the released training code computes them; `exposure` is E. Each is the mean over the batch."""
    return {
        "spa": _spatial_published(image_BCHW, enhanced_BCHW),
        "exp": (_regions(enhanced_BCHW, EXPOSURE_REGION) - exposure).square().mean(),
        # sqrt(sum of d^4) written as a norm: its gradient at zero is zero, where that of the square root is infinite.
        "col": torch.linalg.vector_norm(_colour_pairs(enhanced_BCHW).square(), dim=1).mean(),
        "tv": _smoothness_published(maps_BMHW),
    }


FORMS: dict[str, Callable[..., Terms]] = {"paper": paper_terms, "published": published_terms}
"""The values of zero_dce.losses."""


def total(terms: Terms, weights: Mapping[str, float]) -> Tensor:
    """Equation 5: the weighted sum. As printed L_exp has the weight 1; here it has a weight like the others."""
    return torch.stack([weights[name] * value for name, value in terms.items()]).sum()


def train(
    frames_NHWC: Frames,
    settings: ZeroDce,
    *,
    seed: int,
    device: torch.device,
    on_epoch: Callable[[int, dict[str, float]], None],
) -> ZeroDCE:
    """Trains a network on uint8 images (N, H, W, 3), H and W at least 32; the same seed gives the same network.

    Args:
        on_epoch: called with the epoch (from 0) and the mean of each loss term and of the weighted `total`.

    Raises:
        UserError: as soon as a loss is not finite.
    """
    network = ZeroDCE(curve_scale=1.0)
    initialise(network, generator=torch.Generator().manual_seed(seed))
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    order = torch.Generator().manual_seed(seed)
    images = torch.from_numpy(frames_NHWC).permute(0, 3, 1, 2)
    remedy = "lower zero_dce.lr or zero_dce.grad_clip"
    with tqdm(total=settings.epochs * len(images), desc="Zero-DCE", unit="image") as progress:
        for epoch in range(settings.epochs):
            sums: dict[str, float] = {}
            for batch in torch.randperm(len(images), generator=order).split(settings.batch_size):
                image_BCHW = images[batch].to(device).float() / 255
                terms = FORMS[settings.losses](image_BCHW, *network(image_BCHW), exposure=settings.exposure)
                terms |= {"total": total(terms, asdict(settings.weights))}
                optimizer.zero_grad()
                terms["total"].backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), settings.grad_clip)
                optimizer.step()
                add_terms(sums, terms, share=len(batch) / len(images), epoch=epoch, network="Zero-DCE", remedy=remedy)
                progress.update(len(batch))
            progress.set_postfix(loss=f"{sums['total']:.4g}")
            on_epoch(epoch, sums)
    return network.eval().requires_grad_(False)


def _regions(image_BCHW: Tensor, size: int) -> Tensor:
    """Mean intensity of the non-overlapping size x size regions, (B, 1, H // size, W // size)."""
    return F.avg_pool2d(image_BCHW.mean(dim=1, keepdim=True), size)


def _spatial_paper(image: Tensor, enhanced: Tensor) -> Tensor:
    """Equation 1. Neighbours outside the image are left out of Omega(i)."""
    before, after = _regions(image, SPATIAL_REGION), _regions(enhanced, SPATIAL_REGION)
    change = [(after.diff(dim=dim).abs() - before.diff(dim=dim).abs()).square().sum() for dim in (2, 3)]
    # Each pair of neighbours stands in the sum twice: once for either of its two regions.
    return 2 * (change[0] + change[1]) / before.numel()


def _spatial_published(image: Tensor, enhanced: Tensor) -> Tensor:
    """Signed differences, and neighbours outside the image count as black, which holds its rim back.

    The difference of differences (Y_i - Y_j) - (I_i - I_j) is D_i - D_j with D = Y - I.
    """
    change = F.pad(_regions(enhanced, SPATIAL_REGION) - _regions(image, SPATIAL_REGION), (1, 1, 1, 1))
    centre = change[..., 1:-1, 1:-1]
    neighbours = (change[..., :-2, 1:-1], change[..., 2:, 1:-1], change[..., 1:-1, :-2], change[..., 1:-1, 2:])
    return torch.stack([(centre - other).square() for other in neighbours]).sum(dim=0).mean()


def _colour_pairs(enhanced: Tensor) -> Tensor:
    """Differences of the channel means for (R, G), (R, B), (G, B): (B, 3)."""
    red, green, blue = enhanced.mean(dim=(2, 3)).unbind(dim=1)
    return torch.stack([red - green, red - blue, green - blue], dim=1)


def _smoothness_paper(maps: Tensor) -> Tensor:
    """Equation 4. The paper leaves the reduction over pixels open: the mean over those that have both gradients."""
    horizontal = maps[..., :-1, :].diff(dim=3).abs()
    vertical = maps[..., :, :-1].diff(dim=2).abs()
    return (horizontal + vertical).square().mean(dim=(0, 2, 3)).sum() / ITERATIONS


def _smoothness_published(maps: Tensor) -> Tensor:
    """Twice the squares, summed over all 24 maps: no cross term and no division by the number of iterations."""
    squares = [maps.diff(dim=dim).square().mean(dim=(0, 2, 3)).sum() for dim in (2, 3)]
    return 2 * (squares[0] + squares[1])
