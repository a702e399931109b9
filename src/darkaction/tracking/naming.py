"""The name of a run, and the tags that say where it belongs: the same for trainings, pretrainings and children."""

import json
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from darkaction.core import config
from darkaction.core.config import Settings
from darkaction.core.errors import UserError
from darkaction.core.paths import Paths

Values = Mapping[str, Any]
"""Settings by their dotted names."""

NOTE = "mlflow.note.content"
"""The tag that MLflow's pages show as a run's description."""

ORIGIN = "origin"
"""Tag: pipeline (a stage of dvc repro), by hand, try (with --out), search or comparison."""

OUT = "out"
"""Tag of a try: the folder that --out named."""

MOST_DIFFERENCES = 4
LONGEST_VALUE = 24

SHOWN = ("datasets", "sampling.strategy", "enhance.method", "model.backbone", "model.head", "seed")
"""Settings that every name shows."""

IRRELEVANT = ("tune.", "registry.", "evaluate.", "train.devices", "train.nodes", "train.num_workers")
"""Beginnings of the keys of settings that change no training."""

OF_ENHANCER = ("data.", "synthesize.", "prepare.", "split.", "zero_dce.", "enlightengan.", "enhance.")
"""Beginnings of the keys of settings that the training of the enhancement depends on."""


def run_name(stage: str, params: Settings, *, label: str = "", out: bool = False) -> str:
    """The name of a run in a list: `demo delta zero_dce r2plus1d-bert focal.gamma=3 seed 0`.

    Settings that differ are those that differ from the nearest profile, whose name stands before them unless it is
    the committed state, `demo`. So two runs between which params.yaml was changed have different names.

    Args:
        label: its name within its search or comparison, for example `trial 7`; comes first.
        out: whether --out was given, which makes it a try.
    """
    first = f"{label}: " if label else "try: " if out else ""
    values = config.flatten(params)
    words = [*_method(stage, values), *_differences(stage, type(params), values), f"seed {values['seed']}"]
    if "DVC_EXP_NAME" in os.environ:
        words.append(f"({os.environ['DVC_EXP_NAME']})")
    return first + " ".join(words)


def origin_of(stage: str, paths: Paths, *, is_child: bool) -> dict[str, str]:
    """The tags ORIGIN and, for a try, OUT."""
    if stage in ("tune", "trial"):
        return {ORIGIN: "search"}
    if stage in ("tables", "run") or is_child:
        return {ORIGIN: "comparison"}
    if paths.out is not None:
        return {ORIGIN: "try", OUT: str(paths.out)}
    return {ORIGIN: "pipeline" if "DVC_STAGE" in os.environ else "by hand"}


def _method(stage: str, values: Values) -> list[str]:
    network = f"{values['model.backbone']}-{values['model.head']}"
    if stage == "train_enhancer":
        return ["enhancement", values["datasets"][0], values["enhance.method"]]
    if stage == "pretrain":
        return ["pretraining", values["datasets"][0], values["enhance.method"], network]
    return ["+".join(values["datasets"]), values["sampling.strategy"], values["enhance.method"], network]


def _differences(stage: str, kind: type[Settings], today: Values) -> list[str]:
    """The nearest profile, unless it is `demo`, and the settings that differ from it, as `key=value`."""
    keys = [key for key in today if key not in SHOWN and _matters(key, stage, today)]
    profile, base = min(_profiles(kind), key=lambda entry: sum(_differs(entry[1], today, key) for key in keys))
    different = [f"{key}={_short(today[key])}" for key in keys if _differs(base, today, key)]
    if len(different) > MOST_DIFFERENCES:
        different[MOST_DIFFERENCES - 1 :] = [f"+{len(different) - MOST_DIFFERENCES + 1} more"]
    return ([] if profile == "demo" else [profile]) + different


def _matters(key: str, stage: str, values: Values) -> bool:
    """Whether a setting can change the result of a run of the stage."""
    used = {
        "zero_dce": values["enhance.method"] == "zero_dce",
        "enlightengan": values["enhance.method"] == "enlightengan",
        "pretrain": stage == "pretrain" or values["train.init_from"] == Paths.PRETRAINING,
        "train": stage != "pretrain",
        "mran": values["model.mran"],
        "bert": values["model.head"] == "bert",
    }
    section = key.partition(".")[0]
    if key.startswith(IRRELEVANT) or not used.get(section, True):
        return False
    if key.startswith("enhance.apply.") and key.rpartition(".")[2] not in values["datasets"]:
        return False
    return stage != "train_enhancer" or key.startswith(OF_ENHANCER)


@lru_cache(maxsize=1)
def _profiles(kind: type[Settings]) -> list[tuple[str, Values]]:
    """Every profile's name and settings, `demo` first, without those that are damaged."""
    found: list[tuple[str, Values]] = []
    for name in sorted(config.profile_names(), key=lambda name: (name != "demo", name)):
        try:
            found.append((name, config.flatten(config.load(kind, profile=name))))
        except UserError:
            continue
    return found or [("demo", {})]


def _differs(base: Values, today: Values, key: str) -> bool:
    return key in base and base[key] != today[key]


def _short(value: Any) -> str:
    """A value as in params.yaml, numbers to three digits and long ones cut."""
    text = value if isinstance(value, str) else f"{value:.3g}" if isinstance(value, float) else json.dumps(value)
    text = text.replace(" ", "")
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
