"""Exported models answer as this project does; what cannot be exported, or answers otherwise, leaves no file behind."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

import export as export_program
from darkaction.core.errors import UserError
from darkaction.core.paths import ROOT, Paths
from darkaction.enhancement.networks import resizing_weights
from darkaction.serving.export import check, files
from darkaction.serving.export.graph import pool, resize, scaled
from darkaction.serving.export.model import Indices, draws_of, inputs_of, load
from darkaction.serving.predictor import Predictor
from darkaction.training.sampling import BLANK
from tiny_models import call, make_model

SIZES = ((120, 160), (242, 318), (20, 30), (100, 40), (48, 48), (481, 733))


def random_video(frames: int, height: int = 46, width: int = 62) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 60, (frames, height, width, 3), dtype=np.uint8)


def change(folder: Path, frames_NHWC: NDArray[np.uint8]) -> float:
    """Largest difference between the graph and the project in float32."""
    model = load(folder)
    frames_MHWC, indices_DT = inputs_of(model.card, frames_NHWC)
    with torch.inference_mode():
        graph_K, shown = model.graph()(torch.from_numpy(frames_MHWC), torch.from_numpy(indices_DT))
    assert graph_K.sum() == pytest.approx(1)
    assert np.abs(np.subtract(shown.numpy(), model.show(frames_MHWC), dtype=np.int16)).max() <= 1
    return float(np.abs(graph_K.numpy() - model.answer(shown.numpy(), indices_DT)).max())


@pytest.mark.parametrize("size", SIZES)
def test_sizes_change_as_opencv_and_interpolate_do_it(size: tuple[int, int]) -> None:
    image = torch.rand(1, 3, *size) * 255
    rows, columns = resizing_weights(size, (48, 40))
    assert torch.allclose(resize(image, (48, 40)), rows @ image @ columns, atol=1e-3)
    small = (max(1, size[0] // 3), max(1, size[1] // 3))
    assert torch.allclose(pool(image, small), functional.interpolate(image, size=small, mode="area"), atol=1e-3)


@pytest.mark.parametrize("scale", [0.05, 0.15, 0.25, 1 / 3, 0.5, 1.0])
def test_a_side_is_scaled_as_round_does(scale: float) -> None:
    fraction = Fraction(scale).limit_denominator(1000)
    assert [scaled(side, fraction) for side in range(1, 2000)] == [max(1, round(s * scale)) for s in range(1, 2000)]


@pytest.mark.parametrize("frames", [1, 5, 40], ids=["one frame", "mostly blank", "longer than what is shown"])
@pytest.mark.parametrize(
    "overrides",
    [
        ["enhance.curve_scale=0.5"],
        ["enhance.method=none", "model.input=movement"],
        ["enhance.method=gamma", "sampling.strategy=length_adjusted"],
    ],
    ids=["zero_dce", "none", "gamma"],
)
def test_the_graph_answers_as_the_predictor(tmp_path: Path, overrides: list[str], frames: int) -> None:
    make_model(tmp_path / "model", *overrides, folds=2, temperature=2.0)
    assert change(tmp_path / "model", random_video(frames)) < 1e-5


def test_frames_are_chosen_as_the_predictor_does(tmp_path: Path) -> None:
    model = load(make_model(tmp_path / "model"))
    predictor = Predictor.load(tmp_path / "model")
    for frames in (1, 7, 40, 300):
        assert (draws_of(model.card, frames) == predictor._draws(predictor.card, frames)).all()
    frames_MHWC, indices_DT = inputs_of(model.card, random_video(12))
    assert (indices_DT == BLANK).any() and len(frames_MHWC) == indices_DT.max() + 1


def test_members_of_an_ensemble_are_averaged_and_must_sample_alike(tmp_path: Path) -> None:
    folder, other = make_model(tmp_path / "model", "enhance.method=none"), make_model(tmp_path / "other", seed=1)
    (other / "fold_0").rename(folder / "fold_0/member_1")
    assert len(load(folder).networks) == 2
    assert change(folder, random_video(12)) < 1e-5
    make_model(tmp_path / "third", "sampling.delta_max=1.0")
    (tmp_path / "third/fold_0").rename(folder / "fold_1")
    with pytest.raises(UserError, match="its networks sample other frames"):
        load(folder)


def test_the_description_is_enough_to_choose_the_frames(tmp_path: Path) -> None:
    """By the steps of docs/serving.md, in fractions."""
    model = load(make_model(tmp_path / "model"))
    sampling = files._description(model, lambda frames, indices: (np.zeros(2), frames), "onnx")["sampling"]
    length, rates = sampling["num_frames"], (sampling["delta_min"], sampling["delta_max"])

    def draw(number: int, frames: int) -> list[int]:
        u, v = sampling["uniform"][number]
        delta = Fraction(rates[0] + u * (rates[1] - rates[0]))
        rate = min((frames + length * delta) / length, Fraction(sampling["max_rate"]))
        kept = max(1, int(frames / rate))
        shown = [min(int(k * rate), frames - 1) for k in range(kept)]
        if kept > length:
            first = min(number * (kept - length + 1) // (len(sampling["uniform"]) - 1), kept - length)
            return shown[first : first + length]
        before = min(int(v * (length - kept + 1)), length - kept)
        return [BLANK] * before + shown + [BLANK] * (length - kept - before)

    for frames in (1, 7, 12, 40, 41, 300):
        assert [draw(number, frames) for number in range(5)] == draws_of(model.card, frames).tolist()


def test_each_part_of_the_answer_counts(tmp_path: Path) -> None:
    """A blank frame, the temperature and the second network: without one of them the answer is another."""
    model = load(make_model(tmp_path / "model", folds=2, temperature=3.0))
    frames, indices = (torch.from_numpy(array) for array in inputs_of(model.card, random_video(12)))
    with torch.inference_mode():
        whole = model.graph()
        answer_K = whole(frames, indices)[0]
        shown = whole(frames, indices.clamp_min(0))[0]
        whole.temperatures = [1.0, 1.0]
        hot = whole(frames, indices)[0]
        whole.networks, whole.temperatures = whole.networks[:1], [3.0]
        single = whole(frames, indices)[0]
    for other_K in (shown, hot, single):
        assert (answer_K - other_K).abs().max() > 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(("form", "ending"), files.FORMATS.items())
def test_a_file_answers_as_its_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, ending: str) -> None:
    folder = make_model(tmp_path / "model", "enhance.curve_scale=0.1", folds=2, temperature=2.0)
    monkeypatch.setattr(check, "ROUNDS", 1)
    target = tmp_path / "out" / f"seen{ending}"
    done = call(export_program, "--format", form, "--model", folder, "--out", target, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 networks" in done.stdout and "ratio" in done.stdout and "predict.py" in done.stdout
    assert sorted(path.name for path in target.parent.iterdir()) == [target.name, f"{target.name}.json"]
    model, exported = load(folder), files.read(target, form)
    for frames, height, width in ((1, 46, 62), (5, 30, 34), (40, 122, 94)):
        inputs = inputs_of(model.card, random_video(frames, height, width))
        answer_K, shown_MhwC = exported(*inputs)
        assert np.abs(answer_K - model.answer(shown_MhwC, inputs[1])).max() < check.MOST_CHANGE
    described = json.loads(Path(f"{target}.json").read_text())
    assert described["classes"] == model.card.classes
    example = described["example"]
    frames_NHWC = files.example_frames()
    assert list(frames_NHWC.shape) == example["shape"] and frames_NHWC[9, 8, 7, 2] == (63 + 24 + 35 + 22) % 61
    indices = np.array(example["indices_into_video"], np.int64)
    assert np.allclose(
        exported(frames_NHWC, indices)[0], example["probabilities"], atol=1e-6
    )  # all frames will do, too


@pytest.mark.slow
def test_the_shipped_weights_can_be_exported(tmp_path: Path) -> None:
    target = tmp_path / "darkaction.onnx"
    done = call(export_program, "--format", "onnx", "--model", ROOT / Paths.SHIPPED, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert target.is_file() and Path(f"{target}.json").is_file()


@pytest.mark.parametrize(
    ("error_K", "levels", "says"), [(2e-4, 0, "differ by 2.0e-04"), (0, 2, "frames differ by 2 levels")]
)
def test_a_file_that_answers_otherwise_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error_K: float, levels: int, says: str
) -> None:
    folder = make_model(tmp_path / "model", "enhance.method=none")
    target = tmp_path / "out" / "seen.onnx"
    target.parent.mkdir()
    target.write_text("of before")

    def write(model: object, path: Path, form: str) -> None:
        path.write_text("no network")

    def read(path: Path, form: str) -> object:
        model = load(folder)

        def run(frames_MHWC: NDArray[np.uint8], indices_DT: Indices) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
            shown = model.show(frames_MHWC)
            return model.answer(shown, indices_DT) + np.array([error_K, -error_K]), shown + np.uint8(levels)

        return run

    monkeypatch.setattr(files, "_write", write)
    monkeypatch.setattr(files, "read", read)
    done = call(export_program, "--format", "onnx", "--model", folder, "--out", target, folder=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1) and says in done.stderr
    assert [path.name for path in target.parent.iterdir()] == ["seen.onnx"] and target.read_text() == "of before"


@pytest.mark.parametrize(
    ("overrides", "out", "says"),
    [
        (
            ["enhance.method=enlightengan"],
            "a.onnx",
            "enhance.method enlightengan cannot be exported; none, gamma, zero",
        ),
        (["model.input=rgb_flow", "enhance.flow=true"], "a.onnx", "model.input rgb_flow cannot be exported"),
        ([], "a.pt2", "files of the format onnx end in .onnx"),
        ([], "folder.onnx", "is a folder"),
        (None, "a.onnx", "no fold_0/weights.safetensors there"),
    ],
)
def test_what_cannot_be_exported_is_one_line(tmp_path: Path, overrides: list[str] | None, out: str, says: str) -> None:
    folder = tmp_path / "model"
    if overrides is not None:
        make_model(folder, *overrides)
    target = tmp_path / "out" / out
    (tmp_path / "out/folder.onnx").mkdir(parents=True)
    done = call(export_program, "--format", "onnx", "--model", folder, "--out", target, folder=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1) and says in done.stderr
    assert [path.name for path in target.parent.iterdir()] == ["folder.onnx"]
