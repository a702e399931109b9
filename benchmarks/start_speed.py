"""Starts a second of programs: what the command adds to the work that it cannot do without.

    python benchmarks/start_speed.py        after dvc repro, whose stages are then all up to date

`predict --help` against a program that imports first and parses then; `dvc repro` of a pipeline in which nothing
changed against `dvc status`.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from measure import Row, in_turns, no_arguments, table

from darkaction.core.paths import ROOT

PYTHON = sys.executable


def command(*words: str) -> Callable[[], int]:
    """A way of `in_turns` that runs it once."""

    def run() -> int:
        subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
        return 1

    return run


def rows() -> list[Row]:
    """The pairs of commands."""
    pairs = [
        (
            "python src/predict.py --help",
            [PYTHON, "src/predict.py", "--help"],
            "a program that first imports torch and OpenCV",
            [PYTHON, "-c", "import torch, cv2"],
        ),
        (
            "import of all that a prediction needs",
            [PYTHON, "-c", "import sys; sys.path.insert(0, 'src'); import darkaction.serving.predictor"],
            "import of torch, OpenCV and pandas",
            [PYTHON, "-c", "import torch, cv2, pandas"],
        ),
    ]
    status = [PYTHON, "-m", "dvc", "status", "--quiet"]
    if subprocess.run(status, cwd=ROOT, check=False, capture_output=True).returncode == 0:
        repro = [PYTHON, "-m", "dvc", "repro", "--quiet"]
        pairs.append(("dvc repro, nothing to do", repro, "dvc status", status))
    found = []
    for what, ours, alternative, theirs in pairs:
        rates = in_turns({"ours": command(*ours), "theirs": command(*theirs)}, threads=1)
        found.append(
            Row(what=what, unit="starts/s", ours=rates["ours"], alternative=alternative, theirs=rates["theirs"])
        )
    return found


def main() -> None:
    no_arguments(__doc__)
    found = rows()
    print(table(found))
    if len(found) < 3:
        print("\n`dvc repro` was not measured: `dvc status` says that stages have to run first.")


if __name__ == "__main__":
    main()
