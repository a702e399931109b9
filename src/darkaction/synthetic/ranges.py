"""Random numbers from the ranges of params.yaml."""

import numpy as np

from darkaction.core.config import Span


def uniform(rng: np.random.Generator, span: Span) -> float:
    """Uniform in a range."""
    return float(rng.uniform(*span))


def log_uniform(rng: np.random.Generator, span: Span) -> float:
    """Log-uniform in a range of positive numbers."""
    return float(np.exp(rng.uniform(np.log(span[0]), np.log(span[1]))))
