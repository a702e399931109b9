"""Brightening of dark frames. Every method has the same call shape: frames_NHWC uint8 -> frames_NHWC uint8."""
