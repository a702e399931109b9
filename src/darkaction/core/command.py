"""The command `darkaction` of an installed package: the programs of src/ as its subcommands.

In a checkout it runs the programs of that, so that a run's code is what its git commit says; elsewhere those that the
package brings.
"""

import ast
import importlib.metadata
import os
import sys
from pathlib import Path

from darkaction.core import cli
from darkaction.core.errors import UserError
from darkaction.core.paths import PACKAGED, PROJECT, ROOT

ANYWHERE = ("compare", "export", "predict", "serve")
"""What can be run without a project folder, by the settings and weights that the package brings."""


def main() -> None:
    """Runs the program that the first argument names, with the others, as `python src/PROGRAM.py` does."""
    cli.run(_run)


def _run() -> None:
    home = ROOT if (ROOT / "src/darkaction").is_dir() else PACKAGED
    programs = {path.stem: path for path in sorted((home / "src").glob("*.py"))}
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print("usage: darkaction PROGRAM [ARGUMENT ...]; darkaction PROGRAM --help; darkaction --version\n")
        print("\n".join(f"  {program:16} {_first_line(path)}" for program, path in programs.items()))
        print(f"\nIn a project folder (it has {PROJECT}); anywhere: {', '.join(ANYWHERE)}.")
        print("Completion: source <(darkaction --print-completion bash); in zsh: --print-completion zsh.")
    elif name == "--version":
        print(f"darkaction {importlib.metadata.version('darkaction')}")
    elif name == "--print-completion":
        from darkaction.core import completion

        about = {program: _first_line(path) for program, path in programs.items()}
        print(completion.script(programs, arguments[0] if arguments else "", about))
    elif name not in programs:
        raise UserError(f"{name}: no program of darkaction; there are: {', '.join(programs)}")
    elif ROOT == PACKAGED and name not in ANYWHERE and not {"-h", "--help"} & set(arguments):
        raise UserError(f"darkaction {name} works in a project folder; {Path.cwd()} has no {PROJECT}")
    else:
        os.execv(sys.executable, [sys.executable, str(programs[name]), *arguments])


def _first_line(program: Path) -> str:
    """What a program does, without how it is typed."""
    text = ast.get_docstring(ast.parse(program.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0].partition(": python src/")[0]
