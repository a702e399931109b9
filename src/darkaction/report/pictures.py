"""Pictures as data URIs, so that the page needs no other file."""

import base64
from pathlib import Path

import cv2

from darkaction.data.video import Frames


def jpeg(frame_HWC: Frames, *, width: int, quality: int) -> str:
    """A frame (H, W, 3) uint8 RGB as JPEG, made smaller where it is wider than `width` pixels; a smaller one stays."""
    height_now, width_now = frame_HWC.shape[:2]
    if width_now > width:
        height = max(1, round(height_now * width / width_now))
        frame_HWC = cv2.resize(frame_HWC, (width, height), interpolation=cv2.INTER_AREA).astype(frame_HWC.dtype)
    done, data = cv2.imencode(".jpg", cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done, "OpenCV without JPEG"
    return _uri("image/jpeg", data.tobytes())


def png(path: Path) -> str:
    """A PNG file as it stands."""
    return _uri("image/png", path.read_bytes())


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
