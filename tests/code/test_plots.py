"""Each picture is written, has something on it, and is the same when made again."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from darkaction.evaluation import metrics, plots, sample_plot, style
from darkaction.evaluation.statistics import accuracy_interval

CLASSES = ["run", "sit", "stand"]
SETTINGS = {"bootstrap_samples": 100, "confidence": 0.95, "seed": 0}

rng = np.random.default_rng(0)
LABEL_N = np.repeat([0, 1, 2], 12)
PREDICTED_N = np.where(rng.random(36) < 0.7, LABEL_N, rng.integers(0, 3, 36))
SCENE_N = np.tile(np.arange(6), 6).astype(str)
LUMA_N = rng.uniform(5, 40, 36)
PROBABILITIES_DNK = rng.dirichlet(np.ones(3), size=(5, 36))


def sample(label: str, *, raw: bool) -> sample_plot.Sample:
    return sample_plot.Sample(
        clip_id="demo/Run_1_1",
        label=label,
        raw_NHWC=rng.integers(0, 60, (6, 30, 40, 3), dtype=np.uint8) if raw else None,
        enhanced_NHWC=rng.integers(0, 255, (6, 32, 32, 3), dtype=np.uint8),
        probabilities_K=np.array([0.7, 0.2, 0.1]),
    )


def history(folder: Path, *, epochs: int, validation: bool) -> Path:
    epoch = np.arange(epochs)
    table = pd.DataFrame({"epoch": epoch, "train_loss": 2.0 - epoch / 9, "train_accuracy": 0.3, "learning_rate": 1e-3})
    if validation:
        table = table.assign(val_loss=1.8, val_accuracy=0.4)
    table.to_csv(folder / "history.csv", index=False)
    return folder / "history.csv"


def confusion(path: Path) -> None:
    plots.confusion_matrix(metrics.confusion(PREDICTED_N, LABEL_N, 3), CLASSES, path)


def per_class(path: Path) -> None:
    table = metrics.per_class(PREDICTED_N, LABEL_N, SCENE_N, CLASSES, **SETTINGS)
    plots.per_class(table, overall=0.7, confidence=0.95, path=path)


def draws(path: Path) -> None:
    plots.accuracy_by_draws(metrics.accuracy_by_draws(PROBABILITIES_DNK, LABEL_N), path=path)


def luma(path: Path) -> None:
    table = metrics.accuracy_by_luma(PREDICTED_N == LABEL_N, LUMA_N, SCENE_N, bins=4, **SETTINGS)
    plots.accuracy_by_luma(table, confidence=0.95, path=path)


def curves(path: Path) -> None:
    plots.learning_curves(history(path.parent, epochs=8, validation=True), path)


def curves_of_one_epoch_without_validation(path: Path) -> None:
    plots.learning_curves(history(path.parent, epochs=1, validation=False), path)


def strips(path: Path) -> None:
    sample_plot.samples([sample("run", raw=True), sample("sit", raw=False)], CLASSES, path)


def reliability(path: Path) -> None:
    table = metrics.reliability(PROBABILITIES_DNK.mean(0), LABEL_N, bins=10)
    plots.reliability(table, table, errors=(0.2, 0.1), path=path)


def leakage(path: Path) -> None:
    report = {name: {"test_clips": 36, "near_duplicates": near} for name, near in (("scene", 0), ("random", 9))}
    interval = accuracy_interval(PREDICTED_N == LABEL_N, SCENE_N, **SETTINGS)
    plots.leakage(report, {"scene": interval, "random": interval}, chance=1 / 3, used="scene", path=path)


def nearest_rooms(path: Path) -> None:
    table = pd.DataFrame({"clip_id": ["x/A_1_1", "x/B_1_1"], "label": ["a", "b"]})
    table = table.assign(nearest=["x/B_1_1", "x/A_1_1"], predicted=["b", "b"])
    images = {clip_id: rng.uniform(0, 40, (24, 32, 3)) for clip_id in table["clip_id"]}
    plots.nearest_rooms(table, images, path=path)


ALL = [
    reliability,
    leakage,
    nearest_rooms,
    confusion,
    per_class,
    draws,
    luma,
    curves,
    curves_of_one_epoch_without_validation,
]


def ink(path: Path) -> float:
    """Fraction of pixels that are not white."""
    image = cv2.imread(str(path))
    assert image is not None
    return float((image.min(-1) < 250).mean())


@pytest.mark.parametrize("draw", ALL)
def test_the_picture_has_something_on_it(draw: Callable[[Path], None], tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    assert 0.01 < ink(tmp_path / "a.png") < 0.9


def test_the_same_again(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        per_class(tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_samples_show_the_frames_they_are_given(tmp_path: Path) -> None:
    """A clip of one colour fills much of the picture with just that colour; a wrong prediction is marked orange."""
    red = np.zeros((6, 32, 32, 3), dtype=np.uint8)
    red[..., 0] = 200
    for name, label in (("right.png", "run"), ("wrong.png", "sit")):
        clip = sample_plot.Sample(
            clip_id="a",
            label=label,
            raw_NHWC=None,
            enhanced_NHWC=red,
            probabilities_K=np.array([0.7, 0.2, 0.1]),
        )
        sample_plot.samples([clip], CLASSES, tmp_path / name)
    fractions = {}
    for name in ("right.png", "wrong.png"):
        image_BGR = cv2.imread(str(tmp_path / name))
        assert image_BGR is not None
        orange = tuple(int(style.ORANGE[k : k + 2], 16) for k in (5, 3, 1))
        fractions[name] = ((image_BGR == (0, 0, 200)).all(-1).mean(), (image_BGR == orange).all(-1).mean())
    assert fractions["right.png"][0] > 0.3
    assert fractions["right.png"][1] == 0
    assert fractions["wrong.png"][1] > 0.005


def test_strips_with_and_without_raw_frames(tmp_path: Path) -> None:
    strips(tmp_path / "a.png")
    assert ink(tmp_path / "a.png") > 0.3
    with pytest.raises(ValueError, match="no clips"):
        sample_plot.samples([], CLASSES, tmp_path / "b.png")


@pytest.mark.parametrize("frames", [1, 5, 6, 7, 225])
def test_sample_positions_span_the_clip(frames: int) -> None:
    positions = sample_plot.sample_positions(frames)
    assert len(positions) == sample_plot.SAMPLE_FRAMES
    assert positions == sorted(positions)
    assert 0 <= positions[0] <= frames / 6
    assert frames * 5 / 6 - 1 <= positions[-1] < frames
