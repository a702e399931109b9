"""Programs over what earlier stages made with other settings: each says so, and which command to run."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import enhance
import prepare
from darkaction.core.errors import UserError
from darkaction.core.paths import ROOT, Paths
from darkaction.data.clips import ClipStore
from darkaction.data.index import read_index
from darkaction.data.video import write_video
from darkaction.enhancement.settings import frames_wanted
from darkaction.jobs import identity
from darkaction.jobs.enhancer import apply as enhancing
from darkaction.jobs.recognizer import train as stage_train
from darkaction.params import Params
from darkaction.training import data

OVERRIDES = (
    "datasets=[mine]",
    "synthesize.domains=[]",
    "enhance.apply.mine=true",
    "data.classes=[run, sit, walk]",
    "focal.alpha=null",
    "enhance.method=gamma",
    "enhance.height=16",
    "enhance.width=16",
)


def arguments(out: Path, *overrides: str) -> list[str]:
    return ["--out", str(out), *(text for value in (*OVERRIDES, *overrides) for text in ("--set", value))]


def params_of(*overrides: str) -> Params:
    return Params.load(overrides=[*OVERRIDES, *overrides])


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of three classes in three scenes, their index and their store."""
    folder = tmp_path_factory.mktemp("out")
    rng = np.random.default_rng(0)
    for label in ("Run", "Sit", "Walk"):
        (folder / Paths.raw("mine") / label).mkdir(parents=True)
        for scene in (1, 2, 3):
            video_NHWC = rng.integers(0, 255, (4, 16, 16, 3), dtype=np.uint8)
            path = folder / Paths.raw("mine") / label / f"{label}_{scene}_1.avi"
            write_video(path, video_NHWC, fps=30.0, codec="FFV1")
    with pytest.MonkeyPatch.context() as patch:
        for program in (prepare, enhance):
            patch.setattr(sys, "argv", [f"{program.__name__}.py", "mine", *arguments(folder)])
            program.main()
    return folder


def test_index_and_store_say_what_they_were_made_with(out: Path) -> None:
    summary = json.loads((out / Paths.index("mine") / "summary.json").read_text())
    assert summary["settings"] == identity.index_settings(params_of())["mine"]
    store = ClipStore(out / Paths.clips("mine"))
    assert store.made_with() == frames_wanted(params_of().enhance, "mine")


@pytest.mark.parametrize("program", ["train", "evaluate", "report", "leakage", "enhance mine", "train_enhancer"])
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.classes=[run, sit]", r'data\.classes = \["run", "sit", "walk"\] \(now \["run", "sit"\]\)'),
        ("split.folds=2", r"split\.folds = 1 \(now 2\)"),
    ],
)
def test_programs_refuse_an_index_of_other_settings(
    out: Path, monkeypatch: pytest.MonkeyPatch, program: str, override: str, message: str
) -> None:
    (out / "reports").mkdir(exist_ok=True)
    (out / "reports" / "metrics.json").write_text("{}")
    name, *dataset = program.split()
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *dataset, *arguments(out, "enhance.method=zero_dce", override)])
    before = sorted(path for path in out.rglob("*") if path.is_file())
    with pytest.raises(
        UserError, match=rf"data/index/mine: was made with {message}; run python src/prepare\.py mine with"
    ):
        importlib.import_module(name).main()
    assert sorted(path for path in out.rglob("*") if path.is_file()) == before


def test_the_program_ends_with_one_line(out: Path) -> None:
    command = [sys.executable, "src/train.py", *arguments(out, "data.classes=[run, sit]")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {out}/data/index/mine: was made with data.classes = ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("enhance.height=32", r"enhance\.height = 16 \(now 32\)"),
        ("enhance.gamma=3", r"enhance\.gamma = 2\.2 \(now 3\.0\)"),
        ("enhance.method=none", r'enhance\.method = "gamma" \(now "none"\)'),
        ("enhance.apply.mine=false", r'enhance\.method = "gamma" \(now "none"\)'),
    ],
)
def test_frames_of_other_settings_are_refused(out: Path, override: str, message: str) -> None:
    rows = read_index(out / Paths.index("mine"))
    paths, classes = Paths(out=out), params_of().data.classes
    assert len(data.open_clips(rows, paths, classes, params_of().enhance, flow=False)) == 9
    with pytest.raises(
        UserError, match=rf"data/clips/mine: was made with {message}; run python src/enhance\.py mine with"
    ):
        data.open_clips(rows, paths, classes, params_of(override).enhance, flow=False)


def test_weights_of_the_enhancement_must_be_those_of_the_frames(out: Path, tmp_path: Path) -> None:
    params = params_of("enhance.method=zero_dce")
    enhancer, store = tmp_path / Paths.ENHANCER, tmp_path / Paths.clips("mine")
    for folder in (enhancer, store, tmp_path / "model"):
        folder.mkdir(parents=True)
    (enhancer / "weights.safetensors").write_bytes(b"new")
    (store / "clips.csv").write_bytes((out / Paths.clips("mine") / "clips.csv").read_bytes())
    stage_train.copy_enhancer(params, Paths(out=tmp_path), tmp_path / "model")
    (store / "settings.json").write_text(json.dumps({"enhancer.sha256": "of the old ones"}))
    with pytest.raises(
        UserError, match=r"data/clips/mine: was enhanced with other weights .*run python src/enhance\.py"
    ):
        stage_train.copy_enhancer(params, Paths(out=tmp_path), tmp_path / "model")


def test_an_enhancement_trained_with_other_settings_is_refused(tmp_path: Path) -> None:
    params = params_of("enhance.method=zero_dce")
    recorded = {"method": "zero_dce", "settings": identity.enhancer_settings(params)}
    (tmp_path / "metrics.json").write_text(json.dumps(recorded))
    enhancing.settings(params, "mine", weights=tmp_path / "weights.safetensors")
    other = params_of("enhance.method=zero_dce", "zero_dce.epochs=99")
    with pytest.raises(UserError, match=r"zero_dce\.epochs = \d+ \(now 99\); run python src/train_enhancer\.py with"):
        enhancing.settings(other, "mine", weights=tmp_path / "weights.safetensors")


def test_a_pretraining_with_other_settings_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / Paths.PRETRAINING
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text(json.dumps(identity.pretraining_settings(params_of())))
    stage_train.require_pretraining(params_of("pretrain.enabled=true"), Paths(out=tmp_path))
    with pytest.raises(UserError, match=r"models/pretraining: was made with pretrain\.scenes = \d+ \(now 7\)"):
        stage_train.require_pretraining(params_of("pretrain.scenes=7"), Paths(out=tmp_path))
