"""Focal loss against its formula in float64."""

import numpy as np
import pytest
import torch

import golden
from darkaction.training.focal import FocalLoss, class_weights

LOGITS = np.concatenate(
    [3 * golden.hash_uniform("focal.logits", (6, 6)), [[40, 0, -5, 1, 2, 3], [-400, 9, 0, 1, 2, 3]]]
)
LABELS = np.array([0, 1, 2, 3, 4, 5, 0, 0])
"""The last two samples are as sure as a network can be: of the right class, and of a wrong one."""

WEIGHTS = {"none": np.ones(6), "scalar0.25": np.full(6, 0.25), "class": np.array([0.2, 0.5, 1.0, 1.5, 2.0, 0.8])}


def written_out(logits: np.ndarray, label: int, weight: float, gamma: int) -> tuple[float, np.ndarray]:
    """-alpha (1 - p)^gamma log p of one sample (equation 13), and its gradient for the logits. 1 - p is summed from
    the other classes, so that it is right also where p rounds to 1."""
    log_p = logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())
    p, rest = np.exp(log_p[label]), np.exp(np.delete(log_p, label)).sum()
    slope = rest**gamma - (
        gamma * rest ** (gamma - 1) * p * log_p[label] if gamma else 0.0
    )  # d / d log p, without -alpha
    direction = np.eye(len(logits))[label] - np.exp(log_p)
    direction[label] = rest
    return -weight * rest**gamma * log_p[label], -weight * slope * direction


@pytest.mark.parametrize("gamma", [0, 1, 2, 3])
@pytest.mark.parametrize("alpha", WEIGHTS)
def test_values_and_gradients(gamma: int, alpha: str) -> None:
    expected = [written_out(*sample, WEIGHTS[alpha][sample[1]], gamma) for sample in zip(LOGITS, LABELS, strict=True)]
    values, gradients = (np.array(part) for part in zip(*expected, strict=True))
    logits = torch.from_numpy(LOGITS.copy()).requires_grad_()
    labels = torch.from_numpy(LABELS)
    loss = FocalLoss(gamma=gamma, alpha_K=None if alpha == "none" else torch.from_numpy(WEIGHTS[alpha]))
    per_sample = loss.per_sample(logits, labels)
    per_sample.sum().backward()
    np.testing.assert_allclose(per_sample.detach(), values, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(logits.grad, gradients, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(loss(logits[:6], labels[:6]).item(), values[:6].mean(), rtol=1e-9)


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
