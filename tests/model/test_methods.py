"""Every system of the tables learns, is written and read back, and sees each clip by itself."""

import dataclasses
from pathlib import Path

import pandas as pd
import pytest
import torch

from darkaction.core import config
from darkaction.core.errors import UserError
from darkaction.core.paths import ROOT
from darkaction.experiments import plan
from darkaction.experiments.plan import Method
from darkaction.jobs.recognizer import recipe
from darkaction.models.backbones.squeeze_excitation import SeR2Plus1D
from darkaction.models.recognizer import Recognizer
from darkaction.params import Params
from darkaction.training import weights
from darkaction.training.focal import FocalLoss
from darkaction.training.module import make_ranger

VALUES = config.as_nested(Params.load(profile="smoke"))
METHODS = {
    f"{table.key}-{method.key}": method
    for table in plan.load(ROOT / "experiments/tables.yaml", VALUES)
    for method in table.methods
}
UNUSED = {"mvit": 4}
"""Parameters that the loss cannot reach: MViT's last block pools queries whose results nobody reads."""


@pytest.fixture(params=list(METHODS))
def method(request: pytest.FixtureRequest) -> Method:
    return METHODS[request.param]


@pytest.fixture
def network(method: Method) -> Recognizer:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return recipe.make_recognizer(method.fallback, None)


def clips(method: Method, count: int) -> torch.Tensor:
    params = method.fallback
    shape = (count, params.model.channels, params.sampling.num_frames, params.enhance.height, params.enhance.width)
    return torch.randint(0, 255, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_a_few_steps_on_one_batch_lower_the_loss_and_reach_every_parameter(method: Method, network: Recognizer) -> None:
    clip_BCTHW, label_B = clips(method, 4), torch.tensor([0, 1, 2, 3])
    loss = FocalLoss(gamma=method.fallback.focal.gamma, alpha_K=None)
    optimizer = make_ranger(network.parameters(), lr=0.005, weight_decay=0.0)
    network.train()
    values, reached = [], set()
    for _ in range(30):
        value = loss(network(clip_BCTHW).float(), label_B)
        optimizer.zero_grad()
        value.backward()
        reached |= {n for n, p in network.named_parameters() if p.grad is not None and bool(p.grad.abs().sum() > 0)}
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        values.append(value.item())
    assert all(torch.isfinite(torch.tensor(values)))
    assert min(values[-5:]) < values[0]
    missed = {name for name, _ in network.named_parameters()} - reached
    assert len(missed) == UNUSED.get(method.fallback.model.backbone, 0), missed


def test_weights_are_written_and_read_back(method: Method, network: Recognizer, tmp_path: Path) -> None:
    params = method.fallback
    card = weights.Card(
        model=params.model,
        bert=params.bert,
        sampling=params.sampling,
        enhance=params.enhance,
        classes=params.data.classes,
        min_frames=20,
        max_frames=40,
    )
    weights.save(tmp_path / "w.safetensors", network, card)
    again, found = weights.load(tmp_path / "w.safetensors")
    assert found == card
    with torch.inference_mode():
        torch.testing.assert_close(again(clips(method, 2)), network.eval()(clips(method, 2)), rtol=0, atol=0)


def test_a_clip_is_judged_by_itself(method: Method, network: Recognizer) -> None:
    clip_BCTHW = clips(method, 3)
    network.eval()
    with torch.inference_mode():
        together = network(clip_BCTHW)
        alone = torch.cat([network(clip[None]) for clip in clip_BCTHW])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("reduction", [4, 16])
def test_excitation_adds_the_weights_that_its_formula_says(reduction: int) -> None:
    """Hu et al. 2018, equation 5, with T in the place of C: 2 / r x sum over stages of (blocks x T^2)."""
    common = {
        "layers": [3, 4, 6, 3], "widths": [64, 128, 256, 512], "temporal_strides": [1, 2, 2, 2], "bn_eps": 1e-3,
        "bn_momentum": 0.1, "in_channels": 3,
    }  # fmt: skip
    with torch.device("meta"):
        plain = sum(p.numel() for p in SeR2Plus1D.__mro__[1](**common).parameters())
        excited = sum(p.numel() for p in SeR2Plus1D(**common, num_frames=64, reduction=reduction).parameters())
    steps = {64: 3, 32: 4, 16: 6, 8: 3}
    expected = sum(blocks * 2 * t * max(1, t // reduction) for t, blocks in steps.items())
    assert excited - plain == expected
    if reduction == 4:
        assert expected == 2 / reduction * sum(blocks * t**2 for t, blocks in steps.items())


def test_unknown_backbones_are_named_with_the_valid_ones() -> None:
    with pytest.raises(UserError, match=r"model\.backbone is \"resnet19\": should be 'r2plus1d', .*'resnet18'"):
        Params.load(overrides=["model.backbone=resnet19"])
    with pytest.raises(UserError, match="head is 'bert', which needs time steps; backbone c3d has none: use average"):
        Params.load(overrides=["model.backbone=c3d"])
    with pytest.raises(UserError, match="input is 'two_views', which fuses time steps; backbone c3d has none"):
        Params.load(overrides=["model.backbone=c3d", "model.head=average", "model.input=two_views"])
    with pytest.raises(UserError, match=r"needs the flow that enhance\.flow: true stores"):
        Params.load(overrides=["model.input=rgb_flow"])
    with pytest.raises(UserError, match=r"adapts between two domains: datasets is \['demo'\]"):
        Params.load(overrides=["model.mran=true"])


def test_mran_takes_batches_of_two_clips_as_the_paper_says_and_of_sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    method = METHODS["4-mran"].fallback
    rows = pd.DataFrame({"dataset": [method.datasets[0]] * 9 + [method.datasets[1]] * 8})
    for size in (2, 16):
        params = dataclasses.replace(method, train=dataclasses.replace(method.train, batch_size=size))
        assert recipe.source_clips(params, rows) == list(range(9, 17))
        torch.manual_seed(0)
        module = recipe.module(params, recipe.make_recognizer(params, None), [])
        monkeypatch.setattr(module, "_log_mean", lambda *_: None)
        loss = module.training_step((clips(METHODS["4-mran"], size), torch.arange(size) % 2), 0)
        loss.backward()
        assert all(bool(p.grad.isfinite().all()) for p in module.parameters() if p.grad is not None)
    for size in (1, 3, 18):
        params = dataclasses.replace(method, train=dataclasses.replace(method.train, batch_size=size))
        with pytest.raises(UserError, match=rf"in each process: train\.batch_size is {size}"):
            recipe.source_clips(params, rows)


def test_without_clips_to_learn_from_no_weights_may_be_random(tmp_path: Path) -> None:
    """The weights of R(2+1)D have no excitation: a start for training, but not for prediction."""
    params = METHODS["2-length_adjusted"].fallback
    excited = dataclasses.replace(params, model=dataclasses.replace(params.model, backbone="se_r2plus1d"))
    card = recipe.make_card(params, pd.DataFrame({"frames": [20, 40]}))
    weights.save(tmp_path / "w.safetensors", recipe.make_recognizer(params, None), card)
    recipe.make_recognizer(excited, tmp_path / "w.safetensors")
    none = dataclasses.replace(excited.train, shots_per_class=0, init_from=str(tmp_path / "w.safetensors"))
    with pytest.raises(UserError, match=r"does not bring all of the network: .*excite\.weight would keep random"):
        recipe.make_recognizer(dataclasses.replace(excited, train=none), tmp_path / "w.safetensors")
