"""The loss terms against equations 1-4, and against the steps of the released code, written out by hand."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

import golden
from darkaction.enhancement import zero_dce_training as losses
from darkaction.enhancement.networks import initialise
from darkaction.enhancement.zero_dce import ZeroDCE

Array = NDArray[np.float64]
Case = tuple[Tensor, Tensor, Tensor]
"""Dark images, enhanced images and 24 curve maps."""


def hashed_case(name: str, dtype: torch.dtype) -> Case:
    """`smooth`: two pictures whose neighbouring pixels are alike; `noise`: one whose sides no region divides."""
    if name == "noise":
        parts = [golden.hash_uniform(f"losses.noise.{k}", (1, c, 58, 75)) for k, c in enumerate((3, 3, 24))]
    else:
        small = [golden.uniform_tensor(f"losses.smooth.{k}", (2, c, 9, 11)).double() for k, c in enumerate((3, 3, 24))]
        parts = [F.interpolate(part, size=(64, 80), mode="bicubic").clamp(-1, 1).numpy() for part in small]
    tint = np.array([0.12, 0.0, -0.08]).reshape(3, 1, 1)
    image, enhanced, maps = 0.1 + 0.1 * parts[0], 0.5 + 0.3 * parts[1] + tint, parts[2]
    # Rounded to float32 first, so that both types are given the same numbers.
    return tuple(torch.from_numpy(part).float().to(dtype) for part in (image, enhanced, maps))  # type: ignore[return-value]


def random_case(*, height: int = 40, width: int = 52, batch: int = 2) -> Case:
    generator = torch.Generator().manual_seed(0)
    shape = (batch, 3, height, width)
    image = 0.2 * torch.rand(shape, generator=generator, dtype=torch.float64)
    enhanced = torch.rand(shape, generator=generator, dtype=torch.float64)
    maps = 2 * torch.rand((batch, 24, height, width), generator=generator, dtype=torch.float64) - 1
    return image, enhanced, maps


def regions(image_CHW: Array, size: int) -> Array:
    """Mean intensity of the whole size x size regions."""
    rows, columns = image_CHW.shape[1] // size, image_CHW.shape[2] // size
    grey = image_CHW.mean(0)[: rows * size, : columns * size]
    return grey.reshape(rows, size, columns, size).mean(axis=(1, 3))


def neighbours(shape: tuple[int, ...], *, outside: bool) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Every region with each of its four neighbours, with or without those outside the image."""
    pairs = []
    for i, j in np.ndindex(*shape):
        for k, m in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
            if outside or (0 <= k < shape[0] and 0 <= m < shape[1]):
                pairs.append(((i, j), (k, m)))
    return pairs


def written_out_paper(image: Array, enhanced: Array, maps: Array) -> dict[str, float]:
    """Equations 1-4 for one image, E = 0.6."""
    before, after = regions(image, 4), regions(enhanced, 4)
    pairs = neighbours(before.shape, outside=False)
    spatial = sum((abs(after[a] - after[b]) - abs(before[a] - before[b])) ** 2 for a, b in pairs)
    red, green, blue = enhanced.mean(axis=(1, 2))
    gradient = np.abs(maps[:, :-1, 1:] - maps[:, :-1, :-1]) + np.abs(maps[:, 1:, :-1] - maps[:, :-1, :-1])
    return {
        "spa": spatial / before.size,
        "exp": np.abs(regions(enhanced, 16) - 0.6).mean(),
        "col": (red - green) ** 2 + (red - blue) ** 2 + (green - blue) ** 2,
        "tv": (gradient**2).sum() / (8 * gradient[0].size),
    }


def written_out_published(image: Array, enhanced: Array, maps: Array) -> dict[str, float]:
    """What the released training code computes for one image, in its own steps: signed differences to neighbours that
    are black outside the image, squares for magnitudes, fourth powers for colours, each direction's own mean."""
    before, after = (np.pad(regions(x, 4), 1) for x in (image, enhanced))
    shape = (before.shape[0] - 2, before.shape[1] - 2)
    spatial = 0.0
    for (i, j), (k, m) in neighbours(shape, outside=True):
        difference_after = after[i + 1, j + 1] - after[k + 1, m + 1]
        difference_before = before[i + 1, j + 1] - before[k + 1, m + 1]
        spatial += (difference_after - difference_before) ** 2
    red, green, blue = enhanced.mean(axis=(1, 2))
    _, height, width = maps.shape
    vertical, horizontal = ((np.diff(maps, axis=axis) ** 2).sum() for axis in (1, 2))
    return {
        "spa": spatial / (shape[0] * shape[1]),
        "exp": ((regions(enhanced, 16) - 0.6) ** 2).mean(),
        "col": np.sqrt((red - green) ** 4 + (red - blue) ** 4 + (green - blue) ** 4),
        "tv": 2 * (vertical / ((height - 1) * width) + horizontal / (height * (width - 1))),
    }


WRITTEN_OUT = {"paper": written_out_paper, "published": written_out_published}
WEIGHTS = {
    "paper": {"spa": 1.0, "exp": 1.0, "col": 0.5, "tv": 20.0},
    "published": {"spa": 1.0, "exp": 10.0, "col": 5.0, "tv": 200.0},
}


def written_out(form: str, case: Case) -> dict[str, float]:
    """The mean of every term over the images."""
    images = [WRITTEN_OUT[form](*(part.numpy() for part in parts)) for parts in zip(*case, strict=True)]
    return {term: float(np.mean([terms[term] for terms in images])) for term in images[0]}


def test_written_out_forms_give_numbers_worked_out_by_hand() -> None:
    """An image of 16 x 16 whose right half is brightened by 0.5, in the red channel alone."""
    image, enhanced = np.zeros((3, 16, 16)), np.zeros((3, 16, 16))
    enhanced[0, :, 8:] = 0.5
    maps = np.zeros((24, 16, 16))
    maps[5, 8:] = 0.3  # one map with one horizontal edge: 16 columns of a step of 0.3, of which 15 have both gradients
    paper, published = (form(image, enhanced, maps) for form in WRITTEN_OUT.values())
    step = 0.5 / 3
    assert paper["spa"] == pytest.approx(2 * 4 * step**2 / 16)  # 4 pairs across the edge, seen from both sides
    assert published["spa"] == pytest.approx((2 * 4 + 8) * step**2 / 16)  # and 8 rims of bright regions
    assert (paper["exp"], published["exp"]) == pytest.approx((0.6 - step / 2, (0.6 - step / 2) ** 2))
    assert (paper["col"], published["col"]) == pytest.approx((2 * 0.25**2, np.sqrt(2) * 0.25**2))
    assert paper["tv"] == pytest.approx(15 * 0.09 / (8 * 15 * 15))
    assert published["tv"] == pytest.approx(2 * 16 * 0.09 / (15 * 16))


@pytest.mark.parametrize("name", ["smooth", "noise"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-5)])
@pytest.mark.parametrize("form", losses.FORMS)
def test_terms_and_their_total_are_those_written_out(
    name: str, dtype: torch.dtype, tolerance: float, form: str
) -> None:
    case = hashed_case(name, dtype)
    expected = written_out(form, hashed_case(name, torch.float64))
    terms = losses.FORMS[form](*case, exposure=0.6)
    assert terms.keys() == expected.keys()
    for term, value in expected.items():
        assert terms[term].item() == pytest.approx(value, rel=tolerance), term
    weighted = sum(WEIGHTS[form][term] * value for term, value in expected.items())
    assert losses.total(terms, WEIGHTS[form]).item() == pytest.approx(weighted, rel=tolerance)


@pytest.mark.parametrize("name", ["smooth", "noise"])
@pytest.mark.parametrize("form", losses.FORMS)
def test_gradients_of_the_total_are_the_slopes_of_what_is_written_out(name: str, form: str) -> None:
    """Along five directions for the enhanced image and five for the maps."""
    image, enhanced, maps = hashed_case(name, torch.float64)
    enhanced.requires_grad_()
    maps.requires_grad_()
    losses.total(losses.FORMS[form](image, enhanced, maps, exposure=0.6), WEIGHTS[form]).backward()

    def value(enhanced: Tensor, maps: Tensor) -> float:
        terms = written_out(form, (image, enhanced.detach(), maps.detach()))
        return sum(WEIGHTS[form][term] * part for term, part in terms.items())

    # The paper's magnitudes have a kink at zero, which a small step seldom crosses; the published squares have none.
    step = {"paper": 1e-8, "published": 1e-5}[form]
    for number in range(5):
        for k, moved in enumerate((enhanced, maps)):
            direction = torch.from_numpy(golden.hash_uniform(f"direction.{number}.{k}", tuple(moved.shape)))
            both = ((direction, 0.0), (0.0, direction))[k]
            up, down = (value(enhanced + sign * step * both[0], maps + sign * step * both[1]) for sign in (1, -1))
            assert moved.grad is not None
            along = (moved.grad * direction).sum().item()
            assert (up - down) / (2 * step) == pytest.approx(along, rel=1e-4, abs=1e-4 * moved.grad.norm().item())


@pytest.mark.parametrize("form", losses.FORMS)
def test_terms_of_a_batch_are_the_mean_of_its_images(form: str) -> None:
    image, enhanced, maps = random_case(batch=3)
    together = losses.FORMS[form](image, enhanced, maps, exposure=0.6)
    single = [
        losses.FORMS[form](image[i : i + 1], enhanced[i : i + 1], maps[i : i + 1], exposure=0.6) for i in range(3)
    ]
    for name, value in together.items():
        assert value.item() == pytest.approx(np.mean([terms[name].item() for terms in single])), name


@pytest.mark.parametrize("form", losses.FORMS)
def test_exposure_is_a_parameter(form: str) -> None:
    case = random_case()
    low, high = (losses.FORMS[form](*case, exposure=e) for e in (0.5, 0.9))
    assert low["exp"] < high["exp"]  # the mean of the enhanced image is one half
    assert all(low[name] == high[name] for name in ("spa", "col", "tv"))


@pytest.mark.parametrize("form", losses.FORMS)
@pytest.mark.parametrize("level", [0.0, 0.3, 0.6, 1.0])
def test_gradients_are_finite_on_images_of_one_grey(form: str, level: float) -> None:
    network = ZeroDCE(curve_scale=1.0)
    initialise(network, generator=torch.Generator().manual_seed(0))
    image = torch.full((2, 3, 32, 48), level, requires_grad=True)
    enhanced, maps = network(image)
    terms = losses.FORMS[form](image, enhanced, maps, exposure=0.6)
    losses.total(terms, {"spa": 10.0, "exp": 1.0, "col": 5.0, "tv": 200.0}).backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None
        assert weight.grad.isfinite().all(), name
    # And for an enhanced image that is exactly grey, where the published colour term's square root has no slope.
    grey = torch.full((2, 3, 32, 48), level, requires_grad=True)
    losses.total(
        losses.FORMS[form](image.detach(), grey, maps.detach(), exposure=0.6), dict.fromkeys(terms, 1.0)
    ).backward()
    assert grey.grad is not None
    assert grey.grad.isfinite().all()


def test_every_term_pulls_where_it_should() -> None:
    """Of two candidates each term prefers the better one."""
    maps = random_case()[2]
    scene = torch.linspace(0, 0.2, 52, dtype=torch.float64).expand(2, 3, 40, 52)
    well_lit, flat = scene + 0.5, torch.full_like(scene, 0.6)
    tinted = well_lit * torch.tensor([1.2, 1.0, 0.8], dtype=torch.float64).view(1, 3, 1, 1)
    for form in losses.FORMS.values():
        good = form(scene, well_lit, 0 * maps, exposure=0.6)
        assert good["exp"] < form(scene, scene, maps, exposure=0.6)["exp"]
        assert good["col"] < form(scene, tinted, maps, exposure=0.6)["col"]
        assert good["tv"] < form(scene, well_lit, maps, exposure=0.6)["tv"]
    assert losses.paper_terms(scene, well_lit, maps, exposure=0.6)["spa"].item() == pytest.approx(0, abs=1e-12)
    assert losses.paper_terms(scene, flat, maps, exposure=0.6)["spa"].item() > 1e-5
