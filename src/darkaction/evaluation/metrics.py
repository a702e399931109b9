"""What a set of predictions is worth. Shapes: D sampling draws, N clips, K classes."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, f1_score

from darkaction.evaluation.statistics import accuracy_interval

Probabilities = NDArray[np.floating]
Labels = NDArray[np.integer]

RELIABILITY_BINS = 10

CHANCE_SAMPLES = 1000
"""Of right and wrong, behind `calibration_error_by_chance`."""


def average_draws(probabilities_DNK: Probabilities) -> Probabilities:
    """Mean softmax over the draws of each clip, (N, K): the prediction the project reports."""
    _check(probabilities_DNK)
    averaged_NK: Probabilities = probabilities_DNK.mean(axis=0)
    return averaged_NK


def accuracy(predicted_N: Labels, label_N: Labels) -> float:
    """Fraction of right predictions; a ValueError for none at all."""
    if len(label_N) == 0 or len(predicted_N) != len(label_N):
        raise ValueError(f"{len(predicted_N)} predictions for {len(label_N)} labels; expected as many, at least 1")
    return float(np.mean(predicted_N == label_N))


def macro_f1(predicted_N: Labels, label_N: Labels) -> float:
    """Mean F1 over the classes that have clips in `label_N`; a class that is never predicted counts 0."""
    return float(f1_score(label_N, predicted_N, labels=np.unique(label_N), average="macro", zero_division=0))


def confusion(predicted_N: Labels, label_N: Labels, num_classes: int) -> NDArray[np.int64]:
    """counts_KK: row = actual class, column = predicted class."""
    counts_KK: NDArray[np.int64] = confusion_matrix(label_N, predicted_N, labels=np.arange(num_classes))
    return counts_KK


def accuracy_by_draws(probabilities_DNK: Probabilities, label_N: Labels) -> pd.DataFrame:
    """Accuracy when 1, 2, ... D draws are averaged: columns draws, accuracy.

    Each is the mean over the D runs of that many consecutive draws (the first follows the last), so every draw counts
    alike and the curve does not depend on which draw came first.
    """
    _check(probabilities_DNK)
    total = len(probabilities_DNK)
    rows = []
    for draws in range(1, total + 1):
        runs = [np.arange(first, first + draws) % total for first in range(total)]
        values = [accuracy(probabilities_DNK[run].mean(0).argmax(-1), label_N) for run in runs]
        rows.append({"draws": draws, "accuracy": float(np.mean(values))})
    return pd.DataFrame(rows)


def per_class(
    predicted_N: Labels,
    label_N: Labels,
    scene_N: NDArray[np.str_],
    classes: list[str],
    *,
    bootstrap_samples: int,
    confidence: float,
    seed: int,
) -> pd.DataFrame:
    """One row a class that has clips: class, n, scenes, accuracy (recall), low, high, precision, f1."""
    counts_KK = confusion(predicted_N, label_N, len(classes))
    rows = []
    for number, name in enumerate(classes):
        own = label_N == number
        if not own.any():
            continue
        interval = accuracy_interval(
            predicted_N[own] == number,
            scene_N[own],
            bootstrap_samples=bootstrap_samples,
            confidence=confidence,
            seed=seed,
        )
        right, predicted = counts_KK[number, number], counts_KK[:, number].sum()
        rows.append(
            {
                "class": name,
                "n": interval.n,
                "scenes": interval.scenes,
                "accuracy": interval.mean,
                "low": interval.low,
                "high": interval.high,
                "precision": float(right / predicted) if predicted else 0.0,
                "f1": float(2 * right / (predicted + interval.n)),
            }
        )
    return pd.DataFrame(rows)


def accuracy_by_luma(
    correct_N: NDArray[np.bool_],
    luma_N: NDArray[np.floating],
    scene_N: NDArray[np.str_],
    *,
    bins: int,
    bootstrap_samples: int,
    confidence: float,
    seed: int,
) -> pd.DataFrame:
    """Accuracy of clips from dark to bright, in `bins` groups of about equal size.

    Columns luma (median of the group, of 255), luma_from, luma_to, n, accuracy, low, high. Equal lumas never stand in
    two groups, so there may be fewer groups.
    """
    groups = pd.qcut(pd.Series(luma_N), min(bins, len(luma_N)), labels=False, duplicates="drop")
    group_N = groups.fillna(0).to_numpy()  # one luma for all: one group
    rows = []
    for group in np.unique(group_N):
        own = group_N == group
        interval = accuracy_interval(
            correct_N[own], scene_N[own], bootstrap_samples=bootstrap_samples, confidence=confidence, seed=seed
        )
        rows.append(
            {
                "luma": float(np.median(luma_N[own])),
                "luma_from": float(luma_N[own].min()),
                "luma_to": float(luma_N[own].max()),
                "n": interval.n,
                "accuracy": interval.mean,
                "low": interval.low,
                "high": interval.high,
            }
        )
    return pd.DataFrame(rows)


def reliability(probabilities_NK: Probabilities, label_N: Labels, *, bins: int) -> pd.DataFrame:
    """How often predictions of each confidence are right: columns low, high (of the bin), confidence, accuracy, n.

    Bins of equal width on [0, 1]; those without predictions are left out.
    """
    confidence_N = probabilities_NK.max(-1)
    right_N = probabilities_NK.argmax(-1) == label_N
    bin_N = np.minimum((confidence_N * bins).astype(int), bins - 1)
    rows = [
        {
            "low": number / bins,
            "high": (number + 1) / bins,
            "confidence": float(confidence_N[bin_N == number].mean()),
            "accuracy": float(right_N[bin_N == number].mean()),
            "n": int((bin_N == number).sum()),
        }
        for number in np.unique(bin_N)
    ]
    return pd.DataFrame(rows)


def calibration_error(table: pd.DataFrame) -> float:
    """Expected calibration error of `reliability`: mean distance of confidence and accuracy, weighted by clips (Naeini,
    Cooper and Hauskrecht, 2015)."""
    distance = (table["accuracy"] - table["confidence"]).abs()
    return float((distance * table["n"]).sum() / table["n"].sum())


def calibration_error_by_chance(probabilities_NK: Probabilities, *, bins: int, seed: int) -> float:
    """Mean expected calibration error of perfectly calibrated predictions with these probabilities: each is right as
    often as it says, and so few clips still give an error. What a model shows above it is its own."""
    confidence_N = probabilities_NK.max(-1)
    bin_N = np.minimum((confidence_N * bins).astype(int), bins - 1)
    right_RN = np.random.default_rng(seed).random((CHANCE_SAMPLES, len(confidence_N))) < confidence_N
    excess_RB = (right_RN - confidence_N) @ np.eye(bins)[bin_N]
    return float(np.abs(excess_RB).sum(1).mean() / len(confidence_N))


def _check(probabilities_DNK: Probabilities) -> None:
    if probabilities_DNK.ndim != 3 or 0 in probabilities_DNK.shape:
        raise ValueError(f"probabilities of shape {probabilities_DNK.shape}; expected (draws, clips, classes)")
