"""Colours of people, places and objects."""

import numpy as np

Colour = tuple[float, float, float]  # RGB, 0..255


def tinted(rng: np.random.Generator, luma: float, strength: float = 18.0, *, darkest: float = 4.0) -> Colour:
    """A random hue of a given brightness, no channel below `darkest`."""
    tint = rng.uniform(-1, 1, 3)
    tint -= tint @ np.array([0.299, 0.587, 0.114])
    red, green, blue = np.clip(luma + strength * tint, darkest, 250)
    return float(red), float(green), float(blue)


def muted(rng: np.random.Generator, luma: float) -> Colour:
    """A colour of little strength, as objects have at night."""
    return tinted(rng, luma, 1.5 + 0.09 * luma)


def shade(colour: Colour, factor: float, *, most: float = 255.0) -> Colour:
    """A colour `factor` times as bright, no channel above `most`."""
    red, green, blue = (min(most, value * factor) for value in colour)
    return red, green, blue
