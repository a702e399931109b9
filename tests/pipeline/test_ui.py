"""What a person sees: `make ui` with no store named, in a real browser."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import require_program
from darkaction.core.paths import Paths
from darkaction.params import Params
from darkaction.tracking.runs import attach_run, start_run
from programs import ROOT, copy_project
from servers import free_port

METRICS = ("train_loss", "val_accuracy", "test.accuracy")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address that `make ui` prints, over a store with two recognizer runs that differ in focal.gamma."""
    root = tmp_path_factory.mktemp("project")
    copy_project(root)
    subprocess.run([require_program("git"), "init", "-q"], cwd=root, check=True)  # make wants a repository
    shutil.copy(ROOT / "Makefile", root)
    shutil.copy(ROOT / "requirements.lock", root)
    shutil.copy(ROOT / "requirements.lock", root / ".venv/.installed")  # its python is the one of this test
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for gamma in (2.0, 3.0):
            params = Params.load(overrides=[f"focal.gamma={gamma}"])
            with start_run(stage="train", params=params, paths=Paths(root=root)) as run:
                for epoch in range(4):
                    run.log_metrics({"train_loss": gamma / (1 + epoch), "val_accuracy": 0.2 * epoch}, step=epoch)
            with attach_run(stage="train", params=params, paths=Paths(root=root)) as run:
                run.log_metrics({"test.accuracy": 0.7})
                run.describe("test accuracy 70.0% [61.0%, 78.0%]", accuracy="70.0% [61.0%, 78.0%]")
    port = free_port()
    command = [require_program("make"), "ui", f"PORT={port}"]
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    with (root / "ui.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=root, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        yield printed(process, root / "ui.log")
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def printed(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """The address, which stands there when the server answers."""
    deadline = time.monotonic() + 320
    while time.monotonic() < deadline:
        text = log.read_text()
        assert process.poll() is None, text[-2000:]
        if found := re.search(r"^http://darkaction\.localhost:\S+$", text, re.MULTILINE):
            return found[0]
        time.sleep(0.3)
    raise AssertionError(log.read_text()[-2000:])


def dom(address: str, profile: Path) -> str:
    """The page's text as a browser has made it."""
    command = [require_program("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"]
    command += [f"--user-data-dir={profile}", "--window-size=1600,1600", "--virtual-time-budget=60000", "--dump-dom"]
    done = subprocess.run([*command, address], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def local(page: str) -> str:
    """The server behind an address: not every system's name service knows what browsers know of .localhost."""
    return f"http://127.0.0.1:{urllib.parse.urlsplit(page).port}"


def call(page: str, path: str, body: dict[str, object]) -> dict[str, object]:
    request = urllib.request.Request(
        f"{local(page)}/ajax-api/2.0/mlflow/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
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
    text = dom(f"{local(page)}/#/compare-runs?{query}", tmp_path / "profile")
    for name in (*METRICS, "focal.gamma"):
        assert name in text, f"the compare page does not show {name}"
    assert "Comparing 2 Runs" in text


def test_the_printed_page_shows_what_the_runs_reached_and_where_they_differ(page: str, tmp_path: Path) -> None:
    shown = dom(page, tmp_path / "profile")
    assert "matching runs" in shown
    for text in ("demo delta zero_dce r2plus1d-bert focal.gamma=3 seed 0", "70.0% [61.0%, 78.0%]", "by hand"):
        assert text in shown, f"the page does not show {text}"
    for column in ("test.accuracy", "focal.gamma", "origin", "Description"):
        assert f">{column}<" in shown, f"the page has no column {column}"
    for unwanted in ("MLflow Assistant", "Ask a question", "usage data", ">Prompts<", ">AI Gateway<"):
        assert unwanted not in shown


def test_a_port_in_use_is_said(page: str) -> None:
    port = str(urllib.parse.urlsplit(page).port)
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{Path(__file__).parent}/none/mlflow.db"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "src/ui.py"), "--port", port], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1 and f"port {port} is in use: make ui PORT=" in done.stderr
