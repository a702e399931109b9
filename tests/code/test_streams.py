"""Streams: files played at their own rate, a slow machine, and what is said when they break."""

import json
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import predict as predict_program
from brightness import make_predictor, write_parts
from darkaction.core.errors import UserError
from darkaction.core.paths import ROOT
from darkaction.serving import streams
from darkaction.serving.predictor import Predictor
from darkaction.serving.streams import Reader, Window, is_stream
from tiny_models import call


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds, the second one bright."""
    return write_parts(tmp_path_factory.mktemp("videos") / "stream.mp4", [("down", 1.0), ("up", 1.0)])


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Predictor:
    """The program's model: it knows bright from dark."""
    predictor = make_predictor(tmp_path / "model")
    monkeypatch.setattr(streams, "load_model", lambda name: predictor)
    return predictor


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return call(predict_program, *arguments, folder=ROOT)


def follow(reader: Reader, *, stride: float, work: float) -> Iterator[tuple[Window, float]]:
    """Windows, each with the seconds between its last frame and when it was given."""
    due, start = stride, time.monotonic()
    while (window := reader.wait(due)) is not None:
        yield window, time.monotonic() - start - window.end
        due = max(due, window.end - stride) + stride
        time.sleep(work)


def test_a_stream_plays_at_its_own_rate_and_no_frame_is_dropped(video: Path) -> None:
    start = time.monotonic()
    with Reader(f"file://{video}", 0.5) as reader:
        windows = [window for window, _ in follow(reader, stride=0.4, work=0)]
    assert time.monotonic() - start == pytest.approx(2, abs=0.5)
    assert (reader.frames, reader.dropped) == (60, 0)
    assert [window.end for window in windows] == pytest.approx([0.4, 0.8, 1.2, 1.6, 1.97], abs=0.15)
    assert all(len(window.frames) <= 17 for window in windows)
    assert windows[-1].fps == pytest.approx(30, rel=0.2)
    assert windows[0].frames[0].mean() == pytest.approx(80, abs=8)
    assert windows[-1].frames[-1].mean() == pytest.approx(200, abs=8)


def test_a_slow_machine_drops_frames_and_is_not_late(video: Path) -> None:
    """Each answer takes 0.5 s, and a window has 0.2 s: of each 0.5 s, about 0.3 s are in none."""
    late = []
    with Reader(f"file://{video}", 0.2) as reader:
        windows = []
        for window, delay in follow(reader, stride=0.1, work=0.5):
            windows.append(window)
            late.append(delay)
            assert len(reader._kept) <= 7
    assert reader.frames == 60 and 20 <= reader.dropped <= 45
    assert sum(window.dropped for window in windows) == reader.dropped
    assert sum(len(window.frames) for window in windows) + reader.dropped == 60
    assert max(late[:-1]) < 0.3  # of one frame, not more with every answer


def test_frames_of_a_window_stay_below_a_limit(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "KEPT_BYTES", 100_000)
    with Reader(f"file://{video}", 1.0) as reader:
        window = reader.wait(0.9)
    assert window is not None and len(window.frames) >= 20
    assert sum(frame.nbytes for frame in window.frames) < 110_000


def test_answers_are_printed_as_they_come(known: Predictor, video: Path) -> None:
    done = run(f"file://{video}", "--window", "0.5", "--stride", "0.25", "--unsure-below", "0.6")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split()[1:] == ["down", "100%"] and lines[-1].split()[1:] == ["up", "100%"]
    assert "stream.mp4: the last 0.5 s, every 0.25 s; Ctrl-C ends it" in done.stderr
    assert done.stderr.endswith(f"ended after 60 frames, {len(lines)} answers, 0 frames dropped\n")
    done = run(f"file://{video}", "--window", "0.5", "--stride", "0.5", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["answer"] for row in rows][:: len(rows) - 1] == ["down", "up"]
    assert set(rows[0]) == {"time", "answer", "label", "probability", "dropped"}


def test_ctrl_c_ends_it(known: Predictor, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first answer, while the next window is waited for."""
    answer, asked = known.answer_whole, []

    def interrupted(*arguments: object) -> object:
        asked.append(threading.Timer(0.05, signal.raise_signal, [signal.SIGINT]))
        if len(asked) == 2:
            asked[-1].start()
        return answer(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(known, "answer_whole", interrupted)
    done = run(f"file://{video}", "--window", "0.2", "--stride", "0.2")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    ended = re.search(r"ended after (\d+) frames, (\d+) answers", done.stderr)
    assert ended is not None and int(ended[1]) < 60
    assert 1 <= int(ended[2]) == len(done.stdout.splitlines())


class Broken(BaseHTTPRequestHandler):
    """Sends the first half of a file and then breaks off."""

    content = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content[: len(self.content) // 2])

    def log_message(self, *_: object) -> None:
        pass


def test_a_stream_that_breaks_off_is_said_without_its_password(
    known: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Broken, "content", (ROOT / "tests/odd_videos/index_first.mp4").read_bytes())
    server = ThreadingHTTPServer(("127.0.0.1", 0), Broken)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"127.0.0.1:{server.server_address[1]}/clip.mp4"
        done = run(f"http://me:secret@{address}?token=secret", "--window", "0.5")
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"error: http://{address}: lost after ") and last.endswith(" frames")
    assert "secret" not in done.stdout + done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rtsp://me:secret@127.0.0.1:1/live"], "error: rtsp://127.0.0.1:1/live: cannot be opened; is the address"),
        (["file:///absent/x.mp4"], "error: file:///absent/x.mp4: cannot be opened"),
        (["camera:77"], "error: camera:77: cannot be opened; is /dev/video77 there"),
        (["camera:front"], "error: camera:front: expected camera:NUMBER, for example camera:0"),
        (["ftp://host/x"], "error: ftp://host/x: expected an address that begins with one of rtsp, "),
        (["camera:0", "clip.mp4"], "error: one camera or address at a time; 2 names were given"),
        (["camera:0", "--save", "x.mp4"], "error: --save: expected a video file; of a stream, lines are printed"),
        (["camera:0", "--timeline", "x.csv"], "error: --timeline: expected a video file; of a stream"),
        (["{video}", "--window", "0.01"], "error: --window 0.01: less than 2 frames at 30 fps; expected 0.067 or"),
    ],
)
def test_wrong_input_is_one_line(known: Predictor, video: Path, arguments: list[str], message: str) -> None:
    done = run(*(argument.replace("{video}", f"file://{video}") for argument in arguments))
    assert (done.returncode, done.stdout) == (1, "")
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and errors[0].startswith(message)
    assert "secret" not in done.stderr and "Traceback" not in done.stderr


def test_names_of_streams() -> None:
    assert all(map(is_stream, ("camera:0", "rtsp://host/live", "http://host/a.mp4", "file:///a.mp4")))
    assert not any(map(is_stream, ("clip.mp4", "folder/", "10:30.mp4", "a/b*.avi")))


def test_a_camera_that_is_gone_is_lost(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = streams.open_live(f"file://{video}", "")
    monkeypatch.setattr(streams, "open_live", lambda source, name: opened)
    with Reader("camera:0", 0.5) as reader:
        assert reader.wait(1e9) is not None  # what came before
        with pytest.raises(UserError, match="camera:0: lost after 60 frames"):
            reader.wait(1e9)
