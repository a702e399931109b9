"""Ranger against the published optimiser, step by step; the shape of One Cycle."""

import numpy as np
import pytest
import torch
from torch import nn

import golden
from darkaction.training.module import make_ranger, one_cycle

SHAPES = {
    "conv.weight": (4, 2, 3, 3), "conv.bias": (4,), "conv3.weight": (2, 1, 1, 3, 3), "conv3.bias": (2,),
    "fc1.weight": (10, 8), "fc1.bias": (10,), "fc2.weight": (3, 10), "fc2.bias": (3,),
}  # fmt: skip
"""Parameters in the order in which the reference numbers hold them."""


@pytest.mark.parametrize(
    ("name", "lr", "decay"), [("lr_0.001", 1e-3, 0.0), ("lr_0.01", 1e-2, 0.0), ("lr_0.01_decay_0.01", 1e-2, 0.01)]
)
def test_same_parameters_as_published_after_given_gradients(name: str, lr: float, decay: float) -> None:
    arrays = golden.load("ranger")
    parameters = [
        nn.Parameter(golden.uniform_tensor(f"ranger.{key}", shape, scale=0.5)) for key, shape in SHAPES.items()
    ]
    sizes = [parameter.numel() for parameter in parameters]
    optimizer = make_ranger(parameters, lr=lr, weight_decay=decay)
    expected = dict(zip(arrays["steps"].tolist(), arrays[name], strict=True))
    assert len(expected) == 14 and max(expected) == 60
    for step, gradients in enumerate(torch.from_numpy(arrays["gradients"]), start=1):
        for parameter, gradient in zip(parameters, gradients.split(sizes), strict=True):
            parameter.grad = gradient.view_as(parameter).clone()
        optimizer.step()
        if step in expected:
            ours = torch.cat([parameter.detach().flatten() for parameter in parameters])
            np.testing.assert_allclose(ours, expected[step], atol=1e-5)


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
