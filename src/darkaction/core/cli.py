"""What every command shares: the arguments that lay settings over params.yaml, and how errors leave the program."""

import argparse
import contextlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from darkaction.core.errors import Terminated, UserError, refusal, sigterm_raises, stopped_by


def add_settings_arguments(parser: argparse.ArgumentParser) -> None:
    """--profile, --set, --out."""
    parser.add_argument("--profile", metavar="NAME", help="lay profiles/NAME.yaml over params.yaml for this run")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], dest="overrides", help="for example focal.gamma=3"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help="write here, not to the stage outputs")


def stage_parser(description: str | None, *, dataset: bool = False) -> argparse.ArgumentParser:
    """The command line of a stage; with `dataset`, it has one positional argument."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    if dataset:
        parser.add_argument("dataset", help="one of the datasets of params.yaml, for example demo")
    add_settings_arguments(parser)
    return parser


def stage_arguments(description: str | None, *, dataset: bool = False) -> argparse.Namespace:
    """Parses the command line of a stage."""
    return stage_parser(description, dataset=dataset).parse_args()


def run(main: Callable[[], None]) -> None:
    """Calls `main` and exits: 0 when it returns, 1 on an error, 130 on Ctrl-C, 143 on SIGTERM (what `kill`,
    schedulers and containers send); the last two let half-made folders be removed first.

    A UserError is printed as its message alone, and so is what the disk, its rights or its limits refuse. With
    DARKACTION_TRACEBACK=1 the traceback is printed too.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be valid UTF-8
    try:
        with sigterm_raises():
            main()
            _flush()
    except UserError as error:
        _end(str(error))
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
        _drop_output()
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:
        refused = refusal(error)
        if refused is None:
            raise
        _drop_output()
        _end(refused)
    except (KeyboardInterrupt, SystemExit) as error:
        stop = stopped_by(error)
        if stop is None:
            raise
        print("stopped", file=sys.stderr)
        sys.exit(stop.code if isinstance(stop, Terminated) else 130)


def _end(message: str) -> NoReturn:
    if os.environ.get("DARKACTION_TRACEBACK") == "1":
        traceback.print_exc()
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)


def _flush() -> None:
    """Writes what standard output still holds, while an error of it can be reported."""
    output = sys.stdout  # has a name here, by which an error is told: see errors.refusal
    output.flush()


def _drop_output() -> None:
    """What standard output still holds goes nowhere: nobody reads it, or its file can take no more."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
