"""What the page is made of: files of other stages, and rows of tables."""

from pathlib import Path
from typing import Any

import pandas as pd

from darkaction.core.errors import UserError
from darkaction.core.paths import Paths


def required(paths: Paths, relative: str, command: str) -> Path:
    """The path of an input that `command` makes; a UserError where it is missing."""
    path = paths.read(relative)
    if not path.exists():
        raise UserError(f"{path}: no such file; {command} writes it")
    return path


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as dictionaries."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
