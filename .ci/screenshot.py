"""Writes docs/mlflow-compare.png: MLflow's page that compares the two latest recognizer runs, as a browser shows it.

python .ci/screenshot.py        needs chromium and two recorded trainings
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PORT = 5077
FLAGS = "--headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run --disable-background-networking"


def latest_runs(count: int) -> tuple[str, list[str]]:
    """The experiment of the recognizer and its latest runs."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{ROOT}/mlflow.db")
    experiment = client.get_experiment_by_name("darkaction-recognizer")
    runs = [] if experiment is None else client.search_runs([experiment.experiment_id], max_results=count)
    if experiment is None or len(runs) < count:
        sys.exit(f"{ROOT}/mlflow.db: fewer than {count} trainings; run dvc repro with two values of focal.gamma")
    return experiment.experiment_id, [run.info.run_id for run in runs]


def main() -> None:
    experiment, runs = latest_runs(2)
    query = urllib.parse.urlencode({"runs": json.dumps(runs), "experiments": json.dumps([experiment])})
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "ui", "--port", str(PORT), "--workers", "1"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=5)
                break
            except OSError:
                time.sleep(0.3)
        target = ROOT / "docs" / "mlflow-compare.png"
        with tempfile.TemporaryDirectory() as profile:
            command = ["chromium", *FLAGS.split(), f"--user-data-dir={profile}", "--window-size=1400,1500"]
            command += ["--virtual-time-budget=60000", f"--screenshot={target}"]
            subprocess.run(
                [*command, f"http://127.0.0.1:{PORT}/#/compare-runs?{query}"], check=True, capture_output=True
            )
        print(target)
    finally:
        os.killpg(server.pid, 15)


if __name__ == "__main__":
    main()
