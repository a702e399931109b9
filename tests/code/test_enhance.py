"""Enhancement of whole datasets, gamma correction, and the stage's command."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import enhance
from darkaction.core.errors import UserError
from darkaction.core.parallel import Processes
from darkaction.data.clips import ClipStore
from darkaction.data.video import Frames, read_video, write_video
from darkaction.enhancement import apply
from darkaction.enhancement.apply import Clip, Settings, build_enhancer, enhance_clip, enhance_dataset
from darkaction.enhancement.gamma import correct_gamma, gamma_table
from darkaction.enhancement.histogram import equalize
from darkaction.enhancement.networks import initialise, save_weights
from darkaction.enhancement.training_images import resize
from darkaction.enhancement.zero_dce import ZeroDCE
from stores import make_store

HEIGHT, WIDTH = 16, 20


def dark_video(path: Path, count: int, *, seed: int) -> Clip:
    """A dim square that moves over noise; lossless, 32 x 40."""
    frames = np.random.default_rng(seed).integers(0, 20, (count, 32, 40, 3), dtype=np.uint8)
    for k in range(count):
        frames[k, 8:20, k % 25 : k % 25 + 10] += 40
    write_video(path, frames, fps=30.0, codec="FFV1")
    return Clip(clip_id=f"demo/{path.stem}", path=path, frames=count)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """Two videos, one longer than what is in memory at once."""
    folder = tmp_path_factory.mktemp("raw")
    return [dark_video(folder / "Walk_1_1.avi", 5, seed=1), dark_video(folder / "Run_1_1.avi", 41, seed=2)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that brightens: its last bias pulls every curve down to about -0.5."""
    network = ZeroDCE(curve_scale=1.0)
    initialise(network, generator=torch.Generator().manual_seed(0))
    assert network.e_conv7.bias is not None
    network.e_conv7.bias.data.fill_(-0.5)
    path = tmp_path_factory.mktemp("enhancer") / "weights.safetensors"
    save_weights(network, path)
    return path


def settings(method: str, *, weights: Path = Path("none")) -> Settings:
    return Settings(
        method=method, gamma=2.2, weights=weights, curve_scale=0.5, device="cpu", height=HEIGHT, width=WIDTH, flow=False
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_histogram_equalisation_spreads_the_levels_of_each_frame() -> None:
    dark, light = (np.random.default_rng(0).normal(mean, 4, (2, 40, 60, 1)) for mean in (20, 120))
    frames_NHWC = np.repeat(np.clip(np.concatenate([dark, light]), 0, 255).astype(np.uint8), 3, axis=3)
    found = equalize(frames_NHWC)
    assert found.shape == frames_NHWC.shape and found.dtype == np.uint8
    for frame in found:
        assert abs(frame.mean() - 128) < 12 and frame.min() == 0 and frame.max() == 255
    alone = equalize(frames_NHWC[1:2])
    assert np.array_equal(found[1:2], alone), "a frame's levels go by itself"


def test_gamma_table_is_the_power_law_and_brightens() -> None:
    table = gamma_table(2.2)
    assert table.dtype == np.uint8
    assert table[0] == 0
    assert table[255] == 255
    assert table[16] == round(255 * (16 / 255) ** (1 / 2.2)) == 72
    assert (np.diff(table.astype(int)) >= 0).all()
    assert np.array_equal(gamma_table(1.0), np.arange(256))
    frames = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3), dtype=np.uint8)
    assert np.array_equal(correct_gamma(table, frames)[1, 2, 3], table[frames[1, 2, 3]])
    for wrong in (0.0, -1.0):
        with pytest.raises(ValueError, match="gamma"):
            gamma_table(wrong)


@pytest.mark.parametrize("method", ["none", "gamma", "zero_dce"])
def test_frames_are_enhanced_at_their_own_size_and_then_resized(clips: list[Clip], weights: Path, method: str) -> None:
    raw = read_video(clips[1].path)
    enhancer = build_enhancer(settings(method, weights=weights))
    chunks = list(enhance_clip(iter(raw), enhancer, height=HEIGHT, width=WIDTH))
    assert [len(chunk) for chunk in chunks] == [apply.CHUNK, 41 - apply.CHUNK]
    expected = np.stack([resize(frame, HEIGHT, WIDTH) for frame in enhancer(raw)])
    assert np.array_equal(np.concatenate(chunks), expected)
    if method == "none":
        assert np.abs(expected.mean() - raw.mean()) < 1
    else:
        assert expected.mean() > 1.8 * raw.mean()


def test_unknown_method_and_missing_weights_are_refused(clips: list[Clip], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="valid: none, gamma, histogram, zero_dce"):
        build_enhancer(settings("bright"))
    missing = settings("zero_dce", weights=tmp_path / "weights.safetensors")
    with pytest.raises(UserError, match=r"weights\.safetensors: no such file"):
        enhance_dataset(clips, tmp_path / "demo", missing, mapper=Processes(1), fingerprint="")
    assert not list(tmp_path.iterdir())


def test_store_is_whole_replaces_what_was_there_and_ignores_the_number_of_workers(
    clips: list[Clip], weights: Path, tmp_path: Path
) -> None:
    stale = tmp_path / "demo" / "Stale_1_1.npy"
    stale.parent.mkdir()
    stale.write_bytes(b"old")
    used = settings("zero_dce", weights=weights)
    enhance_dataset(clips, tmp_path / "demo", used, mapper=Processes(2), fingerprint="a")
    assert not stale.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
    store = ClipStore(tmp_path / "demo")
    store.verify()
    assert store.clip_ids() == ["demo/Run_1_1", "demo/Walk_1_1"]
    for clip in clips:
        stored = store.load(clip.clip_id)
        assert stored.shape == (clip.frames, HEIGHT, WIDTH, 3)
        assert stored.mean() > 1.8 * read_video(clip.path).mean()
    enhance_dataset(clips[::-1], tmp_path / "again", used, mapper=Processes(0), fingerprint="a")
    assert contents(tmp_path / "again") == contents(tmp_path / "demo")


def test_a_damaged_clip_is_named_and_the_earlier_store_stays(clips: list[Clip], tmp_path: Path) -> None:
    store = tmp_path / "demo"
    make_store(store, {"demo/Walk_1_1": np.zeros((2, 4, 4, 3), np.uint8)})
    damaged = tmp_path / "Sit_1_1.avi"
    damaged.write_bytes(clips[0].path.read_bytes()[:3000])
    broken = Clip(clip_id="demo/Sit_1_1", path=damaged, frames=5)
    before = contents(store)
    with pytest.raises(UserError, match=r"clip demo/Sit_1_1: .*Sit_1_1\.avi"):
        enhance_dataset([*clips, broken], store, settings("none"), mapper=Processes(1), fingerprint="")
    assert contents(store) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Sit_1_1.avi", "demo"]


def test_memory_does_not_grow_with_the_clip() -> None:
    """Frames are taken from the decoder only as they are needed."""
    taken = 0

    def frames() -> Iterator[Frames]:
        nonlocal taken
        for _ in range(1000):
            taken += 1
            yield np.zeros((32, 40, 3), np.uint8)

    chunks = enhance_clip(frames(), build_enhancer(settings("none")), height=HEIGHT, width=WIDTH)
    first: Frames = next(chunks)
    assert len(first) == taken == apply.CHUNK


def test_command_names_a_dataset_that_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["enhance.py", "nosuch"])
    with pytest.raises(UserError, match=r"dataset 'nosuch' is not one of datasets in params\.yaml"):
        enhance.main()
