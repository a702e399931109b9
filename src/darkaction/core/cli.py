"""What every program shares: arguments, and how errors end it."""

import argparse
import contextlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from darkaction.core.errors import Terminated, UserError, refusal, sigterm_raises, stopped_by
from darkaction.core.redact import scrub


def parser(description: str | None) -> argparse.ArgumentParser:
    """The command line of a program, whose docstring is `description`."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )


def add_settings_arguments(parser: argparse.ArgumentParser) -> None:
    """--profile, --set, --out."""
    parser.add_argument("--profile", metavar="NAME", help="override params.yaml with profiles/NAME.yaml for this run")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], dest="overrides", help="for example focal.gamma=3"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help="write here, not to the stage outputs")


def stage_parser(description: str | None, *, dataset: bool = False, ray: bool = False) -> argparse.ArgumentParser:
    """The command line of a stage; with `dataset`, it has one positional argument; with `ray`, --ray-address."""
    stage = parser(description)
    if dataset:
        stage.add_argument("dataset", help="one of the datasets of params.yaml, for example demo")
    add_settings_arguments(stage)
    if ray:
        _add_ray_address(stage)
    return stage


def stage_arguments(description: str | None, *, dataset: bool = False, ray: bool = False) -> argparse.Namespace:
    """Parses the command line of a stage."""
    return stage_parser(description, dataset=dataset, ray=ray).parse_args()


def add_worker_arguments(parser: argparse.ArgumentParser) -> None:
    """--workers (None for auto), --gpus-per-worker and --ray-address, of the programs that start workers."""
    parser.add_argument("--workers", type=_worker_count, metavar="auto|N", help="default auto: one per GPU or core")
    parser.add_argument(
        "--gpus-per-worker",
        type=_gpu_share,
        default=1.0,
        metavar="F",
        help="0.25: four on each GPU (default 1)",
    )
    _add_ray_address(parser)


def _add_ray_address(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ray-address",
        metavar="ADDR",
        default=os.environ.get("RAY_ADDRESS") or None,
        help="a Ray cluster (HOST:6379, or auto); default: what RAY_ADDRESS says, or else this machine",
    )


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


def fraction(text: str) -> float:
    """A number from 0 to 1.

    Raises:
        ArgumentTypeError: for anything else.
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a number from 0 to 1")
    return value


def _gpu_share(text: str) -> float:
    share = fraction(text)
    if share == 0:
        raise argparse.ArgumentTypeError(f"{text}: expected a number above 0, at most 1")
    return share


def _worker_count(text: str) -> int | None:
    return None if text == "auto" else positive(text)


def run(main: Callable[[], None]) -> None:
    """Calls `main` and exits: 0 when it returns, 1 on an error, 130 on Ctrl-C, 143 on SIGTERM (what `kill`,
    schedulers and containers send); the last two let half-made folders be removed first.

    A UserError is printed as its message alone, and so is what the disk, its rights or its limits refuse. With
    DARKACTION_TRACEBACK=1 the traceback is printed too.
    """
    sys.excepthook = _show
    sys.unraisablehook = _show_ignored
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
        print(scrub(traceback.format_exc()), end="", file=sys.stderr)
    print(f"error: {scrub(message)}", file=sys.stderr)
    sys.exit(1)


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """An error that nothing expected, with its traceback and without passwords."""
    print(scrub("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)


def _show_ignored(ignored: "sys.UnraisableHookArgs") -> None:
    """An error at a place where Python can only ignore it. That a loader process died torch says in a signal handler,
    wherever that interrupts, and again where batches are asked for: the first time is not shown."""
    if not str(ignored.exc_value).startswith("DataLoader worker"):
        sys.__unraisablehook__(ignored)


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
