"""Probabilities of many clips made to agree with a known share of each class.

A network that answers one class too often in another domain is put right by it, without any label. It is transductive:
the answer for a clip depends on the other test clips, so it is for comparisons, never for one clip.
"""

import numpy as np
from numpy.typing import NDArray

ROUNDS = 1000
"""Most rounds; each brings the shares nearer to what they should be."""

CLOSE = 1e-9


def with_shares(probabilities_NK: NDArray[np.floating], share_K: NDArray[np.floating]) -> NDArray[np.floating]:
    """The probabilities multiplied by one factor a class, so that their means over the clips are the given shares
    (Sinkhorn's alternating scaling).

    Args:
        probabilities_NK: of N clips, rows that sum to 1, none of them 0.
        share_K: of the clips, each above 0, in sum 1.

    Returns:
        (N, K), rows that sum to 1.
    """
    result_NK = np.asarray(probabilities_NK, np.float64)
    for _ in range(ROUNDS):
        mean_K = result_NK.mean(0)
        if np.abs(mean_K - share_K).max() < CLOSE:
            break
        result_NK = result_NK * (share_K / mean_K)
        result_NK = result_NK / result_NK.sum(1, keepdims=True)
    return result_NK
