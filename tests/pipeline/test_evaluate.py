"""The stage evaluate on two small stores with a network that has fresh weights."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import evaluate
import train
from darkaction.core.errors import UserError
from darkaction.core.paths import Paths
from darkaction.data.clips import ClipStore, npy_header
from darkaction.data.index import COLUMNS
from darkaction.evaluation.predictions import read_predictions
from darkaction.models.build import build_recognizer
from darkaction.params import Params
from darkaction.training import data, weights
from stores import make_store

OVERRIDES = (
    "datasets=[demo]",
    "data.classes=[run, walk, wave]",
    "focal.alpha=null",
    "model.layers=[1, 1, 1, 1]",
    "model.widths=[4, 4, 8, 8]",
    "bert.heads=2",
    "enhance.height=16",
    "enhance.width=16",
    "sampling.num_frames=8",
    "sampling.test_draws=3",
    "train.num_workers=0",
    "train.precision=fp32",
    "evaluate.bootstrap_samples=200",
)
SCENES = range(1, 5)
FRAMES = 12


def make_project(out: Path, *, folds: int) -> list[str]:
    """Index, clip store and weights under `out`; the command line that goes with them."""
    overrides = [*OVERRIDES, f"split.folds={folds}"]
    params = Params.load(overrides=overrides)
    rng = np.random.default_rng(0)
    rows, stored = [], {}
    store = out / "data" / "clips" / "demo"
    for label in params.data.classes:
        for scene in SCENES:
            clip_id = f"demo/{label.title()}_{scene}_1"
            frames_NHWC = rng.integers(0, 255, (FRAMES, 16, 16, 3), dtype=np.uint8)
            stored[clip_id] = frames_NHWC
            parts = {f"fold_{k}": part_of(scene, k, folds) for k in range(folds)}
            values = {"clip_id": clip_id, "dataset": "demo", "path": f"{clip_id}.mp4", "label": label, "take": "1"}
            values |= {"scene": str(scene), "frames": str(FRAMES), "luma": f"{10 + scene}.5", "status": "ok"}
            rows.append(
                {column: values.get(column, "" if kind is str else "1") for column, kind in COLUMNS.items()} | parts
            )
    make_store(store, stored)
    (out / "data" / "index" / "demo").mkdir(parents=True)
    pd.DataFrame(rows).to_csv(out / "data" / "index" / "demo" / "index.csv", index=False)
    for fold in range(folds):
        folder = out / "models" / "recognizer" / f"fold_{fold}"
        folder.mkdir(parents=True)
        torch.manual_seed(fold)
        network = build_recognizer(params.model, params.bert, num_frames=8, height=16, frame_width=16, num_classes=3)
        card = weights.Card(
            model=params.model,
            bert=params.bert,
            sampling=params.sampling,
            enhance=params.enhance,
            classes=params.data.classes,
            min_frames=FRAMES,
            max_frames=FRAMES,
        )
        weights.save(folder / "weights.safetensors", network, card)
        history = pd.DataFrame({"epoch": [0, 1], "train_loss": [2.0, 1.0], "train_accuracy": [0.2, 0.4]})
        history.assign(learning_rate=0.1).to_csv(folder / "history.csv", index=False)
    return ["evaluate.py", "--out", str(out), *(text for value in overrides for text in ("--set", value))]


def part_of(scene: int, fold: int, folds: int) -> str:
    if folds == 2:
        return "test" if scene % 2 == fold else "train"
    return {1: "train", 2: "val", 3: "test", 4: "test"}[scene]


@pytest.fixture(autouse=True)
def no_store(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A server that is not there: recording must not hold up an evaluation. What waits for it waits elsewhere."""
    monkeypatch.setattr(Paths, "SPOOL", str(tmp_path_factory.mktemp("spool")))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    torch.set_num_threads(1)


def test_two_runs_give_the_same_complete_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", make_project(tmp_path, folds=1))
    evaluate.main()
    reports = tmp_path / "reports"
    first = {path.relative_to(reports): path.read_bytes() for path in reports.rglob("*") if path.is_file()}
    evaluate.main()
    assert {path.relative_to(reports): path.read_bytes() for path in reports.rglob("*") if path.is_file()} == first
    names = {"confusion", "per_class", "draws", "luma", "reliability", "learning_curves_0"}
    pictures = {Path("plots") / f"{name}.png" for name in (*names, "samples")}
    tables = {Path("plots") / f"{name}.csv" for name in (*names, "reliability_before")}
    assert set(first) == pictures | tables | {
        Path(name) for name in ("metrics.json", "details.json", "predictions.csv", "promotion_predictions.csv")
    }

    report = json.loads((reports / "details.json").read_text())
    assert json.loads((reports / "metrics.json").read_text()) == {
        "test": {name: round(report["test"][name], 4) for name in ("accuracy", "low", "high", "macro_f1")},
        "shuffled": {"accuracy": round(report["shuffled"]["accuracy"], 4)},
        "validation": {"accuracy": round(report["validation"]["accuracy"], 4)},
    }
    predictions = pd.read_csv(reports / "predictions.csv")
    assert (len(predictions), report["test"]["n"], report["test"]["scenes"], report["validation"]["n"]) == (6, 6, 2, 3)
    accuracy = (predictions["label"] == predictions["predicted"]).mean()
    assert report["test"]["accuracy"] == pytest.approx(accuracy, abs=1e-6)
    assert 0 <= report["test"]["low"] < accuracy < report["test"]["high"] <= 1
    probabilities = predictions[["p_run", "p_walk", "p_wave"]]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert (probabilities.idxmax(axis=1).str.removeprefix("p_") == predictions["predicted"]).all()
    assert set(predictions["scene"]) == {3, 4}
    assert {name: values["n"] for name, values in report["per_class"].items()} == {"run": 2, "walk": 2, "wave": 2}
    assert report["split"] == {"strategy": "scene", "folds": 1}
    assert f"test accuracy {accuracy:.1%}" in capsys.readouterr().out
    kept = pd.read_csv(reports / "promotion_predictions.csv")
    assert kept.empty and {"clip_id", "label", "scene", "predicted"} <= set(kept)


@pytest.mark.parametrize("history", ["epoch\n", "\n"])
def test_weights_that_nothing_was_learnt_with_are_evaluated_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, history: str
) -> None:
    monkeypatch.setattr(sys, "argv", make_project(tmp_path, folds=1))
    (tmp_path / "models/recognizer/fold_0/history.csv").write_text(history)
    evaluate.main()
    assert json.loads((tmp_path / "reports" / "details.json").read_text())["test"]["n"] == 6
    assert not (tmp_path / "reports/plots/learning_curves_0.csv").exists()


def test_two_folds_are_pooled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", make_project(tmp_path, folds=2))
    evaluate.main()
    report = json.loads((tmp_path / "reports" / "details.json").read_text())
    assert set(json.loads((tmp_path / "reports" / "metrics.json").read_text())) == {"test", "shuffled"}
    predictions = pd.read_csv(tmp_path / "reports" / "predictions.csv")
    assert (report["test"]["n"], report["test"]["scenes"]) == (12, 4)
    assert "validation" not in report
    assert (predictions["fold"] == predictions["scene"] % 2).all()
    assert predictions["clip_id"].is_unique


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.widths=[8, 8, 8, 8]", r"fold_0/weights.safetensors: .*model.widths = \[4, 4, 8, 8\]"),
        ("data.classes=[run, walk, wave, jump]", "no usable clip of class jump"),
        (
            "data.classes=[wave, walk, run]",
            r"weights.safetensors: was made with data.classes = .*run python src/train.py",
        ),
        ("sampling.num_frames=16", "sampling.num_frames = 8"),
        ("bert.heads=4", r"bert.heads = 2 \(now 4\)"),
        ("enhance.height=24", r"enhance.height = 16 \(now 24\)"),
        ("enhance.method=gamma", r'enhance.method = "zero_dce" \(now "gamma"\)'),
    ],
)
def test_weights_of_another_network_are_refused(
    override: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = make_project(tmp_path, folds=1)
    monkeypatch.setattr(sys, "argv", [*arguments, "--set", override])
    with pytest.raises(UserError, match=message):
        evaluate.main()
    assert not (tmp_path / "reports").exists()


def test_frames_of_another_size_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the store, of an earlier version, does not say what it was made with."""
    rows = pd.DataFrame({"clip_id": ["demo/Run_1_1"], "dataset": ["demo"], "label": ["run"]})
    make_project(tmp_path, folds=1)
    enhance = Params.load(overrides=[*OVERRIDES, "enhance.height=24"]).enhance
    with pytest.raises(UserError, match=r"frames of 16x16, where enhance\.height and enhance\.width are 24x16"):
        data.open_clips(rows, Paths(out=tmp_path), ["run"], enhance, flow=False)


def test_a_damaged_clip_ends_every_program_that_would_show_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bit of a frame of a validation clip, which the file is loaded with."""
    command = make_project(tmp_path, folds=1)
    store = tmp_path / "data" / "clips" / "demo"
    clip = ClipStore(store).clip("demo/Walk_2_1")
    content = bytearray((store / clip.shard).read_bytes())
    content[len(npy_header((1, 16, 16, 3))) + clip.first * 16 * 16 * 3 + 100] ^= 1
    (store / clip.shard).write_bytes(content)
    for program, more in ((evaluate, []), (train, ["--set", "enhance.method=gamma"])):
        monkeypatch.setattr(sys, "argv", [*command, *more])
        said = r"clips/demo: clip demo/Walk_2_1 in 00000\.npy is damaged .*dvc repro -f -s enhance@demo$"
        with pytest.raises(UserError, match=said):
            program.main()
    assert not (tmp_path / "reports" / "metrics.json").exists()


def test_weights_of_another_split_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", make_project(tmp_path, folds=1))
    (tmp_path / "models/recognizer/trained_on.json").write_text('{"split": "another"}')
    with pytest.raises(UserError, match=r"models/recognizer: was trained on other clips.*run python src/train\.py"):
        evaluate.main()
    assert not (tmp_path / "reports").exists()


def test_missing_weights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", make_project(tmp_path, folds=1))
    (tmp_path / "models" / "recognizer" / "fold_0" / "weights.safetensors").unlink()
    with pytest.raises(UserError, match="fold_0/weights"):
        evaluate.main()


def test_clips_kept_for_promotions_are_predicted_and_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", make_project(tmp_path, folds=1))
    index = tmp_path / "data/index/demo/index.csv"
    index.write_text(index.read_text().replace(",val\n", ",promotion\n"))
    evaluate.main()
    report = json.loads((tmp_path / "reports/details.json").read_text())
    assert report["test"]["n"] == 6 and "validation" not in report
    kept = read_predictions(tmp_path / "reports/promotion_predictions.csv")
    assert len(kept) == 3 and set(kept["predicted"]) <= {"run", "walk", "wave"}
