"""Enhancement in bfloat16 and on a device: within stated distances of float32 on the processor."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import golden
from darkaction.core import processor
from darkaction.data.video import Frames
from darkaction.enhancement import enlightengan, zero_dce
from darkaction.enhancement.apply import Settings, build_enhancer, enhance_clip
from darkaction.enhancement.networks import OnDevice, resizing_weights
from darkaction.enhancement.training_images import resize
from darkaction.enhancement.zero_dce import ZeroDCE, enhance_frames, to_bf16
from darkaction.synthetic.demo import DEMO
from darkaction.synthetic.generator import GeneratorSettings, generate_clip

WEIGHTS = Path(__file__).resolve().parents[2] / "models/synthetic/enhancer.safetensors"


@pytest.fixture(scope="module")
def frames() -> Frames:
    """Three dark synthetic frames."""
    settings = GeneratorSettings(preset=DEMO, classes=("walk",), scenes=1, takes=1, height=90, width=120, seed=0)
    return np.asarray(generate_clip(settings, "walk", 1, 1).dark_NHWC[:3])


def network_of(weights: str, *, curve_scale: float) -> ZeroDCE:
    network = ZeroDCE(curve_scale=curve_scale)
    if weights == "git":
        network.load_state_dict(load_file(WEIGHTS))
    else:
        with torch.no_grad():
            golden.fill_cnn(network)
    return network.eval().requires_grad_(False)


def settings(method: str, *, device: str = "cpu", curve_scale: float = 0.5) -> Settings:
    return Settings(
        method=method,
        gamma=2.2,
        weights=WEIGHTS,
        curve_scale=curve_scale,
        device=device,
        height=24,
        width=24,
        flow=False,
    )


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.15])
@pytest.mark.parametrize("weights", ["git", "reference"])
def test_bf16_is_within_a_twentieth_of_a_level_in_the_mean(frames: Frames, weights: str, scale: float) -> None:
    exact = enhance_frames(network_of(weights, curve_scale=scale), frames).astype(int)
    network = to_bf16(network_of(weights, curve_scale=scale))
    halved = enhance_frames(network, frames)
    assert network.e_conv3.weight.dtype == torch.bfloat16
    assert 0 < np.abs(halved - exact).mean() <= 0.05
    assert np.abs(halved - exact).max() <= 1
    assert np.abs(exact - frames).mean() > 2
    with torch.inference_mode():
        image = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
        forward = network(image)[0].permute(0, 2, 3, 1).numpy() * 255
    assert np.abs(forward - exact).mean() < 0.3  # half a level of rounding, and no more


@pytest.mark.parametrize("halved", [False, True])
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_device_path_is_within_a_level_of_the_processor_s(
    frames: Frames, monkeypatch: pytest.MonkeyPatch, scale: float, halved: bool
) -> None:
    network = network_of("git", curve_scale=scale)
    network = to_bf16(network) if halved else network
    expected = enhance_frames(network, frames).astype(int)
    monkeypatch.setattr(zero_dce, "DEVICE_PIXELS", 2 * 90 * 120)  # two batches
    enhancer = zero_dce.on_device(network)
    found = enhancer(frames)
    assert found.dtype == np.uint8
    assert found.shape == frames.shape
    assert np.abs(found - expected).max() <= 1
    assert (found != expected).mean() < (0.02 if halved else 1e-3)
    [small] = enhance_clip(frames, enhancer, height=24, width=32)
    expected_small = np.stack([resize(frame, 24, 32) for frame in expected.astype(np.uint8)])
    assert np.abs(small.astype(int) - expected_small).max() <= 1
    assert enhancer(frames[:0], (24, 32)).shape == (0, 24, 32, 3)


def test_enlightengan_resizes_on_its_device(frames: Frames) -> None:
    network = enlightengan.Generator(base_width=4).eval().requires_grad_(False)
    expected = np.stack([resize(f, 24, 32) for f in enlightengan.enhance_frames(network, frames)]).astype(int)
    assert np.abs(enlightengan.on_device(network)(frames, (24, 32)) - expected).max() <= 1


@pytest.mark.parametrize("size", [(48, 48), (45, 60), (30, 40), (90, 120), (89, 7), (200, 300), (48, 150), (100, 30)])
def test_resizing_on_a_device_is_opencv_s_to_within_a_level(frames: Frames, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    rows, columns = resizing_weights((90, 120), size)
    np.testing.assert_allclose(rows.sum(1), 1, atol=1e-5)
    for frame in (frames[0], noise):
        planes = torch.from_numpy(frame).permute(2, 0, 1).float()
        found = (rows @ planes @ columns).permute(1, 2, 0).numpy()
        in_floats = cv2.resize(frame.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
        np.testing.assert_allclose(found, in_floats, atol=0.01)
        assert np.abs(found.round() - resize(frame, *size)).max() <= 1


@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_a_gpu_is_given_the_network_and_nothing_is_computed_here(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    """`to` with a GPU goes to the meta device, which has no numbers."""
    asked = []
    moved = torch.nn.Module.to

    def to(self: torch.nn.Module, *args: object, **kwargs: object) -> torch.nn.Module:
        asked.extend(argument for argument in args if isinstance(argument, str))
        return moved(self, *["meta" if argument == device else argument for argument in args], **kwargs)

    monkeypatch.setattr(torch.nn.Module, "to", to)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    enhancer = build_enhancer(settings("zero_dce", device=device))
    assert isinstance(enhancer, OnDevice)
    assert asked == [device]


@pytest.mark.parametrize(("names", "expected"), [((), False), (("avx512_bf16",), True), (("amx_bf16",), True)])
def test_processor_tells_whether_it_computes_in_bf16(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], expected: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(names, True) | {"cpu_name": "x"})
    assert processor.computes_bf16("cpu") is expected
    enhancer = build_enhancer(settings("zero_dce"))
    [network] = enhancer.args  # type: ignore[attr-defined]
    assert (network.e_conv1.weight.dtype == torch.bfloat16) is expected
    assert processor.computes_bf16("cuda:1") is False or torch.cuda.is_available()


def test_a_gpu_is_asked_for_bf16_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for supported in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, s=supported: s)
        assert processor.computes_bf16("cuda:1") is supported


@pytest.mark.parametrize("nbytes", [1, 10**9])
def test_a_large_frame_is_brightened_colour_by_colour_alike(
    frames: Frames, monkeypatch: pytest.MonkeyPatch, nbytes: int
) -> None:
    network = network_of("git", curve_scale=0.3)
    expected = enhance_frames(network, frames)
    monkeypatch.setattr(zero_dce, "CACHED_BYTES", nbytes)
    assert np.array_equal(enhance_frames(network, frames), expected)
