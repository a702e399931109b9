"""Files that are odd but whole, files that are not whole, and what tells them apart."""

import os
import random
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from darkaction.core.paths import ROOT
from darkaction.data.measure import HASHED_FRAMES, measure, perceptual_hash
from darkaction.data.settings import VideoLimits
from darkaction.data.video import (
    Video,
    VideoError,
    VideoInfo,
    iter_frames,
    probe,
    read_picture,
    read_video,
    write_picture,
    write_video,
)
from darkaction.params import Params
from video_files import FRAMES, ODD, write_ffv1, write_huge, write_late

LIMITS = Params.load().video


def scan(path: Path, limits: VideoLimits | None = None) -> VideoInfo:
    """Length, rate and size that decoding finds."""
    video = Video(path, limits)
    for _ in video.frames():
        pass
    return video.found()


# Whole files


@pytest.mark.parametrize("name", FRAMES)
def test_whole_files_are_decoded_and_measured_by_what_is_in_them(name: str) -> None:
    path = ODD / name
    frames_NHWC = read_video(path)
    assert frames_NHWC.shape == (FRAMES[name], 48, 64, 3)
    measured = measure(path, LIMITS)
    assert (measured.reason, measured.frames) == ("", FRAMES[name])
    positions = [(2 * k + 1) * FRAMES[name] // (2 * HASHED_FRAMES) for k in range(HASHED_FRAMES)]
    assert measured.phash == "".join(perceptual_hash(frames_NHWC[k]) for k in positions)


@pytest.mark.parametrize("name", FRAMES)
def test_what_a_program_appends_to_a_file_does_no_harm(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes((ODD / name).read_bytes() + b"made with a camera" * 20)
    assert scan(path).frames == FRAMES[name]


@pytest.mark.parametrize("announced", [0, 7, 59, 1000, 2**31 - 1])
def test_the_announced_number_of_frames_is_a_hint(tmp_path: Path, announced: int) -> None:
    data = bytearray((ODD / "whole.avi").read_bytes())
    struct.pack_into("<I", data, data.index(b"avih") + 8 + 16, announced)
    struct.pack_into("<I", data, data.index(b"strh") + 8 + 32, announced)
    del data[data.rindex(b"idx1") :]  # an index would be believed instead
    struct.pack_into("<I", data, 4, len(data) - 8)
    path = tmp_path / "a.avi"
    path.write_bytes(data)
    assert probe(path).frames != 60
    measured, original = measure(path), measure(ODD / "whole.avi")
    assert (measured.frames, measured.reason) == (60, "")
    assert len(measured.phash) == 16 * HASHED_FRAMES
    if announced != 59:
        assert measured.phash == original.phash


@pytest.mark.parametrize(("scale", "rate"), [(1, 1000), (1, 1_000_000), (1000, 1)])
def test_a_rate_without_times_that_belie_it_is_kept(tmp_path: Path, scale: int, rate: int) -> None:
    data = write_ffv1(tmp_path / "a.avi")
    struct.pack_into("<II", data, data.index(b"strh") + 8 + 20, scale, rate)  # times of AVI frames follow from it
    (tmp_path / "a.avi").write_bytes(data)
    assert scan(tmp_path / "a.avi").fps == pytest.approx(rate / scale, rel=0.01)


def test_the_rate_of_a_video_of_variable_rate_is_its_mean() -> None:
    path = ODD / "variable_rate.webm"
    assert probe(path).fps == pytest.approx(30)
    assert scan(path).fps == pytest.approx(25 * 30 / 56, rel=0.01)  # 25 steps in 56 thirtieths of a second
    assert measure(path).fps == scan(path).fps


def test_any_amount_of_sound_may_stand_before_the_first_frame(tmp_path: Path) -> None:
    path = write_late(tmp_path / "late.avi", chunks=5000)
    write_ffv1(tmp_path / "same.avi")
    np.testing.assert_array_equal(read_video(path), read_video(tmp_path / "same.avi"))


def test_a_codec_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"av1\.mp4: no frame can be decoded \(codec av01: "):
        read_video(ODD / "av1.mp4")
    assert "codec av01" in measure(ODD / "av1.mp4").reason
    path = tmp_path / "a.mp4"
    path.write_bytes((ODD / "index_first.mp4").read_bytes().replace(b"avc1", b"zzzz"))
    with pytest.raises(VideoError, match=r"a\.mp4: no video stream can be opened \(codec zzzz: "):
        read_video(path)


# Files that are not whole


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.8, 0.95])
def test_cut_off_files_are_refused(tmp_path: Path, name: str, share: float) -> None:
    data = (ODD / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(VideoError, match=r"truncated|no video stream|no frame"):
        read_video(path)
    assert measure(path).reason


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("until", [0.6, 1.0])
def test_files_with_a_hole_are_refused(tmp_path: Path, name: str, until: float) -> None:
    """As a download leaves that allots the file first: zeros where its parts did not come."""
    data = bytearray((ODD / name).read_bytes())
    first, last = int(0.4 * len(data)), int(until * len(data))
    data[first:last] = bytes(last - first)
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(VideoError, match=r"damaged|no video stream|no frame"):
        read_video(path)


@pytest.mark.parametrize("name", ["cut.mp4", "index_first.mp4", "late.mkv", "whole.avi", "whole.webm"])
def test_files_with_garbage_inside_are_refused(tmp_path: Path, name: str) -> None:
    data = bytearray((ODD / name).read_bytes())
    first, last = int(0.4 * len(data)), int(0.6 * len(data))
    data[first:last] = random.Random(0).randbytes(last - first)
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(VideoError, match=r"damaged|no frame"):
        read_video(path)


def test_an_mp4_whose_last_box_is_open_is_measured_by_its_samples(tmp_path: Path) -> None:
    data = bytearray((ODD / "index_first.mp4").read_bytes())
    struct.pack_into(">I", data, data.index(b"mdat") - 4, 0)  # up to the end of the file, wherever that is
    path = tmp_path / "a.mp4"
    path.write_bytes(data)
    assert scan(path).frames == 60
    path.write_bytes(data[: len(data) * 3 // 5])
    with pytest.raises(VideoError, match="truncated"):
        scan(path)


# Names


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """A port that must not be asked."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


NAMES = [
    "10:30.mp4",
    "img_%03d.png",
    "-",
    "a b.mp4",
    "new\nline.mp4",
    "fünf 五.mp4",
    "what?.mp4",
    "concat:a|b.mp4",
    "[1]*.mp4",
]


@pytest.mark.parametrize("name", [*NAMES, os.fsdecode(b"no\xffutf8.mp4")])
def test_a_name_is_only_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ODD / "index_first.mp4", name)
    write_picture(Path("img_001.png"), np.zeros((48, 64, 3), np.uint8))
    expected = read_video(ODD / "index_first.mp4")
    np.testing.assert_array_equal(read_video(Path(name)), expected)
    np.testing.assert_array_equal(read_video(tmp_path / name), expected)


def test_no_name_is_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: socket.socket) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("http:") / f"127.0.0.1:{server.getsockname()[1]}"
    folder.mkdir(parents=True)
    shutil.copy(ODD / "index_first.mp4", folder / "a.mp4")
    assert scan(folder / "a.mp4").frames == 60
    frames_NHWC = np.zeros((3, 48, 64, 3), np.uint8)
    write_video(folder / "b.mp4", frames_NHWC, fps=30, codec="mp4v")
    assert len(read_video(folder / "b.mp4")) == 3
    with pytest.raises(BlockingIOError):
        server.accept()


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".mp4")])
def test_videos_are_written_under_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(Path(name), np.zeros((3, 48, 64, 3), np.uint8), fps=30, codec="mp4v")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert len(read_video(Path(name))) == 3


def test_names_that_crash_opencv_are_errors_or_work(tmp_path: Path) -> None:
    """In a process of its own: it died of them."""
    code = (
        "import os, sys; from pathlib import Path; import numpy as np\n"
        "from darkaction.data.video import VideoError, read_picture, write_picture, write_video\n"
        "folder = Path(os.fsdecode(os.fsencode(sys.argv[1]) + b'/no\\xffutf8'))\n"
        "folder.mkdir()\n"
        "write_picture(folder / 'a.png', np.full((4, 6, 3), 7, np.uint8))\n"
        "print(read_picture(folder / 'a.png').sum())\n"
        "try: write_video(folder / 'a.mp4', np.zeros((3, 48, 64, 3), np.uint8), fps=30, codec='mp4v')\n"
        "except VideoError as error: print(error.reason)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, env=environment)
    assert done.stdout == "504\ncannot be written: its name is not valid UTF-8\n", done.stderr


def test_what_is_no_picture_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "b.png").write_bytes(b"no picture")
    assert [read_picture(tmp_path / name) for name in ("a.png", "b.png", "c.png")] == [None, None, None]


# Limits


def test_large_frames_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    path = write_huge(tmp_path / "a.avi")
    reason = "frames of 8192x8192 pixels are over video.max_pixels 16777216"
    with pytest.raises(VideoError) as caught:
        scan(path, LIMITS)
    assert caught.value.reason == measure(path, LIMITS).reason == reason
    with pytest.raises(VideoError, match=r"video\.max_pixels 3071"):
        scan(ODD / "whole.avi", replace(LIMITS, max_pixels=64 * 48 - 1))
    assert scan(ODD / "whole.avi", replace(LIMITS, max_pixels=64 * 48)).frames == 60


@pytest.mark.parametrize("name", FRAMES)
def test_decoding_ends_where_a_video_is_too_long(name: str) -> None:
    assert scan(ODD / name, replace(LIMITS, max_frames=FRAMES[name])).frames == FRAMES[name]
    frames = iter_frames(ODD / name, replace(LIMITS, max_frames=9))
    assert [frame_HWC.shape for frame_HWC in (next(frames) for _ in range(9))] == [(48, 64, 3)] * 9
    with pytest.raises(VideoError, match=r"has more frames than video\.max_frames 9"):
        next(frames)


def test_decoding_ends_where_it_takes_too_long() -> None:
    with pytest.raises(VideoError, match=r"takes longer to decode than video\.max_seconds 1e-06 \(1 frames by then\)"):
        scan(ODD / "whole.avi", replace(LIMITS, max_seconds=1e-6))
