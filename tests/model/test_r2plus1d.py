"""R(2+1)D-34 against key names, shapes and features of the published implementation."""

import numpy as np
import pytest
import torch

import golden
from darkaction.models.backbones import r2plus1d
from darkaction.models.backbones.r2plus1d import R2Plus1D, TemporalConv
from darkaction.models.build import ClipSize, num_tokens
from darkaction.params import Params


def r2plus1d_34(bn_momentum: float = 0.1) -> R2Plus1D:
    return R2Plus1D(
        in_channels=3, layers=[3, 4, 6, 3], widths=[64, 128, 256, 512], temporal_strides=[1, 2, 2, 2], bn_eps=1e-3,
        bn_momentum=bn_momentum,
    )  # fmt: skip


@pytest.fixture(scope="module")
def filled() -> R2Plus1D:
    network = r2plus1d_34()
    golden.fill_cnn(network)
    return network.eval()


def test_parameter_count() -> None:
    assert sum(p.numel() for p in r2plus1d_34().parameters()) == 63_491_975


def test_keys_and_shapes_are_those_of_the_released_weights() -> None:
    ours = [f"{key} {','.join(map(str, tensor.shape))}" for key, tensor in r2plus1d_34().state_dict().items()]
    assert sorted(ours) == sorted(golden.load("r2plus1d_34")["keys"].tolist())


def test_features_match_published(filled: R2Plus1D) -> None:
    arrays = golden.load("r2plus1d_34")
    with torch.inference_mode():
        small = filled(golden.uniform_tensor("r2plus1d.input_small", (2, 3, 8, 56, 56))) / float(arrays["small_peak"])
    np.testing.assert_allclose(small[:, ::4], arrays["small_every_fourth"] / arrays["small_peak"], atol=2e-5)
    np.testing.assert_allclose(small.mean(dim=(2, 3, 4)), arrays["small_means"] / arrays["small_peak"], atol=2e-5)


@pytest.mark.long
def test_full_features_match_published(filled: R2Plus1D) -> None:
    arrays = golden.load("r2plus1d_34")
    with torch.inference_mode():
        features = filled(golden.uniform_tensor("r2plus1d.input", (1, 3, 16, 112, 112))) / float(arrays["peak"])
    picked = features.flatten()[torch.from_numpy(arrays["picked_at"]).long()]
    np.testing.assert_allclose(picked, arrays["picked"] / arrays["peak"], atol=2e-5)
    tokens = features.mean(dim=(3, 4)).transpose(1, 2)
    np.testing.assert_allclose(tokens, arrays["tokens"] / arrays["peak"], atol=2e-5)


def test_caffe2_momentum_is_a_switch() -> None:
    arrays = golden.load("r2plus1d_34")
    network = r2plus1d_34(bn_momentum=0.9)
    golden.fill_cnn(network)
    with torch.inference_mode():
        network.train().stem(golden.uniform_tensor("r2plus1d.input_small", (2, 3, 8, 56, 56)))
    state = torch.stack([network.stem[1].running_mean, network.stem[1].running_var])
    np.testing.assert_allclose(state, arrays["stem_statistics"], atol=1e-5)


@pytest.mark.parametrize(
    ("frames", "strides", "tokens"),
    [(64, [1, 2, 2, 2], 8), (16, [1, 2, 2, 2], 2), (16, [1, 1, 2, 1], 8), (13, [1, 2, 2, 2], 2), (9, [3, 1, 2, 1], 2)],
)
def test_shape_of_features(frames: int, strides: list[int], tokens: int) -> None:
    network = R2Plus1D(
        in_channels=3, layers=[1, 1, 1, 1], widths=[8, 8, 16, 32], temporal_strides=strides, bn_eps=1e-3,
        bn_momentum=0.1,
    )  # fmt: skip
    with torch.inference_mode():
        features = network(torch.zeros(1, 3, frames, 112, 112))
    assert features.shape == (1, 32, tokens, 7, 7)
    overrides = ["model.widths=[8, 8, 16, 32]", f"model.temporal_strides={strides}"]
    assert (
        num_tokens(Params.load(overrides=overrides).model, ClipSize(num_frames=frames, height=32, width=32)) == tokens
    )


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("small", [5 * 4 * 3, 5 * 4 * 3 - 1])
def test_temporal_convolution_is_the_3d_one(
    memory_format: torch.memory_format, stride: int, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values, gradients, and, of small ones, the layout in memory, without which the layers behind it are slow."""
    monkeypatch.setattr(r2plus1d, "SMALL", small)
    torch.manual_seed(0)
    ours = TemporalConv(5, 7, stride=stride).to(memory_format=memory_format)
    x_BDTHW = torch.randn(2, 5, 9, 4, 3).contiguous(memory_format=memory_format).requires_grad_()
    found, expected = ours(x_BDTHW), torch.nn.Conv3d.forward(ours, x_BDTHW)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert found.grad_fn is not None
    if small == 5 * 4 * 3:
        assert found.grad_fn.name() == "ViewBackward0" and found.is_contiguous(memory_format=memory_format)
    else:
        assert found.grad_fn.name() == "ConvolutionBackward0"
    pull = torch.randn_like(expected)
    wanted = (x_BDTHW, ours.weight)
    gradients = [torch.autograd.grad(result, wanted, pull) for result in (found, expected)]
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-5)
