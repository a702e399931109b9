"""Pictures from and to files. Python opens these, as OpenCV crashes on names that are not valid UTF-8."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray


def read_picture(path: Path) -> NDArray[np.uint8] | None:
    """A picture as frame_HWC, uint8 RGB; None where the file cannot be read as one."""
    try:
        picture_bgr = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error):  # no such file; empty, or larger than OpenCV takes
        return None
    return None if picture_bgr is None else np.asarray(cv2.cvtColor(picture_bgr, cv2.COLOR_BGR2RGB), np.uint8)


def write_picture(path: Path, frame_HWC: NDArray[np.uint8]) -> None:
    """Writes frame_HWC, uint8 RGB, in the format that the file's ending names.

    Raises:
        OSError: when it cannot be written.
    """
    path.write_bytes(cv2.imencode(path.suffix, cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2BGR))[1].tobytes())
