"""Ranger against the published optimiser, step by step; the shape of One Cycle."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import golden
from darkaction import config
from darkaction.models.build import BACKBONES, build_recognizer
from darkaction.training.optimizer import layer_groups, make_ranger, one_cycle


@pytest.mark.parametrize("config", ["default", "lr1e-2", "wd0.01_lr1e-2"])
def test_same_parameters_as_published_after_given_gradients(shared_dir: Path, config: str) -> None:
    arrays, description = golden.load(shared_dir, "ranger")
    settings = description["configs"][config]
    names = [str(name) for name in arrays["param_names"]]
    parameters = [
        nn.Parameter(golden.uniform_tensor(f"ranger.{name}", arrays[f"grad/{name}"].shape[1:], scale=0.5))
        for name in names
    ]
    optimizer = make_ranger(parameters, lr=settings["lr"], weight_decay=settings["weight_decay"])
    expected = dict(zip(arrays[f"{config}/open_steps"].tolist(), arrays[f"{config}/open_params"], strict=True))
    compared = 0
    for step in range(1, 61):
        for name, parameter in zip(names, parameters, strict=True):
            parameter.grad = torch.from_numpy(arrays[f"grad/{name}"][step - 1].copy())
        optimizer.step()
        if step in expected:
            ours = torch.cat([parameter.detach().flatten() for parameter in parameters])
            np.testing.assert_allclose(ours, expected[step], atol=1e-5)
            compared += 1
    assert compared >= 10


def test_first_steps_descend() -> None:
    parameter = nn.Parameter(torch.ones(1))
    optimizer = make_ranger([parameter], lr=0.1, weight_decay=0.0)
    for _ in range(3):
        parameter.grad = torch.ones(1)
        optimizer.step()
    assert parameter.item() < 0.9


def test_one_cycle_rises_then_falls_to_zero() -> None:
    optimizer = make_ranger([nn.Parameter(torch.ones(1))], lr=1.0, weight_decay=0.0)
    schedule = one_cycle(optimizer, max_lr=0.5, total_steps=100, warmup=0.3)
    rates = []
    for _ in range(100):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates[0] == pytest.approx(0.02)
    assert max(rates) == pytest.approx(0.5) and int(np.argmax(rates)) == 29
    assert rates[-1] < 1e-4


@pytest.mark.parametrize("total_steps", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("warmup", [0.25, 0.5])
def test_one_cycle_of_a_few_steps(total_steps: int, warmup: float) -> None:
    optimizer = make_ranger([nn.Parameter(torch.ones(1))], lr=1.0, weight_decay=0.0)
    schedule = one_cycle(optimizer, max_lr=0.5, total_steps=total_steps, warmup=warmup)
    rates = [schedule.get_last_lr()[0]]
    for _ in range(total_steps - 1):
        optimizer.step()
        schedule.step()
        rates.append(schedule.get_last_lr()[0])
    assert all(0 < rate <= 0.5 for rate in rates)
    if warmup * total_steps == 1:  # no step to rise in
        assert rates[0] == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_learning_rates_rise_from_the_input_to_the_head(backbone: str) -> None:
    head = "bert" if backbone == "r2plus1d" else "average"
    params = config.load(profile="smoke", overrides=[f"model.backbone={backbone}", f"model.head={head}"])
    network = build_recognizer(params.model, params.bert, num_frames=8, height=32, frame_width=32, num_classes=6)
    groups = layer_groups(network, max_lr=0.4, input_rate=0.01)
    in_groups = [parameter for group in groups for parameter in group["params"]]
    assert len(in_groups) == len(set(in_groups)) == len(list(network.parameters()))
    [whole] = layer_groups(network, max_lr=0.4, input_rate=1.0)
    assert all(a is b for a, b in zip(whole["params"], network.parameters(), strict=True)) and whole["lr"] == 0.4
    head_rate, *rates = (group["lr"] for group in groups)
    assert head_rate == 0.4 and network.classifier.weight in set(groups[0]["params"])
    assert rates[0] == pytest.approx(0.004) and rates == sorted(rates) and rates[-1] < 0.4 and len(rates) >= 3
    schedule = one_cycle(
        make_ranger(groups, lr=0.4, weight_decay=0), max_lr=[g["lr"] for g in groups], total_steps=9, warmup=0.3
    )
    assert schedule.get_last_lr() == pytest.approx(
        [group["lr"] / 25 for group in layer_groups(network, max_lr=0.4, input_rate=0.01)]
    )
