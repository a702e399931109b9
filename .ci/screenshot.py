"""Writes docs/mlflow-compare.png: MLflow's page with curves and figures of the recognizer runs, as a browser shows it.

python .ci/screenshot.py        needs chromium and two recorded trainings
"""

import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PORT = 5077
FLAGS = "--headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run --disable-background-networking"


PAGE = 0.742
"""Share of the width that is the page; beside it MLflow shows a chat."""


def experiment_of_runs(count: int) -> str:
    """The experiment of the recognizer, which must have so many runs."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{ROOT}/mlflow.db")
    experiment = client.get_experiment_by_name("darkaction-recognizer")
    runs = [] if experiment is None else client.search_runs([experiment.experiment_id], max_results=count)
    if experiment is None or len(runs) < count:
        sys.exit(f"{ROOT}/mlflow.db: fewer than {count} trainings; run dvc repro with two values of focal.gamma")
    return str(experiment.experiment_id)


def main() -> None:
    experiment = experiment_of_runs(2)
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
                urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=5)  # nosec B310  # always http
                break
            except OSError:
                time.sleep(0.3)
        target = ROOT / "docs" / "mlflow-compare.png"
        with tempfile.TemporaryDirectory() as profile:
            command = ["chromium", *FLAGS.split(), f"--user-data-dir={profile}", "--window-size=1800,1300"]
            command += ["--virtual-time-budget=60000", f"--screenshot={target}"]
            subprocess.run(
                [*command, f"http://127.0.0.1:{PORT}/#/experiments/{experiment}/runs?compareRunsMode=CHART"],
                check=True,
                capture_output=True,
            )
        with Image.open(target) as image:
            page = image.crop((0, 0, round(PAGE * image.width), image.height)).convert("RGB")
        page.quantize(256, dither=Image.Dither.NONE).save(target, optimize=True)  # a quarter of the size
        print(target)
    finally:
        os.killpg(server.pid, 15)


if __name__ == "__main__":
    main()
