"""Whether the output of an earlier stage was made with today's settings.

A stage records the settings that decide its output; a program that reads the output checks here that they are the same
today. `dvc repro` makes sure of it by itself; a program that is started by hand, with --set or --out, needs the check.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from darkaction.core.errors import UserError


def recorded_in(path: Path, *, command: str, section: str | None = None) -> dict[str, Any]:
    """The settings in a JSON file; none where there is no such file, or an earlier version wrote it.

    Args:
        command: what makes it anew.
        section: their key in the file; None: they are the whole file.
    """
    if not path.exists():
        return {}
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); run {command} again") from None
    return content if section is None else content.get(section, {})


def require_same(recorded: Mapping[str, Any], wanted: Mapping[str, Any], *, made: Path, command: str) -> None:
    """Refuses an output that an earlier stage made with other settings. Unrecorded settings are not compared.

    Args:
        recorded: settings that `made` was made with.
        wanted: those of today.
        made: file or folder.
        command: what makes it anew.

    Raises:
        UserError: naming all of these.
    """
    other = [key for key, value in wanted.items() if key in recorded and recorded[key] != value]
    if other:
        listed = ", ".join(f"{key} = {json.dumps(recorded[key])} (now {json.dumps(wanted[key])})" for key in other)
        raise UserError(
            f"{made}: was made with {listed}; run {command} with the same --profile, --set and --out first, or, for "
            "params.yaml as it stands, dvc repro"
        )
