"""The loss terms against the published code's numbers and against equations 1-4 written out by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import golden
from darkaction.enhancement import losses
from darkaction.enhancement.zero_dce import ZeroDCE, initialise

Case = tuple[Tensor, Tensor, Tensor]


def golden_case(shared_dir: Path, name: str, dtype: torch.dtype) -> tuple[Case, dict[str, float]]:
    arrays, _ = golden.load(shared_dir, "zero_dce_losses")
    if name == "a":
        # The division is done in float32, as for the reference.
        image = torch.from_numpy(arrays["a_input_u8"]).permute(0, 3, 1, 2).float() / 255
    else:
        image = torch.from_numpy(arrays["b_input"])
    tensors = (image, torch.from_numpy(arrays[f"{name}_enh"]), torch.from_numpy(arrays[f"{name}_maps"]))
    values = dict(zip(arrays[f"{name}_names"].tolist(), arrays[f"{name}_f64"].tolist(), strict=True))
    return tuple(tensor.to(dtype) for tensor in tensors), values  # type: ignore[return-value]


def random_case(*, height: int = 40, width: int = 52, batch: int = 2) -> Case:
    generator = torch.Generator().manual_seed(0)
    shape = (batch, 3, height, width)
    image = 0.2 * torch.rand(shape, generator=generator, dtype=torch.float64)
    enhanced = torch.rand(shape, generator=generator, dtype=torch.float64)
    maps = 2 * torch.rand((batch, 24, height, width), generator=generator, dtype=torch.float64) - 1
    return image, enhanced, maps


@pytest.mark.parametrize("name", ["a", "b"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-5)])
@pytest.mark.parametrize(
    ("form", "reference"),
    [
        (
            "paper",
            {
                "spa": "paper_spa_abs_realneighbours",
                "exp": "paper_exp_abs",
                "col": "paper_col_sumsq",
                "tv": "paper_tv_pixelmean_crop",
            },
        ),
        ("published", {"spa": "official_spa", "exp": "official_exp", "col": "official_col", "tv": "official_tv"}),
    ],
)
def test_terms_match_the_reference(
    shared_dir: Path, name: str, dtype: torch.dtype, tolerance: float, form: str, reference: dict[str, str]
) -> None:
    case, values = golden_case(shared_dir, name, dtype)
    terms = losses.FORMS[form](*case, exposure=0.6)
    assert terms.keys() == reference.keys()
    for term, key in reference.items():
        assert terms[term].item() == pytest.approx(values[key], rel=tolerance), term


@pytest.mark.parametrize("name", ["a", "b"])
def test_totals_match_the_reference(shared_dir: Path, name: str) -> None:
    case, values = golden_case(shared_dir, name, torch.float64)
    published = losses.total(
        losses.published_terms(*case, exposure=0.6), {"spa": 1.0, "exp": 10.0, "col": 5.0, "tv": 200.0}
    )
    assert published.item() == pytest.approx(values["official_total_1_10_5_200"], rel=1e-6)
    paper = losses.total(losses.paper_terms(*case, exposure=0.6), {"spa": 1.0, "exp": 1.0, "col": 0.5, "tv": 20.0})
    assert paper.item() == pytest.approx(values["paper_total_1_1_0.5_20"], rel=1e-6)


@pytest.mark.parametrize("name", ["a", "b"])
def test_gradients_of_the_published_total_match_the_reference(shared_dir: Path, name: str) -> None:
    (image, enhanced, maps), _ = golden_case(shared_dir, name, torch.float64)
    arrays, _ = golden.load(shared_dir, "zero_dce_losses")
    enhanced.requires_grad_()
    maps.requires_grad_()
    terms = losses.published_terms(image, enhanced, maps, exposure=0.6)
    losses.total(terms, {"spa": 1.0, "exp": 10.0, "col": 5.0, "tv": 200.0}).backward()
    assert enhanced.grad is not None
    assert maps.grad is not None
    norms = [enhanced.grad.norm().item(), maps.grad.norm().item()]
    np.testing.assert_allclose(norms, arrays[f"{name}_grad_total_l2"], rtol=1e-5)
    for gradient, key, side in ((enhanced.grad, "enh", 16), (maps.grad, "maps", 8)):
        expected = arrays[f"{name}_grad_{key}_corner"]
        np.testing.assert_allclose(gradient[..., :side, :side], expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_paper_terms_are_equations_1_to_4_written_out() -> None:
    image, enhanced, maps = random_case(batch=1)
    terms = losses.paper_terms(image, enhanced, maps, exposure=0.55)
    before, after = (x[0].mean(0).reshape(10, 4, 13, 4).mean(dim=(1, 3)).numpy() for x in (image, enhanced))
    spatial = 0.0
    for i, j in np.ndindex(10, 13):
        for k, m in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
            if 0 <= k < 10 and 0 <= m < 13:
                spatial += (abs(after[i, j] - after[k, m]) - abs(before[i, j] - before[k, m])) ** 2
    assert terms["spa"].item() == pytest.approx(spatial / 130)
    patches = enhanced[0].mean(0)[:32, :48].reshape(2, 16, 3, 16).mean(dim=(1, 3))  # the remainder is left out
    assert terms["exp"].item() == pytest.approx((patches - 0.55).abs().mean().item())
    red, green, blue = enhanced[0].mean(dim=(1, 2)).tolist()
    assert terms["col"].item() == pytest.approx((red - green) ** 2 + (red - blue) ** 2 + (green - blue) ** 2)
    a = maps[0].numpy()
    gradient = np.abs(a[:, :-1, 1:] - a[:, :-1, :-1]) + np.abs(a[:, 1:, :-1] - a[:, :-1, :-1])
    assert terms["tv"].item() == pytest.approx((gradient**2).sum() / (8 * 39 * 51))


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
    initialise(network, seed=0)
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
