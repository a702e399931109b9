"""The enhancement network against the published one written out, and its uint8 path against the plain forward pass."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

import golden
from darkaction.core.errors import UserError
from darkaction.enhancement import zero_dce
from darkaction.enhancement.networks import initialise, save_weights
from darkaction.enhancement.zero_dce import (
    ZeroDCE,
    apply_curves,
    enhance_frames,
    load_weights,
)

Array = NDArray[np.float64]


def random_network(*, curve_scale: float = 1.0) -> ZeroDCE:
    """Weights of unit gain, so that curves differ clearly between pixels."""
    network = ZeroDCE(curve_scale=curve_scale)
    with torch.no_grad():
        golden.fill_cnn(network)
    return network.eval().requires_grad_(False)


def dark_frames(count: int, *, height: int = 30, width: int = 44) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 60, (count, height, width, 3), dtype=np.uint8)


def as_image(frames_NHWC: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frames_NHWC).permute(0, 3, 1, 2).float() / 255


def plain_network(network: ZeroDCE, image_CHW: Array) -> tuple[Array, Array]:
    """The image after each of the eight curves (9, 3, H, W), the first as it came, and the 24 maps, in float64: the
    network written out tap by tap."""
    weights = {key: value.double().numpy() for key, value in network.state_dict().items()}

    def convolve(x_CHW: Array, number: int) -> Array:
        padded = np.pad(x_CHW, ((0, 0), (1, 1), (1, 1)))
        height, width = x_CHW.shape[1:]
        taps = [
            np.tensordot(weight_OI, padded[:, i : i + height, j : j + width], axes=1)
            for (i, j) in np.ndindex(3, 3)
            for weight_OI in [weights[f"e_conv{number}.weight"][:, :, i, j]]
        ]
        return sum(taps) + weights[f"e_conv{number}.bias"][:, None, None]

    layers = [image_CHW]
    for number in (1, 2, 3, 4):
        layers.append(np.maximum(convolve(layers[-1], number), 0))
    x = layers[4]
    for number, earlier in ((5, 3), (6, 2)):
        x = np.maximum(convolve(np.concatenate([layers[earlier], x]), number), 0)
    maps = np.tanh(convolve(np.concatenate([layers[1], x]), 7))
    images = [image_CHW]
    for k in range(8):
        images.append(images[-1] + maps[3 * k : 3 * k + 3] * (images[-1] ** 2 - images[-1]))
    return np.array(images), maps


PICTURES = ("noise", "smooth", "bright", "tall")


def picture(name: str) -> np.ndarray:
    """A frame (H, W, 3) uint8."""
    if name == "noise":
        return dark_frames(1)[0]
    height, width = (60, 44) if name == "tall" else (44, 60)
    small = golden.hash_uniform(f"picture.{name}", (6, 8, 3))
    levels = {"smooth": (25, 20), "bright": (120, 110), "tall": (40, 40)}[name]
    large = cv2.resize(levels[0] + levels[1] * small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(large, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", PICTURES)
def test_network_is_the_one_written_out(name: str) -> None:
    image = as_image(picture(name)[np.newaxis])
    network = random_network()
    with torch.inference_mode():
        enhanced, maps = network(image)
        half = apply_curves(image, maps[:, :12])
    steps, expected = plain_network(network, image[0].double().numpy())
    np.testing.assert_allclose(maps[0], expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(enhanced[0], steps[8], rtol=0, atol=1e-5)
    np.testing.assert_allclose(half[0], steps[4], rtol=0, atol=1e-5)
    assert maps.std() > 0.05 and np.abs(steps[8] - steps[4]).mean() > 0.01  # curves that could be mistaken


@pytest.mark.parametrize("name", PICTURES)
def test_uint8_path_is_within_one_level_of_the_network_written_out(name: str) -> None:
    frame = picture(name)
    network = random_network()
    steps, _ = plain_network(network, frame.transpose(2, 0, 1) / 255)
    expected = np.floor(np.clip(255 * steps[8] + 0.5, 0, 255)).transpose(1, 2, 0)
    enhanced = enhance_frames(network.to(memory_format=torch.channels_last), frame[np.newaxis])[0]
    difference = np.abs(enhanced.astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3  # levels at a rounding edge only


def smooth_network(*, curve_scale: float) -> ZeroDCE:
    """Curves that follow the picture's brightness smoothly, as a trained network's do: every filter is one number."""
    network = random_network(curve_scale=curve_scale)
    for key, value in network.state_dict().items():
        if key.endswith("weight"):
            value.copy_(value.mean(dim=(2, 3), keepdim=True).expand_as(value))
    network.e_conv7.bias -= 0.4  # negative maps brighten
    return network


@pytest.mark.parametrize(("scale", "share"), [(0.5, 0.025), (0.25, 0.05)])
def test_small_curves_stay_close_to_full_ones(scale: float, share: float) -> None:
    frames = np.stack([picture("smooth"), picture("bright")])
    for frame in frames[:, np.newaxis]:
        full = enhance_frames(smooth_network(curve_scale=1.0), frame).astype(float)
        small = enhance_frames(smooth_network(curve_scale=scale), frame).astype(float)
        assert full.mean() > 1.3 * frame.mean()
        assert np.abs(small - full).mean() < share * np.abs(full - frame).mean()


def test_has_the_published_number_of_parameters() -> None:
    assert sum(weight.numel() for weight in ZeroDCE(curve_scale=1.0).parameters()) == 79_416


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.3])
@pytest.mark.parametrize("count", [1, 8, 11])
def test_uint8_path_equals_forward_rounded_to_levels(scale: float, count: int) -> None:
    frames = dark_frames(count)
    network = random_network(curve_scale=scale)
    with torch.inference_mode():
        expected = network(as_image(frames))[0].permute(0, 2, 3, 1).numpy() * 255
    enhanced = enhance_frames(network, frames)
    assert enhanced.shape == frames.shape
    assert enhanced.dtype == np.uint8
    assert np.abs(enhanced - expected).max() <= 0.5 + 1e-3
    assert np.abs(enhanced.astype(int) - frames).mean() > 1  # it does something


def test_strips_of_a_large_image_give_the_curves_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    network = ZeroDCE(curve_scale=1.0).eval().requires_grad_(False)
    image_BCHW = torch.rand(2, 3, 90, 70, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole = network.small_curve_maps(image_BCHW)
        monkeypatch.setattr(zero_dce, "STRIP", 70 * 13)
        assert torch.equal(network.small_curve_maps(image_BCHW), whole)


def test_scale_one_is_the_estimation_at_full_size() -> None:
    image = as_image(dark_frames(2))
    network = random_network(curve_scale=1.0)
    assert torch.equal(network.curve_maps(image), network.small_curve_maps(image))
    half = random_network(curve_scale=0.5)
    assert half.small_curve_maps(image).shape[-2:] == (15, 22)
    assert half.curve_maps(image).shape[-2:] == (30, 44)
    # Halving by areas, estimating and enlarging is what a scale of one half means.
    small = network.small_curve_maps(torch.nn.functional.avg_pool2d(image, 2))
    enlarged = torch.nn.functional.interpolate(small, size=(30, 44), mode="bilinear", align_corners=False)
    torch.testing.assert_close(half.curve_maps(image), enlarged)


def test_frames_do_not_depend_on_their_neighbours_and_the_input_is_not_written_to() -> None:
    frames = dark_frames(11)
    frames.flags.writeable = False
    network = random_network(curve_scale=0.5)
    together = enhance_frames(network, frames)
    alone = np.concatenate([enhance_frames(network, frames[i : i + 1]) for i in range(11)])
    assert np.abs(together.astype(int) - alone).max() <= 1
    assert np.array_equal(together, enhance_frames(network, frames))
    assert enhance_frames(network, frames[:0]).shape == (0, 30, 44, 3)


def test_black_stays_black_and_white_white() -> None:
    frames = np.zeros((2, 32, 32, 3), np.uint8)
    frames[1] = 255
    assert np.array_equal(enhance_frames(random_network(), frames), frames)


def test_initial_weights_follow_the_published_distribution_and_the_seed() -> None:
    first, same, other = (ZeroDCE(curve_scale=1.0) for _ in range(3))
    initialise(first, generator=torch.Generator().manual_seed(1))
    initialise(same, generator=torch.Generator().manual_seed(1))
    initialise(other, generator=torch.Generator().manual_seed(2))
    weights = torch.cat([value.flatten() for key, value in first.state_dict().items() if key.endswith("weight")])
    assert weights.std().item() == pytest.approx(0.02, rel=0.02)
    assert abs(weights.mean().item()) < 3e-4
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), same.parameters(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_weights_survive_a_file_in_either_memory_layout(tmp_path: Path) -> None:
    network = random_network()
    expected = {key: value.clone() for key, value in network.state_dict().items()}
    save_weights(network.to(memory_format=torch.channels_last), tmp_path / "w.safetensors")
    loaded = load_weights(tmp_path / "w.safetensors", curve_scale=0.5)
    assert loaded.curve_scale == 0.5
    assert not any(weight.requires_grad for weight in loaded.parameters())
    for key, value in loaded.state_dict().items():
        assert torch.equal(value, expected[key]), key


def test_wrong_weights_are_named(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(UserError, match=r"w\.safetensors: no such file"):
        load_weights(path, curve_scale=1.0)
    path.write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"w\.safetensors: not a readable safetensors file"):
        load_weights(path, curve_scale=1.0)
    state = ZeroDCE(curve_scale=1.0).state_dict()
    save_file(state | {"e_conv3.weight": torch.zeros(32, 16, 3, 3)}, path)
    with pytest.raises(UserError, match=r"w\.safetensors: no weights of Zero-DCE: e_conv3\.weight differ"):
        load_weights(path, curve_scale=1.0)
    del state["e_conv7.bias"]
    save_file(state, path)
    with pytest.raises(UserError, match=r"e_conv7\.bias"):
        load_weights(path, curve_scale=1.0)


@pytest.mark.parametrize("scale", [0.0, -1.0, 1.5, float("nan")])
def test_impossible_scale_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="curve_scale"):
        ZeroDCE(curve_scale=scale)
