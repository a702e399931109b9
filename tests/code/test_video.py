"""Decoding and encoding, and what each kind of damage is called."""

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import containers
from darkaction.data.video import Frames, VideoError, iter_frames, probe, read_video, write_video


def moving_square(count: int, *, height: int = 48, width: int = 64) -> Frames:
    """A red square that moves right on dark blue, frames_NHWC."""
    frames = np.zeros((count, height, width, 3), np.uint8)
    frames[..., 2] = 30
    for k in range(count):
        frames[k, 16:32, 2 * k : 2 * k + 16] = (200, 20, 20)
    return frames


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "Walk_1_1.mp4"
    write_video(path, moving_square(12), fps=30.0, codec="mp4v")
    return path


@pytest.mark.parametrize("suffix", [".avi", ".mkv"])
def test_ffv1_gives_back_every_pixel_in_rgb(tmp_path: Path, suffix: str) -> None:
    frames = moving_square(10)
    path = tmp_path / f"a{suffix}"
    assert write_video(path, frames, fps=25.0, codec="FFV1") == 10
    np.testing.assert_array_equal(read_video(path), frames)
    assert probe(path).fps == pytest.approx(25.0)


def test_mp4v_keeps_count_size_and_colour_order(clip: Path) -> None:
    decoded = read_video(clip)
    assert decoded.shape == (12, 48, 64, 3)
    assert decoded.dtype == np.uint8
    assert decoded[0, 24, 8, 0] > 150 > 60 > decoded[0, 24, 8, 2]  # red first
    info = probe(clip)
    assert (info.frames, info.fps, info.width, info.height) == (12, 30.0, 64, 48)


@pytest.mark.parametrize(("codec", "name"), [("mp4v", "a.mp4"), ("FFV1", "a.avi")])
def test_the_same_frames_give_the_same_bytes(tmp_path: Path, codec: str, name: str) -> None:
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        write_video(tmp_path / folder / name, moving_square(5), fps=30.0, codec=codec)
    assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_frames_are_streamed(clip: Path) -> None:
    frames = iter_frames(clip)
    first = next(frames)
    second = next(frames)
    assert not np.array_equal(first, second)
    assert not np.shares_memory(first, second)


@pytest.mark.parametrize(
    ("frames", "codec", "name", "message"),
    [
        (moving_square(3), "H264", "a.mp4", "codec 'H264' is not one of mp4v, FFV1"),
        (moving_square(3), "mp4v", "a.avi", "codec mp4v needs a file ending in .mp4"),
        (moving_square(3), "FFV1", "a.mp4", "codec FFV1 needs a file ending in .avi or .mkv"),
        (moving_square(0), "mp4v", "a.mp4", "no frames to write"),
        (moving_square(3, height=47), "mp4v", "a.mp4", "even H and W"),
        (moving_square(3).astype(np.float32), "mp4v", "a.mp4", "must be uint8"),
        (moving_square(3), "mp4v", "absent/a.mp4", "cannot write here"),
    ],
)
def test_what_cannot_be_written_is_named(tmp_path: Path, frames: Frames, codec: str, name: str, message: str) -> None:
    with pytest.raises(VideoError) as caught:
        write_video(tmp_path / name, frames, fps=30.0, codec=codec)
    assert message in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_error_while_frames_are_made_leaves_the_old_file(clip: Path) -> None:
    before = clip.read_bytes()

    def failing() -> Iterator[Frames]:
        yield from moving_square(3)
        raise RuntimeError("out of ideas")

    with pytest.raises(RuntimeError, match="out of ideas"):
        write_video(clip, failing(), fps=30.0, codec="mp4v")
    with pytest.raises(VideoError, match="differ in size"):
        write_video(clip, [*moving_square(1), *moving_square(1, width=32)], fps=30.0, codec="mp4v")
    assert clip.read_bytes() == before
    assert [path.name for path in clip.parent.iterdir()] == [clip.name]


def damaged(tmp_path: Path, clip: Path, kind: str) -> Path:
    path = tmp_path / f"{kind}.mp4"
    data = clip.read_bytes()
    if kind == "folder":
        path.mkdir()
    elif kind == "dangling":
        path.symlink_to(tmp_path / "nowhere.mp4")
    elif kind != "missing":
        contents = {
            "empty": b"",
            "text": b"#EXTM3U\nfile.mp4\n" * 40,
            "picture": b"\x89PNG\r\n\x1a\n" + bytes(200),
            "half": data[: len(data) // 2],
            "tail": data[:-5],
            "header only": data[:28],
            "garbage inside": data[:40] + bytes(len(data) - 40),
        }
        path.write_bytes(contents[kind])
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "no such file"),
        ("folder", "is a folder"),
        ("dangling", "dangling link"),
        ("empty", "empty file (0 bytes)"),
        ("text", "not a video"),
        ("picture", "not a video"),
        ("half", "truncated"),
        ("tail", "truncated"),
        ("header only", "no video stream can be opened"),
        ("garbage inside", "no video stream can be opened"),
    ],
)
def test_damage_is_named(tmp_path: Path, clip: Path, kind: str, reason: str) -> None:
    path = damaged(tmp_path, clip, kind)
    with pytest.raises(VideoError) as caught:
        read_video(path)
    assert caught.value.reason.startswith(reason)
    assert str(caught.value) == f"{path}: {caught.value.reason}"


def test_frames_lost_inside_a_whole_file_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    write_video(path, moving_square(20), fps=30.0, codec="FFV1")
    data = bytearray(path.read_bytes()[: path.stat().st_size * 3 // 5])
    data[4:8] = (len(data) - 8).to_bytes(4, "little")  # a container of the right length that lacks frames
    path.write_bytes(data)
    with pytest.raises(VideoError, match=r"a\.avi: truncated"):
        read_video(path)


def test_an_error_survives_the_way_out_of_a_worker() -> None:
    error = pickle.loads(pickle.dumps(VideoError(Path("a.mp4"), "empty file (0 bytes)")))  # noqa: S301
    assert (error.path, error.reason) == (Path("a.mp4"), "empty file (0 bytes)")


def test_damage_leaves_the_terminal_clean(tmp_path: Path, clip: Path) -> None:
    path = damaged(tmp_path, clip, "garbage inside")
    code = (
        "import sys; from pathlib import Path; from darkaction.data.video import VideoError, read_video\n"
        "try: read_video(Path(sys.argv[1]))\n"
        "except VideoError: print('named')\n"
    )
    source = Path(__file__).resolve().parents[2] / "src"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENCV_")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env=environment | {"PYTHONPATH": str(source)},
    )
    assert (done.stdout, done.stderr) == ("named\n", "")


def test_one_frame_more_announced_than_held_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "RATRACE_wave_f_nm_np1_fr_goo_37.avi"
    write_video(path, moving_square(20), fps=30.0, codec="FFV1")
    path.write_bytes(containers.announcing_one_more(path.read_bytes()))
    assert sum(1 for _ in iter_frames(path)) == probe(path).frames - 1 == 20


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9, 0.99, 0.999, 1.0])
def test_a_truncated_clip_with_its_table_first_is_noticed(tmp_path: Path, share: float) -> None:
    path = tmp_path / "Run_11_31.mp4"
    write_video(path, moving_square(40, width=160), fps=30.0, codec="mp4v")
    whole = read_video(path)
    data = containers.table_first(path.read_bytes())
    path.write_bytes(data[: int(share * len(data))])
    if share == 1.0:
        np.testing.assert_array_equal(read_video(path), whole)
    else:
        with pytest.raises(VideoError, match="truncated"):
            read_video(path)
