"""Prediction, the same from the command line, from MLflow's model and from its server."""

import base64
import csv
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest

import predict as predict_program
import promote as promote_program
from darkaction.core.errors import UserError
from darkaction.core.paths import ROOT, Paths
from darkaction.data.measure import measure
from darkaction.data.video import VideoError, iter_frames, probe, read_video, write_video
from darkaction.enhancement.apply import enhance_clip
from darkaction.evaluation.predict import predict
from darkaction.models.precision import uses_bf16
from darkaction.params import Params
from darkaction.serving import predictor as predictor_module
from darkaction.serving.mlflow_model import EXPECTED, SIGNATURE
from darkaction.serving.predictor import Predictor, look
from darkaction.tracking.store import open_store
from darkaction.tracking.weights import find_weights
from darkaction.training import weights
from darkaction.training.loader import Clip
from stores import make_store
from tiny_models import CLASSES, TRAINING, call, make_model, record_run
from video_files import ODD, write_huge


def make_video(path: Path, *, frames: int = 40, height: int = 48, width: int = 64, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    first_HWC = rng.integers(0, 60, (height, width, 3), dtype=np.uint8)
    write_video(path, (np.roll(first_HWC, k, axis=0) for k in range(frames)), fps=30, codec="mp4v")
    return path


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return call(predict_program, *arguments, folder=ROOT)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos, one of them long enough for the draws to see different windows, and a bad one."""
    folder = tmp_path_factory.mktemp("videos")
    for number, frames in enumerate((5, 40, 90)):
        make_video(folder / "deep" / f"{number}.mp4", frames=frames, seed=number)
    (folder / "deep" / "bad.mp4").write_text("no video")
    return folder


def test_probabilities_are_those_of_each_draw(model: Path, videos: Path) -> None:
    predictor = Predictor.load(model)
    prediction = predictor.predict(videos / "deep" / "2.mp4")
    assert prediction.frames == 90
    assert prediction.draws_DK.shape == (5, 2)
    assert np.allclose(prediction.draws_DK.sum(1), 1)
    assert np.allclose(prediction.probabilities_K, prediction.draws_DK.mean(0), atol=1e-12)  # nothing to calibrate by
    assert prediction.spread_K.max() > 0  # the windows differ
    assert prediction.top(9) == sorted(prediction.top(2), key=lambda entry: -entry[1])


def test_a_long_video_is_decoded_twice_for_the_same_probabilities(
    model: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, video = Predictor.load(model), videos / "deep" / "2.mp4"
    kept = predictor.predict(video)
    monkeypatch.setattr(predictor_module, "KEPT_BYTES", 10 * 48 * 64 * 3)
    assert look(video, None).frames is None
    assert np.array_equal(predictor.predict(video).draws_DK, kept.draws_DK)


def test_probabilities_are_calibrated_and_the_label_stays(tmp_path: Path, videos: Path) -> None:
    video = videos / "deep" / "2.mp4"
    models = {None: "plain", 0.2: "sharp", 4.0: "flat"}
    plain, sharp, flat = (
        Predictor.load(make_model(tmp_path / name, temperature=temperature)).predict(video)
        for temperature, name in models.items()
    )
    expected_K = plain.probabilities_K ** (1 / 4) / (plain.probabilities_K ** (1 / 4)).sum()
    np.testing.assert_allclose(flat.probabilities_K, expected_K, atol=1e-12)
    assert plain.label == sharp.label == flat.label
    assert flat.probabilities_K.max() < plain.probabilities_K.max() < sharp.probabilities_K.max()
    assert flat.answer(unsure_below=1.0) == "unsure" and flat.answer(unsure_below=0.5) == flat.label


def test_what_is_unlike_the_training_clips_is_said(tmp_path: Path, videos: Path) -> None:
    synthetic = make_model(tmp_path / "synthetic", training=TRAINING, temperature=1.0)
    alike, unlike = videos / "deep" / "1.mp4", tmp_path / "unlike.mp4"
    make_video(unlike, frames=90, height=96, width=128)
    predictor = Predictor.load(synthetic)
    assert predictor.predict(alike).outside == []
    assert predictor.predict(unlike).outside == [
        "128x96 pixels (training clips 64 x 48)",
        "90 frames (training clips 20 to 60)",
    ]
    bright = replace(TRAINING, luma=(100.0, 120.0), datasets=["demo", "arid"])
    [phrase] = Predictor.load(make_model(tmp_path / "real", training=bright)).predict(alike).outside
    assert phrase.startswith("mean luma 2") and phrase.endswith(" of 255 (training clips 100.0 to 120.0)")
    done = run(unlike, "--model", synthetic)
    assert "unlike every training clip: 90 frames (training clips 20 to 60)" in done.stdout
    assert "note: trained on synthetic clips only (demo): on real video" in done.stderr
    assert "note: its probabilities are not calibrated" in run(alike, "--model", tmp_path / "real").stderr
    [row] = json.loads(run(unlike, "--model", synthetic, "--json", "--unsure-below", "1").stdout)
    assert (row["answer"], len(row["outside_training"])) == ("unsure", 2) and row["label"] in CLASSES


def test_videos_in_folders_of_classes_give_an_accuracy(model: Path, videos: Path, tmp_path: Path) -> None:
    rows = json.loads(run(videos / "deep" / "[12].mp4", "--model", model, "--json").stdout)
    right, wrong = rows[0]["label"].capitalize(), {"up": "down", "down": "up"}[rows[1]["label"]]
    for number, folder in ((1, right), (2, wrong), (0, "other")):
        (tmp_path / folder).mkdir(exist_ok=True)
        shutil.copy(videos / "deep" / f"{number}.mp4", tmp_path / folder)
    done = run(tmp_path, "--model", model)
    assert done.returncode == 0
    share = "50.0% top-1 of the 2 videos that lie in a folder named like one of the 2 classes (chance 50.0%)"
    assert share in done.stderr


def test_half_precision_changes_little(tmp_path: Path, videos: Path) -> None:
    whole = make_model(tmp_path / "whole", temperature=1.0)
    half = make_model(tmp_path / "half")
    network, card = weights.load(whole / "fold_0" / weights.WEIGHTS)
    weights.save(half / "fold_0" / weights.WEIGHTS, network, card, half=True)
    sizes = [(folder / "fold_0" / weights.WEIGHTS).stat().st_size for folder in (whole, half)]
    assert sizes[1] < 0.65 * sizes[0]
    answers = [Predictor.load(folder).predict(videos / "deep" / "1.mp4").probabilities_K for folder in (whole, half)]
    np.testing.assert_allclose(answers[0], answers[1], atol=0.01)


def test_only_the_frames_that_draws_need_are_enhanced(model: Path, videos: Path) -> None:
    predictor = Predictor.load(model)
    seen: list[int] = []
    enhancer = predictor.enhancer

    def counting(frames_NHWC: np.ndarray) -> np.ndarray:
        seen.append(len(frames_NHWC))
        return enhancer(frames_NHWC)

    predictor.enhancer = counting
    predictor.predict(videos / "deep" / "2.mp4")
    assert 8 <= sum(seen) <= 5 * 8 < 90


@pytest.mark.parametrize("overrides", [("enhance.flow=true", "model.input=rgb_flow"), ("enhance.method=enlightengan",)])
@pytest.mark.parametrize("number", [0, 2])
def test_a_video_is_seen_as_its_stored_clip(
    tmp_path: Path, videos: Path, overrides: tuple[str, ...], number: int
) -> None:
    """Frames decoded one by one, and the flow between them, are those that enhance stores whole."""
    predictor = Predictor.load(make_model(tmp_path / "model", *overrides))
    card, video = predictor.card, videos / "deep" / f"{number}.mp4"
    chunks = enhance_clip(iter_frames(video), predictor.enhancer, height=16, width=16)
    clip_store = make_store(tmp_path / "store", {"": np.concatenate(list(chunks))}, flow=card.enhance.flow)
    clip = Clip(clip_id="", label=0, source=clip_store, flow=card.enhance.flow)
    network, _ = weights.load(tmp_path / "model/fold_0" / weights.WEIGHTS)
    bf16 = uses_bf16("auto", card.model.backbone)
    stored_DNK = predict(
        network, [clip], sampler=card.sampler(), seed=0, num_draws=5, batch_size=1, workers=0, bf16=bf16
    )
    np.testing.assert_allclose(predictor.predict(video).draws_DK, stored_DNK[:, 0], atol=1e-6)


def test_what_prepare_sets_aside_is_refused(tmp_path: Path, model: Path) -> None:
    video = make_video(tmp_path / "Walk_1_1.mp4", frames=1)
    assert measure(video).reason == "has only one frame"
    with pytest.raises(VideoError, match="has only one frame"):
        Predictor.load(model).predict(video)
    done = run(video, "--model", model)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {video}: has only one frame\n"


def test_videos_over_the_limits_are_refused(tmp_path: Path, model: Path, videos: Path) -> None:
    limits = Params.load().video
    huge = write_huge(tmp_path / "huge.avi")
    done = run(huge, "--model", model)
    assert (done.returncode, done.stdout) == (1, "")
    reason = f"frames of 8192x8192 pixels are over video.max_pixels {limits.max_pixels}"
    assert done.stderr == f"error: {huge}: {reason}\n"
    with pytest.raises(VideoError, match=r"has more frames than video\.max_frames 89"):
        Predictor.load(model, replace(limits, max_frames=89)).predict(videos / "deep" / "2.mp4")


def test_a_saved_video_lasts_as_long_as_the_original(model: Path, tmp_path: Path) -> None:
    done = run(ODD / "variable_rate.webm", "--model", model, "--save", tmp_path / "seen.mp4")
    assert done.returncode == 0, done.stderr
    assert probe(tmp_path / "seen.mp4").fps == pytest.approx(13.39, abs=0.01)  # not the announced 30


@pytest.mark.slow
def test_names_that_are_no_utf8_are_printed_escaped(model: Path, videos: Path, tmp_path: Path) -> None:
    video = tmp_path / os.fsdecode(b"no\xffutf8.mp4")
    video.write_bytes((videos / "deep" / "1.mp4").read_bytes())
    command = [sys.executable, str(ROOT / "src" / "predict.py"), str(video), "--model", str(model)]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    for extra in ([], ["--json"], ["--csv", str(tmp_path / "table.csv")]):
        done = subprocess.run([*command, *extra], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        assert "\\udcffutf8.mp4" in (done.stdout or (tmp_path / "table.csv").read_text())


def test_the_networks_of_two_folds_are_averaged(tmp_path: Path, videos: Path) -> None:
    both = Predictor.load(make_model(tmp_path / "both", folds=2)).predict(videos / "deep" / "1.mp4")
    models = [Predictor.load(make_model(tmp_path / str(seed), seed=seed)) for seed in (0, 1)]
    single = [predictor.predict(videos / "deep" / "1.mp4") for predictor in models]
    mean_DK = (single[0].draws_DK + single[1].draws_DK) / 2
    assert np.allclose(both.draws_DK, mean_DK, atol=1e-12)


def test_one_video_on_the_terminal(model: Path, videos: Path) -> None:
    done = run(videos / "deep" / "1.mp4", "--model", model)
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert first == f"{videos / 'deep' / '1.mp4'} (40 frames): {rest[0].split()[0]}"
    assert all(line.endswith(" over 5 draws of frames") for line in rest)
    assert sorted(line.split()[0] for line in rest) == CLASSES
    done = run(videos / "deep" / "1.mp4", "--model", model, "--json")
    [row] = json.loads(done.stdout)
    assert row["label"] == rest[0].split()[0]
    assert sum(row["probabilities"].values()) == pytest.approx(1)


def test_a_folder_is_a_table_and_bad_videos_are_rows_of_it(model: Path, videos: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "src" / "predict.py"), str(videos), "--model", str(model)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)  # the table goes to the process's output
    assert done.returncode == 1
    assert "error: 1 of 4 videos could not be used; the column error says why" in done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [Path(row["video"]).name for row in rows] == ["0.mp4", "1.mp4", "2.mp4", "bad.mp4"]
    assert [row["frames"] for row in rows] == ["5", "40", "90", ""]
    assert rows[3]["error"].startswith("not a video")
    assert float(rows[0]["p_down"]) + float(rows[0]["p_up"]) == pytest.approx(1, abs=1e-5)
    done = run(videos / "deep" / "[01].mp4", "--model", model, "--csv", tmp_path / "out.csv")
    assert (done.returncode, done.stdout) == (0, "")
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 3
    both = run(videos / "deep" / "1.mp4", "--model", model, "--json", "--csv", tmp_path / "one.csv")
    assert json.loads(both.stdout)[0]["frames"] == 40 and len((tmp_path / "one.csv").read_text().splitlines()) == 2
    bad = run(
        videos / "deep" / "bad.mp4", "--model", model, "--csv", tmp_path / "bad.csv", "--save", tmp_path / "x.mp4"
    )
    assert bad.returncode == 1 and "1 of 1 videos could not be used" in bad.stderr and "Traceback" not in bad.stderr
    assert "not a video" in (tmp_path / "bad.csv").read_text() and not (tmp_path / "x.mp4").exists()


def test_a_saved_video_shows_raw_and_enhanced(model: Path, videos: Path, tmp_path: Path) -> None:
    done = run(videos / "deep" / "1.mp4", "--model", model, "--save", tmp_path / "seen.mp4")
    assert done.returncode == 0, done.stderr
    info = probe(tmp_path / "seen.mp4")
    assert (info.frames, info.width, info.height) == (40, 128, 48)
    frame_HWC = read_video(tmp_path / "seen.mp4")[0]
    assert frame_HWC[:14, :40].max() > 200  # the text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{videos}/absent.mp4"], "absent.mp4: no such file, and no video in it (.mp4, "),
        (["{videos}/deep/bad.mp4"], "bad.mp4: not a video"),
        (["{videos}/deep/1.mp4", "--model", "{videos}"], "no fold_0/weights.safetensors there; dvc repro trains"),
        (["{videos}", "--save", "x.mp4"], "--save writes one video; 4 were given"),
        (["{videos}", "--explain", "x.png"], "--explain is of one video; 4 were given"),
        (["{videos}/deep/1.mp4", "--explain", "x.jpg"], "--explain x.jpg: expected a file ending in .png"),
        (["{videos}/deep/1.mp4", "--explain", "x.png"], "model.backbone: the last features of this network are ("),
        (["{videos}/deep/1.mp4", "--model", "models:/nothing@champion"], "models:/nothing@champion: no model there"),
    ],
)
def test_wrong_input_is_one_line(
    model: Path, videos: Path, tmp_path: Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    arguments = [argument.format(videos=videos) for argument in arguments]
    if "--model" not in arguments:
        arguments += ["--model", str(model)]
    done = run(*arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.long
def test_two_minutes_of_1080p_stay_below_one_and_a_half_gigabytes(model: Path, tmp_path: Path) -> None:
    video = make_video(tmp_path / "long.mp4", frames=3_600, height=1080, width=1920)
    program = (
        "import sys; sys.argv[1:] = [sys.argv[1], '--model', sys.argv[2]]; sys.path[:0] = ['src', 'tests']\n"
        "import predict, peak_memory; predict.main()\n"
        "print('peak', peak_memory.peak_memory())"
    )
    command = [sys.executable, "-c", program, str(video), str(model)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    peak = int(done.stdout.split()[-1])
    assert peak < 1.5e9, f"{peak / 1e9:.2f} GB"


# MLflow's model, its server, and the registry


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Paths]:
    """A store of its own."""
    root = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/mlflow.db")
        patch.chdir(root)
        yield Paths(root=root)


@pytest.mark.slow
def test_three_ways_give_the_same_probabilities(store: Paths, model: Path, videos: Path) -> None:
    video = videos / "deep" / "2.mp4"
    run_id = record_run(store, model, wrong=0, digest="three ways")
    done = call(promote_program, run_id, "--alias", "same", "--force", "for the test", folder=store.root)
    assert done.returncode == 0, done.stderr
    expected = probabilities_of_command(video, model)
    original = (model / "fold_0" / weights.WEIGHTS).read_bytes()
    for source in (f"runs:/{run_id}", f"runs:/{run_id}/fold_0", "models:/darkaction@same"):  # as train.init_from too
        assert find_weights(source, store, fold=0).read_bytes() == original
    with pytest.raises(UserError, match="the model has no fold_1"):
        find_weights(f"runs:/{run_id}/fold_1", store, fold=0)
    assert probabilities_of_command(video, f"runs:/{run_id}") == expected
    assert probabilities_of_command(video, "models:/darkaction@same") == expected
    encoded = "base64:" + base64.b64encode(video.read_bytes()).decode()
    with ServingProcess(store) as url:
        served, path, missing = ask(url, [encoded, str(video), None])
        assert served["probabilities"] == expected
        assert served["label"] == max(expected, key=lambda name: expected[name])
        assert path["error"] == missing["error"] == EXPECTED
    [version] = open_store(store).search_model_versions(f"run_id='{run_id}'")
    model_of_version = mlflow.pyfunc.load_model(f"models:/darkaction/{version.version}")
    assert model_of_version.metadata.get_output_schema() == SIGNATURE.outputs


def probabilities_of_command(video: Path, model: object) -> dict[str, float]:
    done = run(video, "--model", model, "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout)[0]["probabilities"])


class ServingProcess:
    """`mlflow models serve` on a free port."""

    def __init__(self, store: Paths) -> None:
        with socket.socket() as probe_socket:
            probe_socket.bind(("127.0.0.1", 0))
            port = probe_socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/darkaction@same"]
        command += ["--env-manager", "local", "--port", str(port), "--workers", "1"]
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        self.process = subprocess.Popen(command, env=environment, cwd=store.root, start_new_session=True)

    def __enter__(self) -> str:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{self.url}/ping", timeout=5)
                return self.url
            except OSError:
                assert self.process.poll() is None, "the server ended"
                time.sleep(1)
        raise AssertionError("the server does not answer")

    def __exit__(self, *_: object) -> None:
        os.killpg(self.process.pid, 15)
        self.process.wait(30)


def ask(url: str, videos: list[str | None]) -> list[dict[str, Any]]:
    body = json.dumps({"dataframe_split": {"columns": ["video"], "data": [[video] for video in videos]}}).encode()
    request = urllib.request.Request(f"{url}/invocations", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return list(json.load(answer)["predictions"])
