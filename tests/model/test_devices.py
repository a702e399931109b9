"""Where there is a GPU, everything uses it. (Here torch only says that there is one.)"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from darkaction.enhancement import training as enhancement
from darkaction.evaluation.predict import predict
from darkaction.experiments.runs import cost
from darkaction.jobs.enhancer import apply as enhancing
from darkaction.models.precision import uses_bf16
from darkaction.params import Params
from darkaction.serving.predictor import Predictor
from darkaction.training.loader import TestClips, test_loader, training_loader, validation_loader
from tiny_models import make_model
from tiny_training import CARD, CLIPS, new_module, training_clips


class MovedError(Exception):
    pass


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first network that is moved ends the test, saying where to."""

    def moved(_: nn.Module, device: object, **__: object) -> None:
        raise MovedError(str(device))

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(nn.Module, "to", moved)


def predicts(_: Path) -> None:
    predict(
        new_module().recognizer, CLIPS, sampler=CARD.sampler(), seed=0, num_draws=1, batch_size=4, workers=0, bf16=False
    )


def loads(folder: Path) -> None:
    Predictor.load(make_model(folder / "model"))


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("use", [predicts, loads])
def test_networks_go_to_the_gpu(use: Callable[[Path], None], tmp_path: Path) -> None:
    with pytest.raises(MovedError, match=r"^cuda$"):
        use(tmp_path)


@pytest.mark.usefixtures("gpu")
def test_what_takes_a_device_gets_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    network = new_module().recognizer

    def zeros(*_: object, device: torch.device) -> None:
        made.append(device.type)
        raise MovedError

    assert enhancement.device().type == "cuda"
    settings = enhancing.settings(Params.load(overrides=["enhance.method=gamma"]), "demo", weights=Path("none"))
    assert settings.device == "cuda"
    monkeypatch.setattr(torch, "zeros", zeros)
    with pytest.raises(MovedError):
        cost(network, Params.load())
    assert made == ["cuda"]


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_loaded_for_a_gpu(monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    """From pinned memory, as copies beside the GPU's work need it, by processes that stay for the next epoch and are
    two batches ahead."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    shown = TestClips(CLIPS, sampler=CARD.sampler(), seed=0, draw=0, num_draws=1)
    loaders = {
        "training": training_loader(training_clips(), batch_size=8, workers=workers),
        "validation": validation_loader(shown, batch_size=8, workers=workers),
        "test": test_loader(shown, batch_size=8, workers=workers),
    }
    for name, loader in loaders.items():
        assert loader.pin_memory, name
        assert loader.prefetch_factor == (2 if workers else None), name
        assert loader.persistent_workers == (workers > 0 and name != "test"), name  # test batches are asked for once


@pytest.mark.parametrize("supported", [True, False])
def test_auto_is_bf16_on_gpus_that_compute_in_it(monkeypatch: pytest.MonkeyPatch, supported: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
    assert uses_bf16("auto", "c3d") == supported
