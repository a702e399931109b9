"""A disk that takes no more, and folders that may not be written to: one line that names the file, no traceback."""

import errno
import os
import pickle
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from darkaction.core.errors import UserError, refusal
from darkaction.core.folders import new_folder, write_whole
from darkaction.data.shards import write_list, write_shard
from darkaction.data.video import VideoError, write_video
from darkaction.enhancement import enlightengan, networks, zero_dce
from darkaction.synthetic.contact_sheet import write_sheet
from darkaction.training.checkpoints import CheckedIO

ROOT = Path(__file__).resolve().parents[2]
TEXT = "a line of text\n" * 1000


@contextmanager
def small_disk(limit: int = 4096) -> Iterator[None]:
    """No file may grow beyond `limit` bytes: the system answers as it does for a disk that is full, to anyone."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    compiles, sys.dont_write_bytecode = not sys.dont_write_bytecode, True  # else imports leave halves of modules
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        sys.dont_write_bytecode = not compiles


def refused(write: Callable[[], object]) -> str:
    """What a command says of an error."""
    with pytest.raises(OSError) as caught:
        write()
    said = refusal(caught.value)
    assert said is not None, repr(caught.value)
    return said


def lines(path: Path) -> None:
    with path.open("w") as file:
        for _ in range(1000):
            file.write("a line of text\n")


def copied(path: Path) -> None:
    source = Path(os.devnull).with_name("zero")
    with source.open("rb") as zeros, path.open("wb") as file:
        file.write(zeros.read(10))
        shutil.copyfileobj(zeros, file)


def clip(path: Path) -> None:
    frames_NHWC = np.zeros((30, 16, 16, 3), np.uint8)
    write_shard(path.parent, 0, [("demo/Walk_1_1", 30, [frames_NHWC])], height=16, width=16, flow=False)


def clip_list(path: Path) -> None:
    small = np.zeros((1, 2, 2, 3), np.uint8)
    for shard in range(10):
        clips = [(f"demo/Walk_{shard}_{take}", 1, [small]) for take in range(10)]
        write_shard(path.parent, shard, clips, height=2, width=2, flow=False)
    write_list(path.parent)


def enlightened(path: Path) -> None:
    networks.save_weights(enlightengan.Generator(base_width=4), path)


def figure(path: Path) -> None:
    drawn = Figure(figsize=(6, 6))
    drawn.add_subplot().imshow(np.random.default_rng(0).random((60, 60)))
    drawn.savefig(path)


WRITES: dict[str, Callable[[Path], object]] = {
    "notes.txt": lambda path: path.write_text(TEXT),
    "lines.txt": lines,
    "whole.txt": lambda path: write_whole(path, TEXT),
    "zeros.bin": copied,
    "table.csv": lambda path: pd.DataFrame({"x": range(5000)}).to_csv(path),
    "array.npy": lambda path: np.save(path, np.zeros(5000)),
    "00000.npy": clip,
    "clips.csv": clip_list,
    "zero_dce.safetensors": lambda path: networks.save_weights(zero_dce.ZeroDCE(curve_scale=1.0), path),
    "enlightengan.safetensors": enlightened,
    "new-last.ckpt": lambda path: CheckedIO().save_checkpoint({"x": torch.zeros(5000)}, path.with_name("last.ckpt")),
    "figure.png": figure,
    "figure.svg": figure,
    "picture.png": lambda path: Image.fromarray(noise()).save(path),
}


def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", WRITES)
def test_a_full_disk_is_said_with_the_name_of_the_file(tmp_path: Path, name: str) -> None:
    with small_disk():
        said = refused(lambda: WRITES[name](tmp_path / name))
    named, _, reason = said.rpartition(": ")
    short = errno.ENOSPC if name == "array.npy" else errno.EFBIG  # numpy does not hand on what the system said
    assert (Path(named).parent, reason) == (tmp_path, os.strerror(short))
    assert Path(named).name.startswith((name, f".{name}"))


@pytest.mark.parametrize("name", ["whole.txt", "00000.npy", "clips.csv"])
def test_what_is_whole_or_not_there_leaves_nothing_on_a_full_disk(tmp_path: Path, name: str) -> None:
    with small_disk():
        refused(lambda: WRITES[name](tmp_path / name))
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("0000")] == []
    WRITES[name](tmp_path / name)
    assert (tmp_path / name).exists()


def test_a_video_that_has_no_room_is_named(tmp_path: Path) -> None:
    frames_NHWC = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), dtype=np.uint8)
    with small_disk(), pytest.raises(VideoError, match=r"/a\.(mp4|avi): .* is the disk full\?") as caught:
        write_video(tmp_path / "a.mp4", frames_NHWC, fps=30.0, codec="mp4v")
    assert caught.value.path == tmp_path / "a.mp4"
    assert list(tmp_path.iterdir()) == []


def test_a_worker_process_says_the_name_too(tmp_path: Path) -> None:
    with small_disk(), pytest.raises(OSError) as caught:
        clip(tmp_path / "00000.npy")
    arrived = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    assert refusal(arrived) == f"{tmp_path / '00000.npy'}: {os.strerror(errno.EFBIG)}"


def test_a_picture_that_opencv_could_not_write_is_an_error(tmp_path: Path) -> None:
    with small_disk(), pytest.raises(UserError, match=r"sheet\.png: cannot be written"):
        write_sheet(tmp_path / "sheet.png", noise())


def test_the_first_of_several_errors_is_said(tmp_path: Path) -> None:
    """Here the folder that is left unfinished cannot be tidied up either."""

    def write() -> None:
        try:
            (tmp_path / "first").write_text(TEXT)
        finally:
            (tmp_path / "second").write_text(TEXT)

    with small_disk():
        assert refused(write).startswith(str(tmp_path / "first"))


def test_folders_and_names_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cases: dict[str, Callable[[], object]] = {
        f"{tmp_path / 'file'}: is a file where a folder is needed": lambda: (tmp_path / "file").mkdir(exist_ok=True),
        f"{tmp_path / 'file' / 'x'}: Not a directory": lambda: (tmp_path / "file" / "x").mkdir(),
        f"{tmp_path}: Is a directory": lambda: tmp_path.write_text(""),
        f"{tmp_path / ('n' * 300)}: File name too long": lambda: (tmp_path / ("n" * 300)).write_text(""),
        f"{tmp_path / 'no' / 'x'}: there is no folder {tmp_path / 'no'}": lambda: (tmp_path / "no/x").write_text(""),
    }
    for message, write in cases.items():
        assert refused(write) == message
    with new_folder(tmp_path / "made") as folder:
        (folder / "x").write_text("")


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EDQUOT, errno.ENOSPC])
def test_every_refusal_of_a_disk_is_one(tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(*arguments: object, **keywords: object) -> None:
        raise OSError(number, os.strerror(number), str(tmp_path / "x"))

    monkeypatch.setattr(Path, "open", refusing)
    assert refused(lambda: lines(tmp_path / "x")) == f"{tmp_path / 'x'}: {os.strerror(number)}"


@pytest.mark.parametrize(
    "error",
    [FileNotFoundError(errno.ENOENT, "", "params.yaml"), ConnectionRefusedError(errno.ECONNREFUSED, ""), OSError("x")],
)
def test_what_a_program_may_be_to_blame_for_keeps_its_traceback(error: OSError) -> None:
    assert refusal(error) is None


PROGRAM = """
import sys
from pathlib import Path
from darkaction.core import cli
def main():
    {body}
cli.run(main)
"""


def run(
    body: str, *, limit: int | None = None, stdout: int | None = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    def before() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=body)],
        env={"PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before,
    )


def test_commands_end_with_one_line_and_code_1(tmp_path: Path) -> None:
    done = run(f"Path({str(tmp_path / 'x')!r}).write_text('x' * 5000)", limit=4096)
    assert (done.returncode, done.stderr) == (1, f"error: {tmp_path / 'x'}: {os.strerror(errno.EFBIG)}\n")
    done = run("Path('/nowhere.txt').read_text()")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_a_full_standard_output_is_an_error_too() -> None:
    """Small outputs reach it only when the program ends."""
    if not Path("/dev/full").exists():
        return  # Linux has it
    with open("/dev/full", "w") as full:
        done = run("print('an answer')", stdout=full.fileno())
    assert (done.returncode, done.stderr) == (1, f"error: <stdout>: {os.strerror(errno.ENOSPC)}\n")
