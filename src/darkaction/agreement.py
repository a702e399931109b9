"""Whether settings, folders and what earlier stages made go together.

A stage records the settings that decide what it makes; whoever reads that asks here whether they are still today's.
`dvc repro` sees to it by itself; a program that is started by hand, with --set or --out, does not.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from darkaction.config import Bert, Enhance, Model, Params, flatten, suggestion
from darkaction.errors import UserError
from darkaction.layout import Layout, raw

DRAWN = ("demo", "demo_lit")
"""Datasets that the generator draws."""

TARGET, AUXILIARY = "the target", "auxiliary"
"""The role of a dataset in `datasets`, which decides its split."""

ACTIONS = ("drink", "jump", "pick", "pour", "push", "run", "sit", "stand", "turn", "walk", "wave")
"""The classes of ARID, which are those that the generator draws."""


def require_known_classes(params: Params, places: Layout) -> None:
    """Refuses a class that the target cannot have: the generator's classes and those of a release are known, and those
    of any other dataset are its folders. A dataset that is not there yet is not judged.

    Raises:
        UserError: naming the class and the nearest that is known.
    """
    target = params.datasets[0]
    videos = places.read(raw(target))
    known = set(ACTIONS if target in (*DRAWN, "arid") else ())
    if target not in DRAWN and videos.is_dir():
        known |= {path.name.lower() for path in videos.iterdir() if path.is_dir() and path.name[0] not in "._"}
    unknown = [name for name in params.data.classes if name not in known]
    if known and unknown:
        raise UserError(
            f"data.classes: the dataset '{target}' has no class '{unknown[0]}'{suggestion(unknown[0], known)}; it has "
            f"{', '.join(sorted(known))}"
        )


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


def frame_settings(*, method: str, gamma: float, curve_scale: float, height: int, width: int) -> dict[str, Any]:
    """What stored frames are made with, by the names of settings: those of `enhance` that decide them. (Optical flow is
    in a store or not; whoever needs it says so.)

    Args:
        method: of the dataset: none where enhance.apply says false.
    """
    found: dict[str, Any] = {"enhance.method": method, "enhance.height": height, "enhance.width": width}
    if method == "gamma":
        found["enhance.gamma"] = gamma
    if method == "zero_dce":
        found["enhance.curve_scale"] = curve_scale
    return found


def frames_wanted(enhance: Enhance, dataset: str) -> dict[str, Any]:
    """`frame_settings` of a dataset today."""
    return frame_settings(
        method=enhance.method if enhance.apply[dataset] else "none",
        gamma=enhance.gamma,
        curve_scale=enhance.curve_scale,
        height=enhance.height,
        width=enhance.width,
    )


def network_settings(
    *, model: Model, bert: Bert, frames: Mapping[str, Any], classes: Sequence[str], num_frames: int
) -> dict[str, Any]:
    """What a network is made for, by the names of settings.

    Args:
        frames: `frame_settings` of what it is shown.
    """
    found = {"data.classes": list(classes), "sampling.num_frames": num_frames, **frames}
    found |= {f"model.{field.name}": getattr(model, field.name) for field in dataclasses.fields(model)}
    return found | {f"bert.{name}": getattr(bert, name) for name in ("heads", "layers", "normalize_tokens")}


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


def recorded_in(path: Path, *, command: str, section: str | None = None) -> dict[str, Any]:
    """The settings in a JSON file; none where there is no such file, or an earlier version wrote it.

    Args:
        command: what makes it anew.
        section: the key under which they stand; None: they are the whole.
    """
    if not path.exists():
        return {}
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); run {command} again") from None
    return content if section is None else content.get(section, {})


def require_same(recorded: Mapping[str, Any], wanted: Mapping[str, Any], *, made: Path, command: str) -> None:
    """Refuses what an earlier stage made with other settings. What was not recorded is not compared.

    Args:
        recorded: settings that `made` was made with.
        wanted: those of today.
        made: file or folder.
        command: what makes it anew.

    Raises:
        UserError: naming all of these.
    """
    other = [key for key, value in wanted.items() if key in recorded and recorded[key] != value]
    if other:
        listed = ", ".join(f"{key} = {json.dumps(recorded[key])} (now {json.dumps(wanted[key])})" for key in other)
        raise UserError(
            f"{made}: was made with {listed}; run {command} with the same --profile, --set and --out first, or, for "
            "params.yaml as it stands, dvc repro"
        )
