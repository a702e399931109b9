"""The programs in src/: short, none imports another, and what takes long to import comes after the arguments."""

import ast
import os
import subprocess
import sys

import pytest

from darkaction.core.completion import command_line
from darkaction.core.paths import ROOT

PROGRAMS = sorted(path.stem for path in (ROOT / "src").glob("*.py"))
HEAVY = {"torch", "mlflow", "sklearn", "matplotlib", "pandas", "cv2", "optuna", "ray", "pytorch_lightning", "scipy"}
LONGEST = 60
LISTED = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    print(end.code, *sys.modules)
"""


def ended(name: str, *arguments: str) -> tuple[str, set[str]]:
    """Exit code of a program, and the libraries it has imported."""
    done = subprocess.run(
        [sys.executable, "-c", LISTED, f"src/{name}.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": "src"},
        capture_output=True,
        text=True,
    )
    code, *modules = done.stdout.splitlines()[-1].split()
    return code, {module.partition(".")[0] for module in modules}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_short(name: str) -> None:
    assert len((ROOT / f"src/{name}.py").read_text().splitlines()) < LONGEST


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_imports_no_program(name: str) -> None:
    tree = ast.parse((ROOT / f"src/{name}.py").read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not imported & set(PROGRAMS)


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_imports_nothing_heavy(name: str) -> None:
    code, libraries = ended(name, "--help")
    assert code == "0"
    assert not libraries & HEAVY


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_says_what_every_argument_is(name: str) -> None:
    arguments = command_line(ROOT / f"src/{name}.py")._actions
    assert [argument.dest for argument in arguments if not argument.help] == []


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_wrong_flag_is_told_before_anything_heavy_is_imported(name: str) -> None:
    code, libraries = ended(name, "--no-such-flag")
    assert code == "2"
    assert not libraries & HEAVY


@pytest.mark.parametrize(
    "name", [name for name in PROGRAMS if "stage_arguments" in (ROOT / f"src/{name}.py").read_text()]
)
def test_a_wrong_setting_is_told_before_anything_heavy_is_imported(name: str) -> None:
    dataset = ["demo"] if "dataset=True" in (ROOT / f"src/{name}.py").read_text() else []
    code, libraries = ended(name, *dataset, "--set", "focal.gama=3", "--out", "/tmp/none")
    assert code == "1"
    assert not libraries & HEAVY
