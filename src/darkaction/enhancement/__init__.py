"""Enhancement of dark frames. Every method is a function from frames to frames."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Enhancer = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""frames_NHWC uint8 -> frames_NHWC uint8 of the same shape."""

LEARNT = ("zero_dce", "enlightengan")
"""Methods that need the weights of models/enhancer."""
