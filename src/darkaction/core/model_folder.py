"""Layout of a folder of networks, as models/recognizer: fold_<k>/weights.safetensors for each fold and, of an ensemble,
fold_<k>/member_<m>/weights.safetensors for its members from the second one, number 1, on."""

from pathlib import Path

WEIGHTS = "weights.safetensors"


def place(fold: int, member: int) -> str:
    """Folder of a network, within that of all."""
    return f"fold_{fold}/member_{member}" if member else f"fold_{fold}"


def label(fold: int, member: int) -> str:
    """The same as one word, for tags and names of files."""
    return place(fold, member).replace("/", ".")


def members(first: Path) -> list[Path]:
    """The weights of all members of a fold, in order.

    Args:
        first: fold_<k>/weights.safetensors, which need not be there.
    """
    found = [first]
    while (path := first.parent / f"member_{len(found)}" / first.name).is_file():
        found.append(path)
    return found


def networks(folder: Path) -> list[Path]:
    """The weights of all networks in a folder: the members of the first fold, then those of the second."""
    return [path for first in sorted(folder.glob(f"fold_*/{WEIGHTS}")) for path in members(first)]
