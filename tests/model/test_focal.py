"""Focal loss against its formula in float64."""

from pathlib import Path

import numpy as np
import pytest
import torch

import golden
from darkaction.training.focal import FocalLoss, class_weights


@pytest.mark.parametrize("gamma", [0, 1, 2, 3])
@pytest.mark.parametrize("alpha", ["none", "scalar0.25", "class"])
def test_values_and_gradients(shared_dir: Path, gamma: int, alpha: str) -> None:
    arrays, _ = golden.load(shared_dir, "focal")
    alpha_K = {
        "none": None, "scalar0.25": torch.full((6,), 0.25, dtype=torch.float64),
        "class": torch.from_numpy(arrays["alpha_class"]),
    }[alpha]  # fmt: skip
    logits = torch.from_numpy(arrays["logits"]).double().requires_grad_()
    labels = torch.from_numpy(arrays["labels"])
    loss = FocalLoss(gamma=gamma, alpha_K=alpha_K)
    per_sample = loss.per_sample(logits, labels)
    per_sample.sum().backward()
    np.testing.assert_allclose(per_sample.detach(), arrays[f"g{gamma}/{alpha}/per_sample"], rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(logits.grad, arrays[f"g{gamma}/{alpha}/grad_sum"], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(loss(logits[:6], labels[:6]).item(), arrays[f"g{gamma}/{alpha}/mean_first6"], rtol=1e-9)


def test_certain_prediction_has_finite_gradient() -> None:
    logits = torch.tensor([[200.0, 0.0]], requires_grad=True)
    FocalLoss(gamma=0.5, alpha_K=None)(logits, torch.tensor([0])).backward()
    assert logits.grad is not None and logits.grad.isfinite().all()


def test_class_weights() -> None:
    assert class_weights(None, labels=[0, 1], num_classes=2) is None
    assert class_weights(0.25, labels=[0], num_classes=2).tolist() == [0.25, 0.25]
    assert class_weights([1.0, 2.0], labels=[0], num_classes=2).tolist() == [1.0, 2.0]
    labels = [0, 0, 0, 1]
    balanced = class_weights("balanced", labels=labels, num_classes=2)
    torch.testing.assert_close(balanced, torch.tensor([4 / 6, 2.0]))
    assert balanced[torch.tensor(labels)].mean() == pytest.approx(1)
