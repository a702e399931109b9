"""What identifies a result: everything that decides it. Whether something is computed already, `identity` answers."""

import ast
import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from darkaction.core.config import digest, flatten
from darkaction.core.paths import Paths
from darkaction.core.provenance import index_digest
from darkaction.data.index import SOURCE, TARGET
from darkaction.enhancement.settings import frames_wanted
from darkaction.params import Params
from darkaction.training.weights import network_settings

FRAMES_CODE = ("data/clips.py", "data/flow.py", "data/shards.py", "data/video", "enhancement")
"""The parts of the package that decide the frames of a clip store."""

CODE = (
    *FRAMES_CODE,
    "evaluation/calibration.py",
    "evaluation/predict.py",
    "jobs/recognizer/pretraining.py",
    "jobs/recognizer/recipe.py",
    "models",
    "synthetic",
    "training",
)
"""The parts of the package that decide what a training gives."""

SYNTHETIC_CODE = ("data/video", "synthetic")
"""The parts that decide the clips of a synthetic dataset."""

MEASURE_CODE = ("data/measure.py", "data/video")
"""The parts that decide what is measured of a clip."""

TRAINING = (
    "datasets",
    "data",
    "split",
    "enhance",
    "sampling",
    "augmentation",
    "model",
    "bert",
    "focal",
    "optimizer",
    "train",
)
"""Sections that decide what every training gives, beside the seed and the versions of clips, weights and code."""


def identity(settings: Mapping[str, Any], *, inputs: Mapping[str, Any] | None = None, code: str | None = None) -> str:
    """Stands for a result: the same settings, inputs and code give it again. Sixteen hexadecimal digits.

    Args:
        settings: those that decide it, by their dotted names; see `training_settings`.
        inputs: digests of what it is made from: clips, indexes, weights.
        code: `training_code()` of what makes it; None where the code does not count.
    """
    decisive = {**settings, **(inputs or {})}
    return digest(decisive if code is None else {**decisive, "code": code})[:16]


def training_settings(params: Params) -> dict[str, Any]:
    """The settings that decide what a training gives, but for the seed; those that it does not use are left out."""
    flat = flatten(params)
    method = params.enhance.method
    sections = [*TRAINING]
    sections += [method] if method in ("zero_dce", "enlightengan") else []
    sections += ["mran"] if params.model.mran else []
    sections += ["pretrain"] if params.train.init_from == Paths.PRETRAINING else []
    unused = {"train.num_workers"}
    unused |= {key for key in flat if key.startswith("enhance.apply.") and key[14:] not in params.datasets}
    unused |= {"train.members"} if params.train.members == 1 else set()
    unused |= {"train.early_stopping"} if params.train.early_stopping is None else set()
    unused |= {"train.nodes"} if params.train.nodes == 1 else set()
    unused |= {"train.deterministic"} if params.train.deterministic else set()
    unused |= set() if method == "gamma" else {"enhance.gamma"}
    unused |= set() if params.split.promotion else {"split.promotion"}
    unused |= {"train.shots_per_class"} if params.train.shots_per_class is None else set()
    return {key: value for key, value in flat.items() if key.partition(".")[0] in sections and key not in unused}


def index_digests(datasets: Iterable[str], paths: Paths) -> dict[str, str]:
    """{dataset: digest of its index}, which holds the checksums of its clips, their labels and the split."""
    return {name: index_digest(paths.read(Paths.index(name)) / "index.csv") for name in datasets}


def sha256(path: Path) -> str:
    """Of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def training_code() -> str:
    """Identifies CODE, see `code_of`."""
    return code_of(CODE)


@cache
def code_of(parts: tuple[str, ...]) -> str:
    """Identifies parts of the package by what they do: comments, docstrings and the place of the project do not count.
    Read once, so that an edit while a process runs changes nothing in it."""
    package = Path(__file__).resolve().parents[1]
    places = [package / name for name in parts]
    files = sorted(path for place in places for path in (place.rglob("*.py") if place.is_dir() else [place]))
    found = hashlib.sha256()
    for path in files:
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                node.body = [part for part in body if not _is_text(part)]  # type: ignore[attr-defined]
        found.update(f"{path.relative_to(package).as_posix()} {ast.dump(tree)}".encode())
    return found.hexdigest()[:16]


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


# What an earlier stage records of its settings, for whoever reads its results


def index_settings(params: Params, *, also: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    """What the index of each dataset is made with, by the names of settings: of all settings those that decide it. The
    seed is left out: trainings with other seeds share one split.

    Args:
        also: source domains beside those in `datasets`.

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
    if split.promotion:
        of_target["split.promotion"] = split.promotion
    return {
        name: {
            "data.classes": params.data.classes,
            "datasets": TARGET if name == params.datasets[0] else SOURCE,
            "split.folds": split.folds,
            **(of_target if name == params.datasets[0] else {}),
        }
        for name in (*params.datasets, *also)
    }


def synthetic_fingerprint(params: Params) -> str:
    """Of all that decides the clips of the synthetic datasets."""
    settings = {"seed": params.seed, "data.classes": params.data.classes} | _section(params, "synthesize")
    return identity(settings, code=code_of(SYNTHETIC_CODE))


def measure_fingerprint(params: Params) -> str:
    """Of all that decides what is measured of a clip, but the clip."""
    return identity(_section(params, "video"), code=code_of(MEASURE_CODE))


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
