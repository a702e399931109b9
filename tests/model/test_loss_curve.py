"""A change of training that nobody meant shows in twenty steps: their losses are those of tests/reference."""

import json
from collections.abc import Iterator

import numpy as np
import pytest

import golden_curve
from darkaction.training.loader import EpochSampler

LOSS = 1e-3
"""Largest relative difference. Rounding alone gives up to 3e-4: with AVX2 or SSE4.1 in the place of AMX or AVX-512, in
torch or OpenCV; with any number of threads none."""

NORM = 1e-6
"""The same of the norm of the weights, where rounding gives 2e-9."""


def difference(found: dict[str, list[float]]) -> float:
    """The largest difference to the reference, in tolerances: up to 1 it is the same training."""
    reference = json.loads(golden_curve.CURVE.read_text())
    assert {key: len(values) for key, values in found.items()} == {key: len(v) for key, v in reference.items()}
    tolerance = {"train_loss": LOSS, "val_loss": LOSS, "learning_rate": NORM, "norm": NORM}
    relative = {key: np.abs(np.array(values) / reference[key] - 1) / tolerance[key] for key, values in found.items()}
    return float(max(values.max() for values in relative.values()))


def test_losses_and_weights_of_twenty_steps_are_those_of_the_reference() -> None:
    found = difference(golden_curve.curve())
    assert found <= 1, (
        f"training changed: {found:.1f} times what rounding explains. "
        "If it was meant to: python tests/golden_curve.py, and say so in the commit"
    )


@pytest.mark.parametrize(
    "change",
    ["focal.gamma=2.05", "optimizer.max_lr=0.00102", "optimizer.weight_decay=0.11", "sampling.delta_max=5.8"],
)
def test_a_small_change_of_a_setting_is_seen(change: str) -> None:
    assert difference(golden_curve.curve(change)) > 1


def test_another_order_of_batches_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    ordered = EpochSampler.__iter__

    def swapped(self: EpochSampler) -> Iterator[tuple[int, int]]:
        """The second batch before the first."""
        keys = list(ordered(self))
        return iter(keys[8:] + keys[:8])

    monkeypatch.setattr(EpochSampler, "__iter__", swapped)
    assert difference(golden_curve.curve()) > 1
