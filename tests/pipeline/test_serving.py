"""The server as strangers use it: with the model in it, in this process, and as a process of its own."""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import asgi
from asgi import encoded
from darkaction.core.paths import ROOT
from darkaction.data.video import write_video
from darkaction.serving.mlflow_model import EXPECTED, find_in
from darkaction.serving.server.application import application
from darkaction.serving.server.guard import Guard
from darkaction.serving.server.worker import RefusedError, Worker, Workers
from darkaction.serving.settings import Serving, ServingParams
from servers import Server, free_port
from video_files import ODD, write_huge

MODEL = ROOT / "models/synthetic"
PARAMS = ServingParams.load()
SMALL = replace(PARAMS.serving, workers=1, max_videos=6, max_body_mb=4)
VIDEO = ODD / "whole.webm"


def with_limits(limits: Serving) -> ServingParams:
    return replace(PARAMS, serving=limits)


@pytest.fixture(scope="module")
def app() -> Iterator[Guard]:
    with application(MODEL, with_limits(SMALL)) as app:
        yield app


def children() -> set[int]:
    return {process.pid for process in psutil.Process().children(recursive=True)}


def errors(app: Guard, videos: list[Any]) -> list[str | None]:
    return [row["error"] for row in asgi.ask(app, videos)]


# Rows


def test_one_bad_row_does_not_fail_the_others(app: Guard, tmp_path: Path) -> None:
    huge = write_huge(tmp_path / "huge.avi")
    good, missing, number, big, text = asgi.ask(app, [encoded(VIDEO), None, 5, encoded(huge), "base64:???"])
    assert good["error"] is None
    assert good["probabilities"][good["label"]] == good["probability"] == max(good["probabilities"].values())
    assert sum(good["probabilities"].values()) == pytest.approx(1)
    assert (missing["error"], number["error"]) == (EXPECTED, EXPECTED)
    assert "frames of 8192x8192 pixels are over video.max_pixels" in big["error"]
    assert text["error"] == "the text after 'base64:' is not base64"
    for row in (missing, number, big, text):
        assert {value for name, value in row.items() if name != "error"} == {None}


def test_no_path_is_opened_and_all_are_told_the_same(app: Guard) -> None:
    names = [str(VIDEO), "/etc/passwd", "/etc", "/nonexistent", "../params.yaml", "/dev/zero"]
    assert errors(app, names) == [EXPECTED] * len(names)


def test_a_fault_of_the_server_is_in_its_log_alone(
    app: Guard, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", Path("/full/disk").open)
    assert errors(app, [encoded(VIDEO)]) == ["cannot be predicted; the server's log says why"]
    assert "Traceback" in capfd.readouterr().err


def test_a_request_has_so_many_videos(app: Guard) -> None:
    assert errors(app, [5] * 7) == [EXPECTED] * 6 + ["a request may have 6 videos"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'{"inputs": 5',
        b'{"inputs": ' + b"9" * 5000 + b"}",
        b'{"dataframe_split": {"columns": ["x"], "data": [["/etc"]]}}',
        b"\xff",
    ],
)
def test_a_request_that_is_none_is_told_what_would_be(app: Guard, body: bytes) -> None:
    status, content = asyncio.run(asgi.request(app, [body]))
    assert (status, list(content)) == (400, ["error"])
    assert content["error"].startswith('expected {"inputs"')


# Files in serving.root


def test_files_inside_the_root_alone_are_found(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "inner").mkdir(parents=True)
    outside = tmp_path / "outside.mp4"
    for path in (root / "a.mp4", root / "inner/b.mp4", outside):
        path.write_bytes(b"x")
    (root / "link.mp4").symlink_to(root / "a.mp4")
    (root / "out.mp4").symlink_to(outside)
    (root / "up").symlink_to(tmp_path)
    (root / "circle").symlink_to(root / "circle")
    os.mkfifo(root / "pipe")
    for name in ("a.mp4", "inner/b.mp4", "inner/../a.mp4", "link.mp4", str(root / "a.mp4")):
        assert find_in(root, name).is_relative_to(root)
    bad = [str(outside), "../outside.mp4", "out.mp4", "up/outside.mp4", "none.mp4", "inner", "", "pipe", "circle"]
    told = set()
    for name in [*bad, "a\0.mp4", "x" * 5000, "/etc/passwd"]:
        with pytest.raises(RefusedError) as caught:
            find_in(root, name)
        told.add(str(caught.value))
    assert len(told) == 1


# Processes


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker(MODEL, PARAMS.video, 2048)
    yield worker
    worker.close()


def soon(seconds: float) -> float:
    return time.monotonic() + seconds


def test_a_video_that_takes_too_long_ends_its_process_and_the_next_has_a_new_one(worker: Worker) -> None:
    worker.wait_ready()
    before = children()
    with pytest.raises(RefusedError, match="takes longer"):
        worker.predict(VIDEO, soon(0.01))
    assert worker.predict(VIDEO, soon(60))["label"]
    assert len(children() - before) == len(before - children()) == 1


def test_a_video_that_takes_too_much_memory_ends_its_process() -> None:
    worker = Worker(MODEL, PARAMS.video, 100)
    with pytest.raises(RefusedError, match="needs more memory"):
        worker.predict(VIDEO, soon(60))
    worker.close()


def test_a_process_that_dies_is_an_error_of_its_video(worker: Worker) -> None:
    assert worker.predict(VIDEO, soon(60))["label"]
    os.kill(worker._process.pid or 0, signal.SIGKILL)
    with pytest.raises(RefusedError):
        worker.predict(VIDEO, soon(60))
    assert worker.predict(VIDEO, soon(60))["label"]


def test_when_all_are_busy_a_request_waits_until_its_deadline() -> None:
    workers = Workers(1, MODEL, PARAMS.video, 2048)
    with workers.one(soon(1)), pytest.raises(RefusedError, match="busy"), workers.one(soon(0.05)):
        pass
    with pytest.raises(RefusedError, match="took all the time"), workers.one(soon(-1)):
        pass
    workers.close()


def test_no_process_stays() -> None:
    before = children()
    workers = Workers(2, MODEL, PARAMS.video, 2048)
    assert len(children() - before) >= 2
    del workers
    wait_until(lambda: len(children() - before) <= 2)  # what starts processes stays until the end


def wait_until(holds: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_large_frames_end_at_the_limit(tmp_path: Path) -> None:
    """80 frames of 48 MiB would be 4 GB."""
    video = tmp_path / "large.mp4"
    write_video(video, (np.zeros((4096, 4096, 3), np.uint8) for _ in range(100)), fps=30.0, codec="mp4v")
    worker, peak = Worker(MODEL, PARAMS.video, 1000), 0
    worker.wait_ready()
    process = psutil.Process(worker._process.pid)
    caught: list[Exception] = []

    def predict() -> None:
        try:
            worker.predict(video, soon(120))
        except RefusedError as error:
            caught.append(error)

    thread = threading.Thread(target=predict)
    thread.start()
    while thread.is_alive():
        try:
            peak = max(peak, process.memory_info().rss)
        except psutil.Error:
            break
        time.sleep(0.02)
    thread.join()
    worker.close()
    assert "needs more memory" in str(caught[0])
    assert peak < 1500 * 2**20


# The server as a process


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "server.log", "--set", "serving.workers=1")
    yield server
    if server.process.poll() is None:
        server.process.kill()
        server.process.wait()


def post(url: str, body: Any) -> tuple[int, Any]:
    request = urllib.request.Request(f"{url}/invocations", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.fixture(scope="module")
def bomb(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A MB that decodes for seconds."""
    video = tmp_path_factory.mktemp("bomb") / "long.mp4"
    write_video(video, (np.zeros((2048, 2048, 3), np.uint8) for _ in range(200)), fps=30.0, codec="mp4v")
    return encoded(video)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_server_ends_in_the_middle_of_a_video(server: Server, bomb: str, number: int) -> None:
    statuses = []

    def ask() -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            statuses.append(post(server.url, asgi.as_body([bomb] * 4))[0])

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(2)
    assert thread.is_alive()
    server.end(number, 10)
    thread.join(30)
    assert statuses == ([] if number == signal.SIGKILL else [503])


@pytest.mark.slow
def test_a_huge_body_takes_no_memory_and_the_server_goes_on(server: Server) -> None:
    assert post(server.url, asgi.as_body([encoded(VIDEO)]))[1]["predictions"][0]["error"] is None
    before = server.memory()
    assert post(server.url, bytes(400 * 2**20))[0] == 413
    chunks = (bytes(2**20) for _ in range(400))
    assert post(server.url, chunks)[0] == 413
    assert server.memory() - before < 64 * 2**20
    assert post(server.url, asgi.as_body([encoded(VIDEO)]))[1]["predictions"][0]["error"] is None
    server.end(signal.SIGTERM, 10)


@pytest.mark.slow
def test_wrong_settings_are_one_line() -> None:
    for arguments, message in {
        ("--set", "serving.root=/nonexistent"): "serving.root: /nonexistent is no folder",
        ("--set", "serving.workers=0"): "serving.workers",
        ("--model", "nowhere"): "nowhere: no such folder",
        ("--model", "docs"): "docs: no fold_0",
    }.items():
        command = [sys.executable, str(ROOT / "src/serve.py"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr, done.stderr


@pytest.mark.slow
def test_a_temporary_folder_with_a_long_path_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    command = [sys.executable, str(ROOT / "src/serve.py"), "--port", str(free_port())]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, "TMPDIR": str(folder)}
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"error: TMPDIR: {folder} is too long for a socket in it; set a short one"
    assert "Traceback" not in done.stderr
    assert not list(folder.iterdir())
