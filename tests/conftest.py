"""Fixtures shared by all tests."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Reference numbers and real clips kept beside the repository; not part of the project."""
    path = ROOT.parent / "shared"
    if not (path / "golden").is_dir():
        pytest.skip("reference data not present: ../shared")
    return path


def require_program(name: str) -> str:
    """The path of an optional system program; its absence skips the test, or fails it under REQUIRE_ALL=1."""
    path = shutil.which(name)
    if path is None:
        message = f"program '{name}' is not installed (the README's line of optional system packages has it)"
        if os.environ.get("REQUIRE_ALL") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return path
