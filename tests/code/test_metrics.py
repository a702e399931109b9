"""Metrics against hand-computed values and plain loops."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, precision_score

from darkaction.evaluation import metrics

SETTINGS = {"bootstrap_samples": 300, "confidence": 0.95, "seed": 0}

# Two draws, three clips, two classes.
PROBABILITIES_DNK = np.array(
    [
        [[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]],
        [[0.4, 0.6], [0.8, 0.2], [0.1, 0.9]],
    ]
)
LABEL_N = np.array([0, 1, 1])


def test_averaged_draws_by_hand() -> None:
    averaged_NK = metrics.average_draws(PROBABILITIES_DNK)
    np.testing.assert_allclose(averaged_NK, [[0.65, 0.35], [0.6, 0.4], [0.2, 0.8]])
    assert metrics.accuracy(averaged_NK.argmax(-1), LABEL_N) == pytest.approx(2 / 3)


def test_accuracy_by_draws_by_hand() -> None:
    table = metrics.accuracy_by_draws(PROBABILITIES_DNK, LABEL_N)
    assert table["draws"].tolist() == [1, 2]
    np.testing.assert_allclose(table["accuracy"], [4 / 6, 2 / 3])


def test_accuracy_by_draws_uses_every_draw_alike() -> None:
    rng = np.random.default_rng(0)
    probabilities_DNK = rng.dirichlet(np.ones(4), size=(5, 40))
    label_N = rng.integers(0, 4, 40)
    table = metrics.accuracy_by_draws(probabilities_DNK, label_N).set_index("draws")["accuracy"]
    assert table[1] == pytest.approx((probabilities_DNK.argmax(-1) == label_N).mean())
    assert table[5] == pytest.approx(metrics.accuracy(probabilities_DNK.mean(0).argmax(-1), label_N))
    turned = metrics.accuracy_by_draws(np.roll(probabilities_DNK, 2, axis=0), label_N).set_index("draws")["accuracy"]
    pd.testing.assert_series_equal(turned, table)


def test_more_draws_help_where_draws_are_noise() -> None:
    rng = np.random.default_rng(1)
    label_N = rng.integers(0, 3, 300)
    logits = rng.normal(0, 1.5, (7, 300, 3)) + np.eye(3)[label_N]
    probabilities_DNK = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    curve = metrics.accuracy_by_draws(probabilities_DNK, label_N)["accuracy"]
    assert curve.iloc[-1] > curve.iloc[0] + 0.15


def test_macro_f1_by_hand() -> None:
    label_N = np.array([0, 0, 0, 1, 1, 2])
    predicted_N = np.array([0, 0, 1, 1, 2, 2])
    # class 0: precision 1, recall 2/3 -> 0.8; class 1: 1/2, 1/2 -> 0.5; class 2: 1/2, 1 -> 2/3
    assert metrics.macro_f1(predicted_N, label_N) == pytest.approx((0.8 + 0.5 + 2 / 3) / 3)
    # A class without test clips is left out even where it is predicted; one that is never predicted counts 0.
    assert metrics.macro_f1(np.array([0, 0, 3]), np.array([0, 0, 1])) == pytest.approx((1.0 + 0.0) / 2)


def test_confusion_rows_are_actual_classes() -> None:
    counts_KK = metrics.confusion(np.array([1, 1, 2, 0]), np.array([0, 1, 1, 0]), 4)
    np.testing.assert_array_equal(counts_KK, [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


def test_per_class_agrees_with_sklearn() -> None:
    rng = np.random.default_rng(2)
    label_N = rng.integers(0, 3, 120)
    predicted_N = np.where(rng.random(120) < 0.6, label_N, rng.integers(0, 3, 120))
    scene_N = rng.integers(0, 8, 120).astype(str)
    table = metrics.per_class(predicted_N, label_N, scene_N, ["a", "b", "c", "never"], **SETTINGS)
    assert table["class"].tolist() == ["a", "b", "c"]
    assert table["n"].sum() == 120
    assert (table["accuracy"] * table["n"]).sum() / 120 == pytest.approx(accuracy_score(label_N, predicted_N))
    assert table["accuracy"].mean() == pytest.approx(balanced_accuracy_score(label_N, predicted_N))
    np.testing.assert_allclose(table["precision"], precision_score(label_N, predicted_N, average=None))
    assert table["f1"].mean() == pytest.approx(metrics.macro_f1(predicted_N, label_N))
    assert ((table["low"] < table["accuracy"]) & (table["accuracy"] < table["high"])).all()


def test_a_class_that_is_never_predicted() -> None:
    table = metrics.per_class(np.array([0, 0]), np.array([0, 1]), np.array(["1", "2"]), ["a", "b"], **SETTINGS)
    assert table["precision"].tolist() == [0.5, 0.0]
    assert table["f1"].tolist() == [pytest.approx(2 / 3), 0.0]


def test_accuracy_by_luma_by_hand() -> None:
    luma_N = np.array([30.0, 10, 20, 40, 15, 35, 25, 45])
    correct_N = luma_N > 22
    table = metrics.accuracy_by_luma(correct_N, luma_N, np.arange(8).astype(str), bins=4, **SETTINGS)
    assert table["n"].tolist() == [2, 2, 2, 2]
    assert table["luma"].tolist() == [12.5, 22.5, 32.5, 42.5]
    assert table["accuracy"].tolist() == [0.0, 0.5, 1.0, 1.0]
    assert table["luma_from"].tolist() == [10, 20, 30, 40]


@pytest.mark.parametrize("luma", [[16.0] * 6, [16.0, 16, 16, 16, 16, 30]])
def test_equal_lumas_share_a_group(luma: list[float]) -> None:
    table = metrics.accuracy_by_luma(
        np.array([1, 0, 1, 1, 0, 1], dtype=bool), np.array(luma), np.arange(6).astype(str), bins=4, **SETTINGS
    )
    assert table["n"].sum() == 6
    assert len(table) <= 2


def test_bad_shapes_are_named() -> None:
    with pytest.raises(ValueError, match="expected as many"):
        metrics.accuracy(np.array([0]), np.array([0, 1]))
    with pytest.raises(ValueError, match=r"\(draws, clips, classes\)"):
        metrics.average_draws(np.ones((3, 2)))


def test_calibration_error_by_hand() -> None:
    probabilities_NK = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.45, 0.55]])
    label_N = np.array([0, 1, 1, 1])  # right, wrong, right, right
    table = metrics.reliability(probabilities_NK, label_N, bins=10)
    assert list(table["n"]) == [1, 1, 2]
    assert table["accuracy"].to_list() == [1.0, 1.0, 0.5]
    # bins 0.5, 0.7, 0.9: (1 * |1 - 0.55| + 1 * |1 - 0.7| + 2 * |0.5 - 0.9|) / 4
    assert metrics.calibration_error(table) == pytest.approx((0.45 + 0.3 + 0.8) / 4)


def test_a_calibrated_predictor_has_no_calibration_error() -> None:
    rng = np.random.default_rng(0)
    sure_N = rng.uniform(0.5, 1, 200_000)
    label_N = (rng.random(200_000) > sure_N).astype(int)
    table = metrics.reliability(np.stack([sure_N, 1 - sure_N], 1), label_N, bins=10)
    assert metrics.calibration_error(table) < 0.005
