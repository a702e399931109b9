"""What `predict` prints and writes of videos longer than every training clip."""

import csv
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

import predict as predict_program
from brightness import make_predictor, write_parts
from darkaction.core.paths import ROOT
from darkaction.data.video import probe, read_video
from darkaction.serving import videos
from darkaction.serving.predictor import Predictor
from tiny_models import call


@pytest.fixture(autouse=True)
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Predictor:
    """The program's model: it knows bright from dark."""
    predictor = make_predictor(tmp_path / "model")
    monkeypatch.setattr(videos, "load_model", lambda name: predictor)
    return predictor


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_parts(tmp_path_factory.mktemp("long") / "long.mp4", [("down", 4.0), ("up", 6.0), ("down", 6.0)])


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return call(predict_program, *arguments, folder=ROOT)


def test_a_long_video_is_printed_as_its_timeline(video: Path) -> None:
    done = run(video, "--window", "2", "--stride", "1")
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert first == f"{video} (480 frames, 0:16.0): 15 windows of 2 s, one every 1 s"
    assert [line.split()[:4] for line in rest] == [
        ["0:00.0", "-", "0:04.0", "down"],
        ["0:04.0", "-", "0:10.0", "up"],
        ["0:10.0", "-", "0:16.0", "down"],
    ]
    assert run(video).stdout.splitlines()[0] == first  # the default: trained on clips of 1 to 3 s


def test_it_is_one_row_of_a_table_and_has_segments_in_json(video: Path, tmp_path: Path) -> None:
    short = write_parts(tmp_path / "short.mp4", [("up", 2.0)])
    table = tmp_path / "table.csv"
    done = run(video, short, "--csv", table, "--json")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(table.open()))
    assert [(row["frames"], row["answer"]) for row in rows] == [("480", "down"), ("60", "up")]
    assert float(rows[0]["p_up"]) == pytest.approx(6 / 15, abs=0.05)  # the mean over 15 windows, some of both
    long, one_piece = json.loads(done.stdout)
    assert [segment["answer"] for segment in long["segments"]] == ["down", "up", "down"]
    assert "segments" not in one_piece
    assert "long.mp4 (480 frames" not in done.stdout


def test_timelines_are_written_beside_the_text(video: Path, tmp_path: Path) -> None:
    targets = [tmp_path / name for name in ("t.csv", "t.json", "t.png")]
    done = run(video, *(argument for target in targets for argument in ("--timeline", target)))
    assert done.returncode == 0 and "15 windows" in done.stdout
    assert [target.stat().st_size > 100 for target in targets] == [True] * 3
    short = write_parts(tmp_path / "short.mp4", [("up", 2.0)])
    assert run(short, "--timeline", tmp_path / "short.csv").returncode == 0
    [row] = csv.DictReader((tmp_path / "short.csv").open())
    assert (row["start"], row["end"], row["answer"]) == ("0.0", "2.0", "up")


def test_a_saved_video_has_the_action_of_the_moment_and_a_bar(video: Path, tmp_path: Path) -> None:
    done = run(video, "--save", tmp_path / "seen.mp4")
    assert done.returncode == 0, done.stderr
    info = probe(tmp_path / "seen.mp4")
    assert (info.frames, info.width, info.height) == (480, 128, 48 + 16)
    frames_NHWC = read_video(tmp_path / "seen.mp4").astype(int)
    down, up = (frames_NHWC[0, 50:60, at].mean(0) for at in (28, 70))  # left and in the middle of the bar
    assert np.abs(down - up).max() > 50
    cursor = [int(frames_NHWC[number, 48:].mean((0, 2)).argmax()) for number in (60, 240, 420)]
    assert cursor == pytest.approx([16, 64, 112], abs=3)
    texts = [frames_NHWC[number, :14, :40] for number in (100, 140, 280, 320)]
    assert np.abs(texts[0] - texts[3]).mean() < 10 < np.abs(texts[0] - texts[2]).mean()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{video}", "--window", "0"], "--window 0: expected seconds, a number above 0"),
        (["{video}", "--stride", "-1"], "--stride -1: expected seconds, a number above 0"),
        (["{video}", "--stride", "3"], "--stride 3: expected at most the 2 s of a window (--window)"),
        (["{video}", "--window", "0.01"], "--window 0.01: less than 2 frames at 30 fps; expected 0.067 or more"),
        (["{video}", "--timeline", "x.txt"], "--timeline x.txt: expected a file ending in .csv, .json, .png"),
        (["{video}", "--timeline", "no/x.csv"], "--timeline no/x.csv: there is no folder no"),
        (["{video}", "{video}", "--timeline", "x.csv"], "--timeline is of one video; 2 were given"),
    ],
)
def test_wrong_options_are_one_line(video: Path, arguments: list[str], message: str) -> None:
    done = run(*(argument.replace("{video}", str(video)) for argument in arguments))
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"error: {message}\n")
