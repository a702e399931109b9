"""What a person sees: `mlflow ui` with no arguments in the project's folder, in a real browser."""

import json
import os
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import require_program
from darkaction import config, tracking
from darkaction.layout import Layout
from servers import free_port

METRICS = ("train_loss", "val_accuracy", "test.accuracy")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the pages over a store with two recognizer runs that differ in focal.gamma."""
    root = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for gamma in (2.0, 3.0):
            params = config.load(overrides=[f"focal.gamma={gamma}"])
            with tracking.start_run(stage="train", params=params, layout=Layout(root=root)) as run:
                for epoch in range(4):
                    run.log_metrics({"train_loss": gamma / (1 + epoch), "val_accuracy": 0.2 * epoch}, step=epoch)
            with tracking.attach_run(stage="train", params=params, layout=Layout(root=root)) as run:
                run.log_metrics({"test.accuracy": 0.7})
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "ui", "--port", str(port), "--workers", "1"]
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # as `make ui`
    with (root / "ui.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=root, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process, root / "ui.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def wait_for(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            urllib.request.urlopen(address, timeout=5)
        except OSError:
            time.sleep(0.3)
        else:
            return
    raise AssertionError(f"{address} does not answer")


def dom(address: str, profile: Path) -> str:
    """The page's text as a browser has made it."""
    command = [require_program("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"]
    command += [f"--user-data-dir={profile}", "--window-size=1600,1600", "--virtual-time-budget=60000", "--dump-dom"]
    done = subprocess.run([*command, address], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def call(page: str, path: str, body: dict[str, object]) -> dict[str, object]:
    request = urllib.request.Request(
        f"{page}/ajax-api/2.0/mlflow/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return dict(json.load(answer))


def test_two_runs_are_shown_and_compared(page: str, tmp_path: Path) -> None:
    found = call(page, "experiments/search", {"max_results": 10})["experiments"]
    [experiment] = [entry for entry in found if entry["name"] == "darkaction-recognizer"]  # type: ignore[attr-defined]
    number = experiment["experiment_id"]
    runs = call(page, "runs/search", {"experiment_ids": [number]})["runs"]
    ids = [entry["info"]["run_id"] for entry in runs]  # type: ignore[attr-defined]
    assert len(ids) == 2
    query = urllib.parse.urlencode({"runs": json.dumps(ids), "experiments": json.dumps([number])})
    text = dom(f"{page}/#/compare-runs?{query}", tmp_path / "profile")
    for name in (*METRICS, "focal.gamma"):
        assert name in text, f"the compare page does not show {name}"
    assert "Comparing 2 Runs" in text

    listed = dom(f"{page}/#/experiments/{number}/runs", tmp_path / "profile")
    assert "Training runs" in listed
    assert "matching runs" in listed
