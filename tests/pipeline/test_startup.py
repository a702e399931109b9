"""Help and wrong arguments need no heavy package: they answer at once."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src"
PROGRAMS = sorted(path.name for path in SRC.glob("*.py"))

HEAVY = ("torch", "mlflow", "sklearn", "matplotlib", "pandas", "ray", "optuna", "pytorch_lightning", "cv2")
"""Packages that take from a tenth of a second to seconds to import."""


def imported(program: str, argument: str, *, code: int) -> list[str]:
    """The heavy packages that a program imports before it ends with that code."""
    command = [sys.executable, "-X", "importtime", str(SRC / program), argument]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr[-2000:]
    names = re.findall(r"^import time:.*\| +(\S+)$", done.stderr, re.MULTILINE)
    assert "argparse" in names
    return sorted(set(HEAVY) & set(names))


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_imports_nothing_heavy(program: str) -> None:
    assert imported(program, "--help", code=0) == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_unknown_argument_imports_nothing_heavy(program: str) -> None:
    assert imported(program, "--unknown", code=2) == []
