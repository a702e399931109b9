"""Arguments that the commands share which start workers: searches and comparisons."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any


def add_worker_arguments(parser: argparse.ArgumentParser) -> None:
    """--workers (None for auto) and --ray-address."""
    parser.add_argument("--workers", type=_worker_count, metavar="auto|N", help="default auto: one per GPU or core")
    parser.add_argument("--ray-address", metavar="ADDR", help="a Ray cluster (HOST:6379, or auto); default: here")


def renamed(parser: argparse.ArgumentParser, flags: Mapping[str, str]) -> None:
    """Refuses flags of earlier versions with the name that they have today. --help does not list them."""
    for former, today in flags.items():
        parser.add_argument(
            former, nargs="?", action=_Renamed, const=today, default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )


class _Renamed(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        parser.error(f"{option_string} is {self.const} now")


def positive(text: str) -> int:
    """A whole number of at least 1.

    Raises:
        ArgumentTypeError: for anything else.
    """
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number of at least 1")
    return int(text)


def _worker_count(text: str) -> int | None:
    return None if text == "auto" else positive(text)
