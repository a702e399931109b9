"""Windows over long videos, and which action there is when."""

import csv
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from brightness import make_predictor, write_parts
from darkaction.core.errors import UserError
from darkaction.core.paths import ROOT
from darkaction.data.video import Frames, VideoError, read_picture, write_video
from darkaction.serving import predictor as predictor_module
from darkaction.serving.answers import Prediction
from darkaction.serving.predictor import Predictor, look
from darkaction.serving.timeline.segments import Timeline, check_targets
from darkaction.serving.timeline.windows import Cut, Windows, clock
from tiny_models import make_model

PARTS = [("down", 4.0), ("up", 6.0), ("down", 5.5)]
TRAINED = (1.0, 3.0)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return make_predictor(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_parts(tmp_path_factory.mktemp("videos") / "long.mp4", PARTS)


def predict(predictor: Predictor, video: Path, windows: Windows) -> Prediction:
    [found] = predictor.predict_each([video], windows)
    if isinstance(found, VideoError):
        raise found
    return found


@pytest.mark.parametrize("options", [(None, None), (1.5, 0.5), (2.0, 2.0), (0.5, 0.1)])
def test_borders_are_right_to_within_a_stride(predictor: Predictor, video: Path, options: tuple[float, float]) -> None:
    timeline = predict(predictor, video, Windows(*options)).timeline
    segments = timeline.segments(unsure_below=0.0)
    assert [segment.answer for segment in segments] == ["down", "up", "down"]
    assert (segments[0].start, segments[-1].end) == (0, pytest.approx(15.5))
    assert all(before.end == after.start for before, after in pairwise(segments))
    assert [segment.end for segment in segments[:2]] == pytest.approx([4, 10], abs=timeline.stride + 1e-9)


@pytest.mark.parametrize("num_frames", [91, 92, 100, 119, 120, 121, 449, 450, 451, 10_000])
@pytest.mark.parametrize("options", [(None, None), (2.0, 0.3), (1.0, 1.0), (0.07, 0.001)])
def test_windows_hold_every_frame(num_frames: int, options: tuple[float, float]) -> None:
    cut = Windows(*options).cut(num_frames, 30, TRAINED)
    held = np.zeros(num_frames, int)
    for start in cut.starts_W:
        held[start : start + cut.length] += 1
    assert held.min() >= 1 and cut.starts_W[0] == 0
    assert cut.starts_W[-1] + cut.length == num_frames
    assert np.diff(cut.starts_W).min() >= 1 and np.diff(cut.starts_W).max() <= cut.step <= cut.length
    timeline = Timeline.of(["a", "b"], cut, np.tile([0.25, 0.75], (len(cut.starts_W), 1)), 30)
    assert (timeline.edges[0], timeline.edges[-1]) == (0, pytest.approx(num_frames / 30))
    assert np.diff(timeline.edges).min() > 0
    np.testing.assert_allclose(timeline.probabilities_MK, np.tile([0.25, 0.75], (len(timeline.edges) - 1, 1)))


def test_a_moment_is_the_mean_of_the_windows_that_hold_it() -> None:
    cut = Cut(starts_W=np.array([0, 10, 20]), length=20, step=10, num_frames=40)
    probabilities_WK = np.array([[1.0, 0.0], [0.0, 1.0], [0.2, 0.8]])
    timeline = Timeline.of(["a", "b"], cut, probabilities_WK, fps=10)
    np.testing.assert_allclose(timeline.edges, [0, 1, 2, 3, 4])
    np.testing.assert_allclose(timeline.probabilities_MK[:, 0], [1, 0.5, 0.1, 0.2])
    first, unsure, last = timeline.segments(unsure_below=0.6)
    assert (first.text, unsure.text, last.text) == ("a 100%", "unsure (a 50%)", "b 85%")
    assert (last.start, last.end, last.probability) == (2, 4, pytest.approx(0.85))


def test_the_longest_training_clip_is_the_last_in_one_piece() -> None:
    """In seconds, whatever the rate: 3 s are 90 frames at 30 fps."""
    windows = Windows()
    for frames, fps, pieces in ((90, 30, 1), (91, 30, 3), (180, 60, 1), (181, 60, 3), (45, 15, 1), (91, 0, 3)):
        cut = windows.cut(frames, fps, TRAINED)
        assert len(cut.starts_W) == pieces, (frames, fps)
        assert cut.length == (frames if pieces == 1 else round(2 * (fps or 30)))
    assert len(Windows(1.0).cut(90, 30, TRAINED).starts_W) > 1  # asked for
    assert len(Windows(5.0).cut(91, 30, TRAINED).starts_W) == 1


def test_a_video_of_the_trained_length_is_answered_as_before(predictor: Predictor, tmp_path: Path) -> None:
    short = write_parts(tmp_path / "short.mp4", [("down", 1), ("up", 2)])
    found = predict(predictor, short, Windows())
    whole = predictor.answer_whole(look(short, None))
    assert not found.long and np.array_equal(found.draws_DK, whole.draws_DK)
    assert np.array_equal(found.timeline.probabilities_MK, found.probabilities_K[None])


def test_a_long_video_is_the_mean_over_its_windows(predictor: Predictor, video: Path, tmp_path: Path) -> None:
    found = predict(predictor, video, Windows(2.0, 2.0))
    assert found.long and found.timeline.windows == 8
    pieces = [("down", 2.0)] * 2 + [("up", 2.0)] * 3 + [("down", 2.0)] * 3
    single = [predictor.predict(write_parts(tmp_path / f"{k}.mp4", [part])) for k, part in enumerate(pieces[1:3])]
    expected_K = (5 * single[0].probabilities_K + 3 * single[1].probabilities_K) / 8
    np.testing.assert_allclose(found.probabilities_K, expected_K, atol=1e-9)
    assert found.draws_DK.shape == single[0].draws_DK.shape


@pytest.mark.parametrize("overrides", [(), ("enhance.flow=true", "model.input=rgb_flow")])
def test_a_window_is_answered_as_a_clip_of_its_own(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    network = Predictor.load(make_model(tmp_path / "model", *overrides))
    frames_NHWC = np.random.default_rng(0).integers(0, 60, (100, 48, 64, 3), dtype=np.uint8)
    timeline = predict(network, write_video_of(tmp_path / "long.avi", frames_NHWC), Windows(1.0, 0.5)).timeline
    starts = [0, 15, 30, 45, 60, 70]
    assert timeline.windows == len(starts)
    clips = [write_video_of(tmp_path / f"{start}.avi", frames_NHWC[start : start + 30]) for start in starts]
    alone_WK = np.stack([network.predict(clip).probabilities_K for clip in clips])
    cut = Cut(starts_W=np.array(starts), length=30, step=15, num_frames=100)
    expected = Timeline.of(network.card.classes, cut, alone_WK, 30)
    assert np.ptp(alone_WK[:, 0]) > 1e-4
    np.testing.assert_allclose(timeline.probabilities_MK, expected.probabilities_MK, atol=1e-5)


def write_video_of(path: Path, frames_NHWC: Frames) -> Path:
    write_video(path, frames_NHWC, fps=30, codec="FFV1")
    return path


def test_frames_that_are_kept_or_decoded_again_give_the_same(
    predictor: Predictor, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = predict(predictor, video, Windows(1.0, 0.3))
    monkeypatch.setattr(predictor_module, "KEPT_BYTES", 10 * 48 * 64 * 3)
    again = predict(predictor, video, Windows(1.0, 0.3))
    assert np.array_equal(kept.timeline.probabilities_MK, again.timeline.probabilities_MK)


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    """5 s and then 15 s of 320x240: 69 MB more of frames, were they kept."""
    for name, seconds in (("short", 5.0), ("long", 15.0)):
        write_parts(tmp_path / f"{name}.mp4", [("down", seconds)], height=240)
    program = (
        "import sys; sys.path[:0] = ['src', 'tests']; from pathlib import Path\n"
        "import brightness, peak_memory; from darkaction.serving import predictor\n"
        "predictor.KEPT_BYTES = 2**20; folder = Path(sys.argv[1]); made = brightness.make_predictor(folder / 'model')\n"
        "for name in ('short', 'long'):\n"
        "    print(len(made.predict(folder / f'{name}.mp4').timeline.edges), peak_memory.peak_memory())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    (_, before), (moments, after) = (map(int, line.split()) for line in done.stdout.splitlines())
    assert moments == 16 and after - before < 40e6, f"{(after - before) / 1e6:.0f} MB"


def test_a_timeline_is_written_as_table_and_picture(predictor: Predictor, video: Path, tmp_path: Path) -> None:
    timeline = predict(predictor, video, Windows()).timeline
    for name in ("t.csv", "t.json", "t.png"):
        timeline.write(tmp_path / name, "long.mp4", unsure_below=0.9)
    rows = list(csv.DictReader((tmp_path / "t.csv").open()))
    assert list(rows[0]) == ["start", "end", "answer", "label", "probability", "p_down", "p_up"]
    assert rows[0]["answer"] == "down" and "unsure" in {row["answer"] for row in rows}
    assert float(rows[-1]["end"]) == 15.5
    from_json = json.loads((tmp_path / "t.json").read_text())
    assert [row["start"] for row in from_json] == [float(row["start"]) for row in rows]
    picture_HWC = read_picture(tmp_path / "t.png")
    assert picture_HWC.shape[1] == 1200 and picture_HWC.std() > 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((0.0, None), "--window 0: expected seconds, a number above 0"),
        ((float("nan"), None), "--window nan: expected seconds, a number above 0"),
        ((None, -1.0), "--stride -1: expected seconds, a number above 0"),
        ((2.0, 2.5), r"--stride 2.5: expected at most the 2 s of a window \(--window\)"),
        ((None, 2.5), r"--stride 2.5: expected at most the 2 s of a window \(--window\)"),
        ((0.04, None), "--window 0.04: less than 2 frames at 30 fps; expected 0.067 or more"),
    ],
)
def test_wrong_windows(options: tuple[float, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Windows(*options).cut(450, 30, TRAINED)


def test_wrong_targets(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--timeline t\.txt: expected a file ending in \.csv, \.json, \.png"):
        check_targets([tmp_path / "t.csv", Path("t.txt")])
    with pytest.raises(UserError, match="there is no folder absent"):
        check_targets([Path("absent/t.csv")])


def test_clock() -> None:
    assert [clock(seconds) for seconds in (0, 59.96, 3599.97, 7322.5)] == ["0:00.0", "1:00.0", "1:00:00.0", "2:02:02.5"]
