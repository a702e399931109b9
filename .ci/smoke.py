"""Runs the whole pipeline with the settings of profiles/smoke.yaml in a copy of the project: python .ci/smoke.py [DIR]

DIR is kept; without it the copy is a temporary folder. Ends with the figures and the time, or with a failure.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def copy_project(folder: Path) -> None:
    """What git has or would add, without what stages made, as a git repository of its own (DVC wants one)."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in names:
        if name and (ROOT / name).is_file() and not name.startswith("reports/") and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)


def run(folder: Path) -> None:
    """Configures and reproduces in `folder`."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID"):  # the copy keeps its own record
        environment.pop(name, None)
    for command in (["python", "src/configure.py", "--profile", "smoke"], ["dvc", "repro"]):
        subprocess.run(command, cwd=folder, env=environment, check=True)
    again = subprocess.run(["dvc", "status", "--json"], cwd=folder, env=environment, capture_output=True, text=True)
    if again.returncode or json.loads(again.stdout) != {}:
        sys.exit(f"the pipeline is not up to date after dvc repro: {again.stdout}{again.stderr}")


def main() -> None:
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else temporary).resolve()
        copy_project(folder)
        run(folder)
        test = json.loads((folder / "reports/metrics.json").read_text())["test"]
    print(f"smoke: the pipeline ran in {time.monotonic() - started:.0f} s; test {json.dumps(test)}")


if __name__ == "__main__":
    main()
