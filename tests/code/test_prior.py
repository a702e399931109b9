"""Probabilities that agree with a known share of each class."""

import numpy as np
import pandas as pd

from darkaction.evaluation.prior import with_shares
from darkaction.jobs.recognizer.scoring import Piece, _together
from darkaction.params import Params


def test_means_are_the_shares_and_the_order_of_clips_stays() -> None:
    probabilities_NK = np.random.default_rng(0).dirichlet([5.0, 1.0, 1.0], 40)
    share_K = np.array([0.2, 0.3, 0.5])
    found_NK = with_shares(probabilities_NK, share_K)
    np.testing.assert_allclose(found_NK.mean(0), share_K, atol=1e-6)
    np.testing.assert_allclose(found_NK.sum(1), 1)
    odds, before = (p_NK[:, 0] / p_NK[:, 1] for p_NK in (found_NK, probabilities_NK))
    np.testing.assert_allclose(odds / before, (odds / before)[0])  # one factor a class


def test_a_bias_to_one_class_is_taken_away() -> None:
    """Twelve clips, four of each class, right but for a factor of ten on the first class."""
    label_N = np.repeat(np.arange(3), 4)
    true_NK = np.where(np.eye(3)[label_N] == 1, 0.6, 0.2)
    biased_NK = true_NK * [10, 1, 1]
    biased_NK /= biased_NK.sum(1, keepdims=True)
    assert (biased_NK.argmax(1) == 0).all()
    found_NK = with_shares(biased_NK, np.full(3, 1 / 3))
    np.testing.assert_allclose(found_NK, true_NK, atol=1e-6)


def test_what_agrees_already_stays() -> None:
    probabilities_NK = np.array([[0.7, 0.3], [0.3, 0.7]])
    np.testing.assert_array_equal(with_shares(probabilities_NK, np.array([0.5, 0.5])), probabilities_NK)


def test_scores_take_it_where_it_is_asked_for() -> None:
    rows = pd.DataFrame({"clip_id": ["a", "b"], "label": ["sit", "stand"]})
    said_DNK = np.array([[[0.9, 0.1], [0.6, 0.4]]])
    piece = Piece(part=0, fold=0, start=0, rows=rows, shuffle_frames=False)
    predicted = []
    for prior in ("null", "uniform"):
        params = Params.load(overrides=["data.classes=[sit, stand]", f"evaluate.class_prior={prior}"])
        found = _together([(piece, (said_DNK, said_DNK[0]))], params)
        assert found is not None
        predicted.append(found.predicted_N.tolist())
    assert predicted == [[0, 0], [0, 1]]
