"""What recording costs a training: the same training with and without MLflow, in turn.

    python benchmarks/tracking_overhead.py [--epochs N] [--rounds N]        after dvc repro: it reads the demo's clips

Prints one table: seconds of each round, and the share that recording adds. Nothing of the project changes.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

PROGRAM = """
import runpy, sys, time
sys.path.insert(0, "src")
import mlflow, torch, pytorch_lightning, sklearn.metrics, matplotlib.figure  # imports are not what is measured
from darkaction.tracking import runs
if sys.argv.pop(1) == "without":
    runs.is_first_process = lambda: False
started = time.perf_counter()
try:
    runpy.run_path("src/train.py", run_name="__main__")
finally:
    print("seconds", time.perf_counter() - started)
"""


def seconds(kind: str, epochs: int, folder: Path) -> float:
    """One training."""
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    command = [sys.executable, "-c", PROGRAM, kind, "--set", f"train.epochs={epochs}", "--out", str(folder / kind)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    kinds = ("without", "with")
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as folder:
        seconds("with", 1, Path(folder))  # makes the store, which happens once in a project's life
        for number in range(arguments.rounds):
            for kind in kinds if number % 2 == 0 else kinds[::-1]:
                times[kind].append(seconds(kind, arguments.epochs, Path(folder)))
    print(f"training of {arguments.epochs} epochs, seconds by round")
    for kind in kinds:
        print(f"  {kind + ' recording':<18} {' '.join(f'{value:7.2f}' for value in times[kind])}")
    added = min(times["with"]) - min(times["without"])
    print(
        f"recording adds {added:.2f} s to the fastest, {added / min(times['without']):.1%} of {arguments.epochs} epochs"
    )


if __name__ == "__main__":
    main()
