"""What identifies a result: the settings that decide it, by their dotted names."""

from typing import Any

from darkaction.core.config import flatten
from darkaction.data.index import AUXILIARY, TARGET
from darkaction.enhancement.settings import frames_wanted
from darkaction.params import Params
from darkaction.training.weights import network_settings


def index_settings(params: Params) -> dict[str, dict[str, Any]]:
    """What the index of each dataset is made with, by the names of settings: of all settings those that decide it. The
    seed is left out: trainings with other seeds share one split.

    Returns:
        {dataset: {setting: value}}, in the order of `datasets`; the value of that is the dataset's role.
    """
    split = params.split
    of_target: dict[str, Any] = {"split.strategy": split.strategy, "split.validation": split.validation}
    if split.strategy == "official":
        of_target["split.official"] = split.official
    elif split.folds == 1:
        of_target["split.test"] = split.test
    if split.validation != "none":
        of_target["split.val"] = split.val
    return {
        name: {
            "data.classes": params.data.classes,
            "datasets": TARGET if name == params.datasets[0] else AUXILIARY,
            "split.folds": split.folds,
            **(of_target if name == params.datasets[0] else {}),
        }
        for name in params.datasets
    }


def network_wanted(params: Params) -> dict[str, Any]:
    """`network_settings` of today."""
    return network_settings(
        model=params.model,
        bert=params.bert,
        frames=frames_wanted(params.enhance, params.datasets[0]),
        classes=params.data.classes,
        num_frames=params.sampling.num_frames,
    )


def enhancer_settings(params: Params) -> dict[str, Any]:
    """What decides the training of the enhancement, by the names of settings."""
    method = params.enhance.method
    return {"enhance.method": method} | _section(params, method)


def pretraining_settings(params: Params) -> dict[str, Any]:
    """What the pretraining alone goes by, by the names of settings, and the frames it shows. (What it shares with the
    training, as the sampling, may differ between the two.)"""
    found = _section(params, "pretrain") | frames_wanted(params.enhance, params.datasets[0])
    del found["pretrain.enabled"]
    return found


def _section(params: Params, name: str) -> dict[str, Any]:
    return {key: value for key, value in flatten(params).items() if key.startswith(f"{name}.")}
