"""Completion of the command `darkaction` in shells, from the command lines of the programs themselves."""

import argparse
import contextlib
import runpy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn

import shtab

from darkaction.core import config
from darkaction.core.errors import UserError

SHELLS = ("bash", "zsh")

PATHS = ("model", "source", "videos")
"""Arguments that may name a file or folder and are texts, because they may be something else, too."""


class _ParsesError(Exception):
    """A program parses its command line."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        super().__init__(parser)
        self.parser = parser


def script(programs: Mapping[str, Path], shell: str, about: Mapping[str, str]) -> str:
    """What a shell reads to complete `darkaction PROGRAM ARGUMENT ...`.

    Args:
        programs: their files by name.
        about: what each one does, in a line.

    Raises:
        UserError: for a shell that is none of SHELLS.
    """
    if shell not in SHELLS:
        raise UserError(f"--print-completion: expected {' or '.join(SHELLS)}, not '{shell}'")
    command = argparse.ArgumentParser(prog="darkaction")
    command.add_argument("--version", action="store_true", help="print the version")
    command.add_argument("--print-completion", choices=SHELLS, help="print what a shell needs to complete arguments")
    subcommands = command.add_subparsers()
    for name, path in programs.items():
        parser = command_line(path)
        for action in parser._actions:
            _complete(action)
        subcommands.add_parser(name, help=about[name], parents=[parser], add_help=False)
    text: str = shtab.complete(command, shell)
    return text


def command_line(program: Path) -> argparse.ArgumentParser:
    """The parser of a program, which is run until it parses its arguments."""
    with _parsing_stops():
        try:
            runpy.run_path(str(program))["main"]()
        except _ParsesError as stopped:
            return stopped.parser
    raise AssertionError(f"{program} parses no arguments")


@contextlib.contextmanager
def _parsing_stops() -> Iterator[None]:
    def stop(parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        raise _ParsesError(parser)

    usual = argparse.ArgumentParser.parse_args
    argparse.ArgumentParser.parse_args = stop  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        argparse.ArgumentParser.parse_args = usual  # type: ignore[method-assign]


def _complete(action: argparse.Action) -> None:
    """Says what the value of an argument may be."""
    if action.dest == "profile":
        action.choices = config.profile_names()
    elif action.type is Path or action.dest in PATHS:
        action.complete = shtab.FILE  # type: ignore[attr-defined]
