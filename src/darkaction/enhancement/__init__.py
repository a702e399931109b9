"""Enhancement of dark frames. Every method is a function from frames to frames."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the settings of this room are read without loading OpenCV
    from darkaction.data.video import Frames

Enhancer = Callable[["Frames"], "Frames"]
"""frames_NHWC uint8 -> frames_NHWC uint8 of the same shape."""

LEARNT = ("zero_dce", "enlightengan")
"""Methods that need the weights of models/enhancer."""
