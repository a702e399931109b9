"""Stages that were stopped go on with what is missing, to the same bytes as if nothing had been."""

import functools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from darkaction.core.folders import kept_folder
from darkaction.core.parallel import Processes
from darkaction.core.paths import ROOT
from darkaction.data import measure, shards
from darkaction.data.prepare import build_index
from darkaction.data.video import Frames, write_video
from darkaction.enhancement import apply
from darkaction.enhancement.apply import Clip, Settings, enhance_dataset
from darkaction.jobs.recognizer import pretraining
from darkaction.params import Params
from darkaction.synthetic import dataset

GAMMA = Settings(
    method="gamma", gamma=2.2, weights=Path("none"), curve_scale=0.5, device="cpu", height=16, width=20, flow=True
)
HERE = Processes(0)

KILLED = """
import os, signal, sys
from pathlib import Path
from test_resume import *

def killing(path):
    for number, frame in enumerate(decode(path)):
        if path.name == "Walk_1_3.avi" and number == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        yield frame

decode, apply.iter_frames = apply.iter_frames, killing
enhance(Path(sys.argv[1]), "a")
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def make_videos(folder: Path, count: int, action: str = "Walk") -> None:
    (folder / action).mkdir(parents=True)
    for take in range(1, count + 1):
        frames_NHWC = np.random.default_rng([take, len(action)]).integers(0, 60, (5 + take, 32, 40, 3), dtype=np.uint8)
        write_video(folder / f"{action}/{action}_1_{take}.avi", frames_NHWC, fps=30.0, codec="FFV1")


def enhance(root: Path, fingerprint: str, *, store: str = "store") -> None:
    """The store of four videos, each in a shard of its own."""
    shards.SHARD_BYTES = 1
    paths = sorted((root / "raw/Walk").glob("*.avi"))
    clips = [Clip(clip_id=f"demo/{path.stem}", path=path, frames=5 + take) for take, path in enumerate(paths, start=1)]
    enhance_dataset(clips, root / store, GAMMA, mapper=HERE, fingerprint=fingerprint)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[object, str], list[str]]:
    """Counts the calls of a function: a list of what they were given, which grows."""

    def count(module: object, name: str) -> list[str]:
        calls: list[str] = []
        function = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, **k: calls.append(" ".join(map(str, a[-3:]))) or function(*a, **k))
        return calls

    monkeypatch.setattr(shards, "SHARD_BYTES", shards.SHARD_BYTES)
    return count


def test_a_killed_enhancement_goes_on_with_the_shards_that_are_missing(
    tmp_path: Path, counted: Callable[[object, str], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    make_videos(tmp_path / "raw", 5)
    enhance(tmp_path, "a", store="undisturbed")
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests"), str(Path(__file__).parent)])
    environment = {**os.environ, "PYTHONPATH": paths}
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=environment, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    (left,) = tmp_path.glob(".store*")
    assert sorted(path.name for path in left.glob("*.csv")) == ["00003.csv", "00004.csv"]  # the longest come first
    decoded = counted(apply, "iter_frames")
    enhance(tmp_path, "a")
    assert [Path(path).stem for path in decoded] == ["Walk_1_3", "Walk_1_2", "Walk_1_1"]
    assert contents(tmp_path / "store") == contents(tmp_path / "undisturbed")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw", "store", "undisturbed"]
    assert "removed" not in capsys.readouterr().err


def test_what_others_left_is_removed_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def stopped(fingerprint: str) -> None:
        with kept_folder(tmp_path / "store", fingerprint) as folder:
            (folder / "part").touch()
            (folder / ".half").touch()
            raise KeyboardInterrupt

    for fingerprint in ("a", "b"):
        with pytest.raises(KeyboardInterrupt):
            stopped(fingerprint)
    assert [path.name for path in tmp_path.iterdir()] == [".store.unfinished-b"]
    expected = f"{tmp_path}/.store.unfinished-a: unfinished, with other settings, data or code: removed\n"
    assert capsys.readouterr().err == expected
    with kept_folder(tmp_path / "store", "b") as folder:
        assert [path.name for path in folder.iterdir()] == ["part"]
        with kept_folder(tmp_path / "store", "b") as other:  # as another process does at the same time
            assert other != folder and list(other.iterdir()) == []
            (other / "its own").touch()
        with kept_folder(tmp_path / "store", "c"):
            pass
        assert folder.exists()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["part", "store"]


def test_a_stopped_index_goes_on_with_the_clips_that_are_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_videos(tmp_path, 4)
    journal = tmp_path / "measured.jsonl"
    measured: list[str] = []

    def index(stop_at: int, *, kept: Path | None = journal):
        def measure_one(path: Path, **_: object) -> measure.Measured:
            if len(measured) == stop_at:
                raise KeyboardInterrupt
            measured.append(path.stem)
            return measure.measure(path)

        monkeypatch.setattr("darkaction.data.prepare.measure", measure_one)
        settings = {"dataset": "demo", "target": True, "classes": ["walk"], "max_quarantined": 0.0}
        return build_index(tmp_path, **settings, mapper=HERE, journal=kept)

    with pytest.raises(KeyboardInterrupt):
        index(2)
    with journal.open("a") as file:
        file.write('{"path": "cut o')
    os.utime(tmp_path / "Walk/Walk_1_1.avi")  # another file now, perhaps
    table, means_NHWC = index(-1)
    assert measured == ["Walk_1_1", "Walk_1_2", "Walk_1_1", "Walk_1_3", "Walk_1_4"]
    whole, means = index(-1, kept=None)
    assert table.equals(whole) and np.array_equal(means_NHWC, means) and (whole["reason"] == "").all()
    index(-1)
    assert len(measured) == 5 + 4


def test_stopped_generations_go_on(tmp_path: Path, counted: Callable[[object, str], list[str]]) -> None:
    params = Params.load(profile="smoke", overrides=["data.classes=[run,walk]", "pretrain.scenes=3"])
    generator = pretraining.generator_settings(params)
    store = functools.partial(pretraining.generate_store, generator, enhancement=GAMMA, mapper=HERE, fingerprint="a")
    settings = {"classes": ["run", "walk"], "seed": 0, "mapper": HERE, "fingerprint": "a"}
    videos = functools.partial(dataset.synthesize, "demo", params.synthesize, **settings)
    for make, stop_at in ((lambda path: store(store=path), 3), (lambda path: videos(target=path), 5)):
        folder = tmp_path / f"stopped {stop_at}"
        generated = counted(dataset, "generate_clip")
        make(tmp_path / "undisturbed")
        total = len(generated)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(dataset, "generate_clip", stopping(dataset.generate_clip, stop_at))
            with pytest.raises(KeyboardInterrupt):
                make(folder)
        generated.clear()
        make(folder)
        assert len(generated) == total - {3: 2, 5: 5}[stop_at]  # of shards only whole ones count
        assert contents(folder) == contents(tmp_path / "undisturbed")


def stopping(function: Callable[..., Frames], calls: int) -> Callable[..., Frames]:
    """The function, until it was called so often."""
    left: Iterator[int] = iter(range(calls))

    def call(*arguments: object) -> Frames:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return function(*arguments)

    return call
