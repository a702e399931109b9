"""MRAN: the module and its loss against the published implementation, the training on two domains."""

import numpy as np
import pytest
import torch
from torch import nn

import golden
from darkaction.models.heads.mran import MultiRepresentation
from darkaction.training.adaptation import cmmd, strength
from darkaction.training.augmentation import Augmenter
from darkaction.training.loader import Clip, PairedSampler, TrainingClips, training_loader
from darkaction.training.sampling import Sampler

CASES = {
    "c1_random_labels": "target_1",
    "c2_same_labels": "target_2",
    "c3_identical_domains": "source",
    "c4_disjoint_pseudo_labels": "target_2",
    "c5_argmax_of_target_logits": "target_1",
}
"""The features that stand for the target domain."""

PUBLISHED = {
    "branches.0": "branch1x1",
    "branches.1.0": "branch5x5_1",
    "branches.1.1": "branch5x5_2",
    "branches.2.0": "branch3x3dbl_1",
    "branches.2.1": "branch3x3dbl_2",
    "branches.2.2": "branch3x3dbl_3",
    "branches.3.1": "branch_pool",
}
"""Our units by the names of the published code."""


def published_name(name: str) -> str:
    if name.startswith("classifier"):
        return f"source_fc.{name.partition('.')[2]}"
    unit, _, rest = max(
        (name.partition(f"{own}.") for own in PUBLISHED if name.startswith(f"{own}.")), key=lambda t: len(t[1])
    )
    own = f"{unit}{_}".rstrip(".")
    layer, _, leaf = rest.partition(".")
    return f"{PUBLISHED[own]}.{'conv' if layer == '0' else 'bn'}.{leaf}"


@pytest.mark.parametrize("case", CASES)
def test_discrepancy_and_its_gradient_are_those_of_the_published_code(case: str) -> None:
    arrays = golden.load("mran")
    source, target = (torch.from_numpy(arrays[name].copy()).requires_grad_() for name in ("source", CASES[case]))
    labels = [torch.from_numpy(arrays[f"{case}/{name}"]).long() for name in ("s_label", "t_label")]
    found = cmmd(source, target, *labels)
    assert found.item() == pytest.approx(float(arrays[f"{case}/cmmd"]), abs=1e-6)
    found.backward()
    np.testing.assert_allclose(source.grad, arrays[f"{case}/grad_source"], atol=1e-6)
    np.testing.assert_allclose(target.grad, arrays[f"{case}/grad_target"], atol=1e-6)


@pytest.mark.parametrize("same", [True, False])
def test_one_clip_of_each_domain_by_hand(same: bool) -> None:
    """The bandwidths are 1/4, 1/2, 1, 2 and 4 times the distance; clips of two classes are not compared."""
    source, target = torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, 6.0]])
    found = cmmd(source, target, torch.tensor([1]), torch.tensor([1 if same else 0]))
    across = sum(np.exp(-1 / factor) for factor in (1 / 4, 1 / 2, 1, 2, 4))
    assert found.item() == pytest.approx(5 + 5 - (2 * across if same else 0), rel=1e-5)


def module_of_the_reference() -> MultiRepresentation:
    module = MultiRepresentation(32, num_classes=6)
    golden.fill_cnn(module, {name: published_name(name) for name in module.state_dict()})
    return module


def maps_of_the_reference() -> tuple[torch.Tensor, torch.Tensor]:
    source = golden.uniform_tensor("mran.inc.source", (16, 32, 7, 7))
    return source, golden.uniform_tensor("mran.inc.target", (16, 32, 7, 7), 0.8) + 0.2


def test_module_is_that_of_the_published_code() -> None:
    arrays = golden.load("mran")
    module = module_of_the_reference()
    assert {published_name(name) for name in module.state_dict()} == set(arrays["module/key_names"])
    source, target = maps_of_the_reference()
    with torch.no_grad():
        logits, features = module.eval()(source)
        _, features_of_target = module(target)
    np.testing.assert_allclose(logits, arrays["module/eval_logits_source"], atol=1e-5)
    np.testing.assert_allclose(torch.cat(features, dim=1), arrays["module/eval_feat_source"], atol=1e-5)
    np.testing.assert_allclose(torch.cat(features_of_target, dim=1), arrays["module/eval_feat_target"], atol=1e-5)
    for width, parameters in ((2048, 709_286), (512, 340_646)):
        count = sum(tensor.numel() for tensor in MultiRepresentation(width, num_classes=6).parameters())
        assert count == parameters


def test_loss_in_training_is_that_of_the_published_code() -> None:
    """Both domains pass on their own, so that BatchNorm uses the statistics of each."""
    arrays = golden.load("mran")
    module = module_of_the_reference().train()
    (logits, source), (_, target) = (module(features) for features in maps_of_the_reference())
    np.testing.assert_allclose(logits.detach(), arrays["module/train_logits_source"], atol=1e-4)
    labels = [torch.from_numpy(arrays[f"module/{name}"]).long() for name in ("s_label", "t_pseudo")]
    losses = [cmmd(a, b, *labels).item() for a, b in zip(source, target, strict=True)]
    np.testing.assert_allclose(losses, arrays["module/train_loss_per_branch"], atol=1e-5)


def test_discrepancy_of_constant_features_has_a_finite_gradient() -> None:
    same = torch.zeros(4, 3, requires_grad=True)
    found = cmmd(same, torch.zeros(4, 3), torch.tensor([0, 1, 2, 3]), torch.tensor([0, 1, 2, 3]))
    found.backward()
    assert found.item() == 0
    assert same.grad is not None
    assert bool(same.grad.isfinite().all())


def test_strength_rises_from_nothing_to_almost_all() -> None:
    values = [strength(epoch, 20) for epoch in range(20)]
    assert values[0] == 0
    assert values == sorted(values)
    assert 0.99 < values[-1] < 1
    assert strength(2, 20) == pytest.approx(2 / (1 + np.exp(-1)) - 1)


class Blank:
    """Frames that do not matter."""

    def load(self, clip_id: str) -> np.ndarray:
        return np.zeros((9, 8, 8, 3), np.uint8)

    def load_flow(self, clip_id: str) -> np.ndarray:
        raise AssertionError("no flow was asked for")


@pytest.mark.parametrize(("source", "target"), [(10, 7), (5, 16), (8, 8)])
def test_batches_hold_both_domains_in_halves_and_an_epoch_shows_all_of_the_larger(source: int, target: int) -> None:
    numbers = [list(range(source)), list(range(source, source + target))]
    order = PairedSampler(*numbers, half=2, seed=3)
    first = [number for _, number in order]
    assert len(first) == len(order)
    batches = np.array(first).reshape(-1, 4)
    assert (batches[:, :2] < source).all()
    assert (batches[:, 2:] >= source).all()
    larger = batches[:, :2] if source >= target else batches[:, 2:]
    assert len(set(larger.ravel().tolist())) == larger.size  # none twice
    order.set_epoch(1)
    assert [number for _, number in order] != first
    order.set_epoch(0)
    assert [number for _, number in order] == first


def test_a_domain_smaller_than_half_a_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="1 and 9 clips of two domains; 4 of each"):
        PairedSampler([0], list(range(1, 10)), half=4, seed=0)


def test_labels_come_in_the_order_of_the_domains() -> None:
    clips = [Clip(clip_id=str(n), label=n // 6, source=Blank(), flow=False) for n in range(12)]  # label = domain
    sampler = Sampler(
        strategy="delta", num_frames=4, delta_min=0.0, delta_max=0.0, max_rate=8.0, min_frames=9, max_frames=9
    )
    shown = TrainingClips(
        clips,
        sampler=sampler,
        augmenter=Augmenter(flip=0.0, rotation=0.0, translation=0.0),
        seed=0,
        epochs=1,
        delta_curriculum=0.0,
    )
    loader = training_loader(shown, batch_size=4, workers=0, source=[6, 7, 8, 9, 10, 11])
    labels = [label.tolist() for _, label in loader]
    assert labels == [[1, 1, 0, 0]] * 3


def test_module_replaces_no_gradient_of_the_others() -> None:
    """Every parameter of the module takes part in its opinion."""
    module = MultiRepresentation(8, num_classes=3)
    logits, features = module(torch.rand(4, 8, 3, 3))
    (logits.sum() + sum(part.sum() for part in features)).backward()
    assert isinstance(module, nn.Module)
    assert all(parameter.grad is not None for parameter in module.parameters())
