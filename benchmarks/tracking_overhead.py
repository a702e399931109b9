"""What recording costs a training: the same training with and without MLflow, in turn.

    python benchmarks/tracking_overhead.py [--epochs N] [--rounds N]        after dvc repro: it reads the demo's clips

Prints one table: seconds of each round, and the share that recording adds. Nothing of the project changes.
"""

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

PROGRAM = """
import runpy, sys, time
sys.path.insert(0, "src")
import mlflow, torch, pytorch_lightning, sklearn.metrics, matplotlib.figure  # imports are not what is measured
from darkaction.jobs.recognizer import train
if sys.argv.pop(1) == "without":
    start_run = train.start_run
    train.start_run = lambda **settings: start_run(**settings | {"recorded": False})
started = time.perf_counter(), time.process_time()
try:
    runpy.run_path("src/train.py", run_name="__main__")
finally:
    print("seconds", time.perf_counter() - started[0], time.process_time() - started[1])
"""


def seconds(kind: str, epochs: int, folder: Path) -> tuple[float, float]:
    """Of one training, by the clock and of the processor."""
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    command = [sys.executable, "-c", PROGRAM, kind, "--set", f"train.epochs={epochs}", "--out", str(folder / kind)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    clock, processor = map(float, done.stdout.split()[-2:])
    return clock, processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    kinds = ("without", "with")
    times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as folder:
        seconds("with", 1, Path(folder))  # makes the store, which happens once in a project's life
        for number in range(arguments.rounds):
            for kind in kinds if number % 2 == 0 else kinds[::-1]:
                times[kind].append(seconds(kind, arguments.epochs, Path(folder)))
        recorded = sqlite3.connect(Path(folder) / "mlflow.db").execute("SELECT count(*) FROM runs").fetchone()[0]
    if recorded != 1 + arguments.rounds:
        sys.exit(f"{recorded} runs are recorded, not the {1 + arguments.rounds} that should be")
    print(f"training of {arguments.epochs} epochs, seconds by round")
    for which, name in enumerate(("clock", "processor")):
        for kind in kinds:
            print(f"  {name}, {kind + ' recording':<18} {' '.join(f'{pair[which]:7.2f}' for pair in times[kind])}")
        fastest = {kind: min(pair[which] for pair in times[kind]) for kind in kinds}
        added = fastest["with"] - fastest["without"]
        print(f"  recording adds {added:.2f} s to the fastest, {added / fastest['without']:.1%}")


if __name__ == "__main__":
    main()
