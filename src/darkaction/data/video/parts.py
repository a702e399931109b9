"""What the three containers have in common: they are made of parts that say what they are and how long."""

from dataclasses import dataclass
from typing import BinaryIO


@dataclass(frozen=True, kw_only=True)
class Part:
    """A box, chunk or element, in bytes from the start of the file."""

    kind: bytes
    start: int
    body: int
    """Where its content begins."""
    stop: int
    """Where it ends; for one of unknown length, where its content begins."""
    next: int
    """Where the walk goes on: inside or behind it."""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """The encoded frames of the one video in a file."""

    count: int
    """0: the bytes do not say, or there are several videos."""

    hole: int | None
    """Where the next part should begin and none does."""


def hole_at(file: BinaryIO, position: int, size: int, *, announced_end: int = 0) -> int | None:
    """`position`, which no part begins at, if one should: something around it goes on, or zeros stand there, as in a
    download that was not finished. Anything else was appended to the file."""
    file.seek(position)
    if position + 8 <= size and (position + 8 <= announced_end or file.read(8) == bytes(8)):
        return position
    return None
