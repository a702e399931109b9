"""What recording with MLflow costs a training, at most.

    python benchmarks/tracking_overhead.py [--epochs N]        after dvc repro: it reads the demo's clips

Two trainings of a time differ by more than recording costs. So one recorded training is timed from within: how long it
waits for recording, and how much processor time the threads of recording use beside it. Their sum is the most that
recording can add, where no core is free for these threads. Imports are not counted. Nothing of the project changes.
"""

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

PROGRAM = """
import contextlib, json, runpy, sys, time
sys.path.insert(0, "src")
import mlflow, torch, pytorch_lightning, sklearn.metrics, matplotlib.figure
from darkaction.jobs.recognizer import train
from darkaction.tracking import delivery, runs, system_metrics

spent = {"opening the run": 0.0, "calls in the training": 0.0, "ending the run": 0.0, "threads of recording": 0.0}

def timed(part, work, clock=time.perf_counter):
    def wrapped(*arguments, **settings):
        begun = clock()
        try:
            return work(*arguments, **settings)
        finally:
            spent[part] += clock() - begun
    return wrapped

start_run = train.start_run

@contextlib.contextmanager
def timed_run(**settings):
    context = start_run(**settings)
    run = timed("opening the run", context.__enter__)()
    runs.Run._send = timed("calls in the training", runs.Run._send)
    try:
        yield run
    finally:
        timed("ending the run", context.__exit__)(None, None, None)

train.start_run = timed_run
delivery.Delivery._work = timed("threads of recording", delivery.Delivery._work, time.thread_time)
system_metrics._sample_system = timed("threads of recording", system_metrics._sample_system, time.thread_time)
begun = time.perf_counter()
try:
    runpy.run_path("src/train.py", run_name="__main__")
finally:
    print(json.dumps({"training": time.perf_counter() - begun} | spent))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=40, help="of the training; the demo has 40")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
        for epochs in (1, arguments.epochs):  # the first makes the store, which happens once in a project's life
            command = [sys.executable, "-c", PROGRAM, "--set", f"train.epochs={epochs}", "--out", f"{folder}/{epochs}"]
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
            if done.returncode:
                sys.exit(done.stderr[-3000:])
        recorded = sqlite3.connect(Path(folder) / "mlflow.db").execute("SELECT count(*) FROM metrics").fetchone()[0]
    if recorded < arguments.epochs:
        sys.exit(f"{recorded} metrics are recorded, fewer than there are epochs")
    spent = json.loads(done.stdout.splitlines()[-1])
    training = spent.pop("training")
    heading = f"A training of {arguments.epochs} epochs, {training:.0f} s, {recorded} metrics"
    print(f"| {heading} | Seconds | Share |\n|---|---|---|")
    for part, seconds in {**spent, "together, at most": sum(spent.values())}.items():
        print(f"| {part} | {seconds:.2f} | {seconds / training:.2%} |")


if __name__ == "__main__":
    main()
