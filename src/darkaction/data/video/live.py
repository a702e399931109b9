"""OpenCV's capture of a camera or of an address."""

import cv2

from darkaction.core.errors import UserError
from darkaction.data.video.capture import prepare_opencv

CAMERA = "camera:"
SCHEMES = ("rtsp", "rtsps", "rtmp", "http", "https", "udp", "file")

TIMEOUT = 10.0
"""Seconds without a frame after which an address is given up."""


def open_live(source: str, name: str) -> cv2.VideoCapture:
    """A capture of `camera:NUMBER` or of an address; `name` is the source as errors show it.

    Raises:
        UserError: when it is none of these or cannot be opened.
    """
    prepare_opencv()
    if source.startswith(CAMERA):
        number = source.removeprefix(CAMERA)
        if not number.isdecimal() or int(number) > 999:
            raise UserError(f"{name}: expected {CAMERA}NUMBER, for example {CAMERA}0")
        capture = cv2.VideoCapture(int(number))
        hint = f"is /dev/video{number} there, may you read it, and does no other program use it?"
    else:
        if source.partition("://")[0].lower() not in SCHEMES:
            raise UserError(f"{name}: expected an address that begins with one of {', '.join(SCHEMES)}")
        milliseconds = int(TIMEOUT * 1000)
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds, cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds]
        capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)
        hint = "is the address right, with user and password where it needs them, and does its server answer?"
    if not capture.isOpened():
        raise UserError(f"{name}: cannot be opened; {hint}")
    return capture
