"""Probabilities that mean what they say: temperature scaling (Guo et al., 2017, "On Calibration of Modern Neural
Networks") of the mean over the sampling draws, fitted on validation clips after training.

The temperature is applied to the averaged probabilities, not to the logits of each draw, so it never changes which
class is the most probable one.

Legend of names: N clips, K classes.
"""

import numpy as np
from numpy.typing import NDArray

Probabilities = NDArray[np.floating]

WIDEST = 16.0
"""Temperatures lie between 1 / WIDEST and WIDEST."""


def temper(probabilities: Probabilities, temperature: float | NDArray[np.floating]) -> NDArray[np.float64]:
    """p^(1 / temperature), normalised to sum 1 over the last axis: flatter above 1, sharper below.

    Args:
        probabilities: (..., K).
        temperature: one for all, or an array that broadcasts against `probabilities`.
    """
    logits = np.log(np.maximum(probabilities, np.finfo(np.float64).tiny)) / temperature
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    tempered: NDArray[np.float64] = weights / weights.sum(-1, keepdims=True)
    return tempered


def fit_temperature(probabilities_NK: Probabilities, label_N: NDArray[np.integer]) -> float:
    """The temperature under which the labels are most likely, with a standard normal prior on its logarithm: a few
    validation clips that are all right, or all wrong, do not drive it to its bounds.

    Raises:
        ValueError: when there is no clip.
    """
    from scipy.optimize import minimize_scalar  # here, since predict only tempers and need not load both packages
    from sklearn.metrics import log_loss

    if len(label_N) == 0:
        raise ValueError("no clip to fit a temperature to")
    classes = np.arange(probabilities_NK.shape[1])

    def loss(log_temperature: float) -> float:
        tempered_NK = temper(probabilities_NK, float(np.exp(log_temperature)))
        return float(log_loss(label_N, tempered_NK, labels=classes, normalize=False)) + log_temperature**2 / 2

    bound = float(np.log(WIDEST))
    found = minimize_scalar(loss, bounds=(-bound, bound), method="bounded")
    return float(np.exp(found.x))
