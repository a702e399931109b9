"""Training of Zero-DCE: which frames it sees, that it brightens, and that a bad result never passes for a good one."""

import contextlib
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

import train_enhancer
from darkaction.core.errors import UserError
from darkaction.data.index import COLUMNS
from darkaction.data.video import Frames, write_video
from darkaction.enhancement import training_images, zero_dce_training
from darkaction.enhancement.checks import REMEDIES, check_finite, judge, light
from darkaction.enhancement.networks import initialise
from darkaction.enhancement.settings import ZeroDce, ZeroDceWeights
from darkaction.enhancement.training_images import Source, draw_frames, pictures, training_frames
from darkaction.enhancement.zero_dce import ZeroDCE, enhance_frames, load_weights
from darkaction.jobs.enhancer import training as enhancer_training

WEIGHTS = {"spa": 1.0, "exp": 10.0, "col": 5.0, "tv": 200.0}


def dark_frames(count: int, *, size: int = 32) -> Frames:
    """Dim scenes: a lamp's falloff, a brighter box, noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:size, 0:size] / size
    frames = np.empty((count, size, size, 3))
    for frame in frames:
        lamp = 12 + 25 * np.exp(-4 * ((x - rng.random()) ** 2 + (y - rng.random()) ** 2))
        frame[:] = lamp[..., np.newaxis] * rng.uniform(0.8, 1.2, 3)
        top, left = rng.integers(0, size // 2, 2)
        frame[top : top + size // 3, left : left + size // 4] *= 1.8
    return np.clip(frames + rng.normal(0, 1.5, frames.shape), 0, 255).astype(np.uint8)


def trained(
    frames: Frames,
    *,
    epochs: int,
    seed: int = 0,
    lr: float = 2e-3,
    on_epoch: Callable[[int, dict[str, float]], None] = lambda epoch, metrics: None,
) -> ZeroDCE:
    settings = ZeroDce(
        losses="published",
        weights=ZeroDceWeights(**WEIGHTS),
        exposure=0.6,
        images=len(frames),
        extra_images=None,
        max_extra_images=0,
        image_size=32,
        epochs=epochs,
        batch_size=4,
        lr=lr,
        weight_decay=1e-4,
        grad_clip=0.1,
        uniform_over="frames",
    )
    return zero_dce_training.train(frames, settings, seed=seed, device=torch.device("cpu"), on_epoch=on_epoch)


def coded_video(path: Path, count: int, *, blank: tuple[int, ...] = ()) -> Source:
    """Frame k is k everywhere but for one pixel, so that a frame tells its place; `blank` frames are black."""
    frames = np.repeat(np.arange(count, dtype=np.uint8), 32 * 40 * 3).reshape(count, 32, 40, 3).copy()
    frames[:, 0, 0] = 255
    frames[list(blank)] = 0
    write_video(path, frames, fps=30.0, codec="FFV1")
    return Source(path=path, frames=count)


def test_training_brightens_dark_frames_and_keeps_their_contrast() -> None:
    frames = dark_frames(8)
    epochs: list[tuple[int, dict[str, float]]] = []
    network = trained(frames, epochs=12, lr=4e-3, on_epoch=lambda *seen: epochs.append(seen))
    before, after = judge(partial(enhance_frames, network), frames, remedies=REMEDIES["zero_dce"])
    assert before == light(frames)
    assert after == light(enhance_frames(network, frames))
    assert after.luma > 3 * before.luma
    assert after.contrast > 1.2 * before.contrast
    assert [epoch for epoch, _ in epochs] == list(range(12))
    first, last = epochs[0][1], epochs[-1][1]
    assert set(last) == {"spa", "exp", "col", "tv", "total"}
    assert last["total"] < first["total"] / 2
    assert last["total"] == pytest.approx(sum(WEIGHTS[name] * last[name] for name in WEIGHTS), rel=1e-4)


def test_the_seed_decides_the_network() -> None:
    frames = dark_frames(6)
    first, same, other = (trained(frames, epochs=1, seed=seed) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), same.parameters(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_epoch_metrics_are_means_over_images_also_with_a_smaller_last_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    def loss(
        image: torch.Tensor, enhanced: torch.Tensor, maps: torch.Tensor, *, exposure: float
    ) -> zero_dce_training.Terms:
        return {"exp": image.mean() + 0 * enhanced.sum()}

    monkeypatch.setitem(zero_dce_training.FORMS, "published", loss)
    frames = dark_frames(10)
    seen: list[float] = []
    trained(frames, epochs=1, lr=1e-4, on_epoch=lambda epoch, metrics: seen.append(metrics["exp"]))
    assert seen == [pytest.approx(frames.mean() / 255, rel=1e-5)]


def test_a_training_that_darkens_is_refused() -> None:
    network = ZeroDCE(curve_scale=1.0)
    initialise(network, generator=torch.Generator().manual_seed(0))
    assert network.e_conv7.bias is not None
    network.e_conv7.bias.data.fill_(0.3)
    with pytest.raises(UserError, match=r"darker \(mean luma .* raise zero_dce\.exposure"):
        judge(partial(enhance_frames, network), dark_frames(4), remedies=REMEDIES["zero_dce"])


def test_a_training_that_flattens_is_refused() -> None:
    network = ZeroDCE(curve_scale=1.0)
    initialise(network, generator=torch.Generator().manual_seed(0))
    assert network.e_conv7.bias is not None
    network.e_conv7.bias.data.fill_(-3.0)  # nearly everything becomes white
    with pytest.raises(UserError, match=r"flatter \(standard deviation of luma .* zero_dce\.losses to published"):
        judge(partial(enhance_frames, network), dark_frames(4), remedies=REMEDIES["zero_dce"])


def test_a_training_that_diverges_is_refused() -> None:
    with pytest.raises(UserError, match=r"loss '\w+' is (nan|inf) in epoch 0; lower zero_dce\.lr"):
        trained(dark_frames(8), epochs=1, lr=1e30)
    network = ZeroDCE(curve_scale=1.0)
    network.e_conv2.weight.data[0, 0, 0, 0] = float("nan")
    with pytest.raises(UserError, match=r"weights are not finite; lower zero_dce\.lr"):
        check_finite(network, section="zero_dce")


def test_light_is_luma_and_its_spread_within_frames() -> None:
    frames = np.zeros((2, 2, 2, 3), np.uint8)
    frames[0, 0] = (100, 0, 0)
    frames[1] = 50
    measured = light(frames)
    assert measured.luma == pytest.approx((29.9 / 2 + 50) / 2, rel=1e-5)
    assert measured.contrast == pytest.approx(29.9 / 2 / 2, rel=1e-5)


def test_frames_are_chosen_uniformly_over_all_frames_without_repeats(tmp_path: Path) -> None:
    short = coded_video(tmp_path / "short.avi", 20)
    long = coded_video(tmp_path / "long.avi", 180)
    chosen = [int(frame[16, 16, 0]) for frame in draw_frames([short, long], images=100, seed=0, uniform_over="frames")]
    split = next(i for i in range(1, 100) if chosen[i] < chosen[i - 1])
    first, second = chosen[:split], chosen[split:]
    assert len(set(first)) + len(set(second)) == 100
    assert 4 <= len(first) <= 17  # 10 are expected of the clip with a tenth of the frames
    assert 70 < np.mean(second) < 110
    assert chosen == [
        int(frame[16, 16, 0]) for frame in draw_frames([short, long], images=100, seed=0, uniform_over="frames")
    ]
    assert chosen != [
        int(frame[16, 16, 0]) for frame in draw_frames([short, long], images=100, seed=1, uniform_over="frames")
    ]


def test_frames_are_chosen_evenly_over_videos(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: of 100 frames the clip of 20 gives all it has, and the other two 40 each."""
    asked: list[list[int]] = []

    def decode(path: Path, wanted: NDArray[np.int64]) -> list[Frames]:
        asked.append(wanted.tolist())
        return []

    def chosen(counts: tuple[int, ...], images: int, *, seed: int = 0) -> list[list[int]]:
        asked.clear()
        sources = [Source(path=Path("clip.avi"), frames=count) for count in counts]
        assert not list(draw_frames(sources, images=images, seed=seed, uniform_over="videos"))
        return list(asked)

    monkeypatch.setattr(training_images, "_decode", decode)
    for counts, images, shares in (
        ((20, 90, 180), 100, [20, 40, 40]),
        ((20, 90, 180), 30, [10, 10, 10]),
        ((20, 90), 500, [20, 90]),
    ):
        found = chosen(counts, images)
        assert [len(indices) for indices in found] == shares
        assert all(
            indices == sorted(set(indices)) and indices[-1] < n for indices, n in zip(found, counts, strict=True)
        )
        assert found == chosen(counts, images)
    assert {tuple(map(len, chosen((9, 9), 1, seed=seed))) for seed in range(9)} == {(0, 1), (1, 0)}


def test_blank_frames_are_left_out_and_all_are_taken_where_there_are_few(tmp_path: Path) -> None:
    source = coded_video(tmp_path / "clip.avi", 10, blank=(0, 4, 9))
    frames = training_frames([source], images=50, size=32, seed=0, uniform_over="frames")
    assert frames.shape == (7, 32, 32, 3)
    assert frames[:, 16, 16, 0].tolist() == [1, 2, 3, 5, 6, 7, 8]
    black = coded_video(tmp_path / "black.avi", 3, blank=(0, 1, 2))
    with pytest.raises(UserError, match="no frame to train Zero-DCE on"):
        training_frames([black], images=5, size=32, seed=0, uniform_over="frames")
    with pytest.raises(UserError, match=r"clip\.avi: has fewer than the 12 frames of its index"):
        training_frames([Source(path=source.path, frames=12)], images=50, size=32, seed=0, uniform_over="frames")


def test_pictures_join_and_bad_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"zero_dce\.extra_images: .*nowhere is no folder"):
        pictures(tmp_path / "nowhere", most=5, size=32, seed=0, key="zero_dce.extra_images")
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(UserError, match="has no pictures"):
        pictures(tmp_path, most=5, size=32, seed=0, key="zero_dce.extra_images")
    for k in range(6):
        cv2.imwrite(str(tmp_path / f"{k}.png"), np.full((50, 40, 3), (0, 0, 40 * k), np.uint8))
    chosen = pictures(tmp_path, most=4, size=32, seed=0, key="zero_dce.extra_images")
    assert chosen.shape == (4, 32, 32, 3)
    assert (chosen[..., 0] == chosen[:, :1, :1, 0]).all()
    assert set(chosen[:, 0, 0, 0].tolist()) < {0, 40, 80, 120, 160, 200}  # red, so read as RGB
    assert chosen[..., 1:].max() == 0
    assert len(pictures(tmp_path, most=99, size=32, seed=0, key="zero_dce.extra_images")) == 6
    with pytest.raises(UserError, match=r"of the 6 pictures in .* 0 were asked for"):
        pictures(tmp_path, most=0, size=32, seed=0, key="zero_dce.extra_images")
    (tmp_path / "7.jpg").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"7\.jpg: not a readable picture"):
        pictures(tmp_path, most=99, size=32, seed=0, key="zero_dce.extra_images")


class SilentRun:
    """Takes what a run would record."""

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}
        self.artifacts: list[Path] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.metrics |= metrics

    def log_artifact(self, path: Path, folder: str = "") -> None:
        self.artifacts.append(path)

    def describe(self, text: str, *, accuracy: str | None = None) -> None:
        assert text.startswith("luma ")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with an indexed dataset of two videos, one of them a test clip, read and written through --out."""
    raw = tmp_path / "data" / "raw" / "demo" / "Walk"
    raw.mkdir(parents=True)
    for take in (1, 2):
        write_video(raw / f"Walk_1_{take}.avi", dark_frames(24, size=40), fps=30.0, codec="FFV1")
    row = {name: kind() for name, kind in COLUMNS.items()} | {"dataset": "demo", "label": "walk", "frames": 24}
    rows = [
        row | {"clip_id": f"demo/Walk_1_{take}", "path": f"Walk/Walk_1_{take}.avi", "status": "ok", "fold_0": part}
        for take, part in ((1, "train"), (2, "test"))
    ]
    index = tmp_path / "data" / "index" / "demo"
    index.mkdir(parents=True)
    pd.DataFrame(rows).to_csv(index / "index.csv", index=False)
    return tmp_path


def run_command(project: Path, monkeypatch: pytest.MonkeyPatch, *overrides: str) -> None:
    arguments = [part for override in overrides for part in ("--set", override)]
    monkeypatch.setattr(sys, "argv", ["train_enhancer.py", "--out", str(project), *arguments])
    train_enhancer.main()


def test_command_writes_weights_metrics_and_contact_sheet(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = SilentRun()
    monkeypatch.setattr(enhancer_training, "start_run", lambda **_: contextlib.nullcontext(run))
    (project / "data" / "raw" / "demo" / "Walk" / "Walk_1_2.avi").write_bytes(b"a test clip that nobody may open")
    short = ["images=16", "image_size=32", "epochs=8", "batch_size=4", "lr=0.002", "extra_images=null"]
    forms = ["losses=published", "exposure=0.6", "weights={spa: 1.0, exp: 10.0, col: 5.0, tv: 200.0}", "grad_clip=0.1"]
    run_command(
        project, monkeypatch, "datasets=[demo]", "enhance.method=zero_dce", *(f"zero_dce.{s}" for s in short + forms)
    )
    folder = project / "models" / "enhancer"
    assert {path.name for path in folder.iterdir()} == {"weights.safetensors", "metrics.json", "contact_sheet.png"}
    load_weights(folder / "weights.safetensors", curve_scale=1.0)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["images"] == 16
    assert metrics["after"]["luma"] > 2 * metrics["before"]["luma"]
    assert metrics["loss"]["total"] == run.metrics["loss.total"]
    assert run.artifacts == [folder]
    assert cv2.imread(str(folder / "contact_sheet.png")).shape[0] > 400


def test_command_has_nothing_to_train_for_other_methods(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_command(project, monkeypatch, "enhance.method=gamma")
    folder = project / "models" / "enhancer"
    assert [path.name for path in folder.iterdir()] == ["metrics.json"]
    assert json.loads((folder / "metrics.json").read_text()) == {"method": "gamma"}
