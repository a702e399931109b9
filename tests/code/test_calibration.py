"""Temperature scaling: it changes how sure the probabilities are, and never which class they name."""

import numpy as np
import pytest

from darkaction.evaluation import metrics
from darkaction.evaluation.calibration import WIDEST, fit_temperature, temper


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(weights / weights.sum(-1, keepdims=True))


def overconfident(temperature: float, *, clips: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of logits that are `temperature` times too large, and labels sampled from what they should be."""
    rng = np.random.default_rng(seed)
    logits_NK = rng.normal(0, 2, (clips, 6))
    truth_NK = softmax(logits_NK)
    label_N = np.array([rng.choice(6, p=row) for row in truth_NK])
    return softmax(temperature * logits_NK), label_N


def test_tempering_by_hand() -> None:
    np.testing.assert_allclose(temper(np.array([0.8, 0.2]), 1.0), [0.8, 0.2])
    np.testing.assert_allclose(temper(np.array([0.8, 0.2]), 2.0), [2 / 3, 1 / 3])
    np.testing.assert_allclose(temper(np.array([0.8, 0.2]), 0.5), [16 / 17, 1 / 17])
    np.testing.assert_allclose(temper(np.array([1.0, 0.0]), 3.0), [1, 0], atol=1e-90)


@pytest.mark.parametrize("temperature", [1 / WIDEST, 0.3, 1.0, 2.5, WIDEST])
def test_tempering_keeps_the_order_of_the_classes(temperature: float) -> None:
    probabilities_NK, _ = overconfident(1.0, clips=200, seed=1)
    tempered_NK = temper(probabilities_NK, np.full((200, 1), temperature))
    np.testing.assert_allclose(tempered_NK.sum(1), 1)
    assert (tempered_NK.argmax(1) == probabilities_NK.argmax(1)).all()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_of_a_known_error_is_found(temperature: float) -> None:
    probabilities_NK, label_N = overconfident(temperature, clips=4000, seed=0)
    found = fit_temperature(probabilities_NK, label_N)
    assert found == pytest.approx(temperature, rel=0.1)
    other_NK, other_N = overconfident(temperature, clips=4000, seed=1)  # clips that it was not fitted to
    before, after = (
        metrics.calibration_error(metrics.reliability(values, other_N, bins=10))
        for values in (other_NK, temper(other_NK, found))
    )
    assert after < 0.03
    if temperature != 1.0:
        assert after < before / 3


def test_few_clips_without_an_error_do_not_make_it_certain() -> None:
    sure_NK = np.tile([0.7, 0.2, 0.1], (12, 1))
    found = fit_temperature(sure_NK, np.zeros(12, int))
    assert 0.15 < found < 1
    assert fit_temperature(sure_NK, np.full(12, 2)) < WIDEST
    with pytest.raises(ValueError, match="no clip"):
        fit_temperature(np.zeros((0, 3)), np.zeros(0, int))
