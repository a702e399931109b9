"""What Zero-DCE minimises instead of a distance to a reference: equations 1-5 of the paper, and the released forms.

Two forms of the same four terms. `paper` is equations 1-4 as printed; `published` is what the released training code
computes: other exponents, zero-padded neighbours, other normalisation. Each returns its terms by name, and `total`
weighs them (equation 5).

Shapes: B batch, H W pixels. image_BCHW and enhanced_BCHW are RGB in [0, 1], maps_BMHW are the 24 curve maps, channel
3 * iteration + colour. Every gradient is finite, on grey and on black images too.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from darkaction.enhancement.zero_dce import ITERATIONS

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
