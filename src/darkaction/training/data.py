"""Which clips take part in what."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from darkaction.core.agreement import recorded_in, require_same
from darkaction.core.config import digest
from darkaction.core.errors import UserError
from darkaction.core.paths import Paths
from darkaction.data.clips import ClipStore
from darkaction.data.index import OK, TARGET, fold_columns, read_index, require_settings
from darkaction.enhancement.settings import Enhance, frames_wanted
from darkaction.training.loader import Clip
from darkaction.training.weights import TRAINED_ON

IMBALANCE = 3
"""Between the clips of two classes: more is worth a line."""


def usable_clips(paths: Paths, settings: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The usable clips of some datasets, one row each, as in the index.

    Args:
        settings: {dataset: what its index must have been made with}, as identity.index_settings gives them.

    Raises:
        UserError: when an index is missing, was made with other settings, or has other classes.
    """
    tables = []
    for dataset, wanted in settings.items():
        folder = paths.read(Paths.index(dataset))
        table = read_index(folder)
        require_settings(folder, wanted)
        tables.append(table[table["status"] == OK])
        _require_classes(folder, set(tables[-1]["label"]), wanted)
    return pd.concat(tables, ignore_index=True)


def _require_classes(folder: Path, labels: set[str], wanted: Mapping[str, Any]) -> None:
    """The usable clips must be of the classes in use, and those of the target of each of them."""
    classes = wanted["data.classes"]
    lacking = [name for name in classes if name not in labels] if wanted["datasets"] == TARGET else []
    problems = [f"no usable clip of class {', '.join(lacking)}"] if lacking else []
    if labels - set(classes):
        problems.append(f"clips of {', '.join(sorted(labels - set(classes)))}, which data.classes lacks")
    if problems:
        raise UserError(
            f"{folder}: has {' and '.join(problems)}; data.classes is {', '.join(classes)}: run python src/prepare.py "
            f"{folder.name} with the same --profile, --set and --out, or change data.classes"
        )


def require_every_class(training: pd.DataFrame, classes: Sequence[str], *, fold: int) -> None:
    """Refuses a training without a clip of one of its classes, which it could never name."""
    lacking = [name for name in classes if name not in set(training["label"])]
    if lacking:
        raise UserError(
            f"data.classes: fold {fold} has no training clip of class {', '.join(lacking)}; add clips, leave the class "
            "out, or change split.*, and run prepare again"
        )


def say_imbalance(training: pd.DataFrame, alpha: list[float] | float | str | None, *, fold: int) -> None:
    """Says on standard error where one class has more than IMBALANCE times the training clips of another and the loss
    does not weigh classes."""
    counts = training["label"].value_counts()
    if isinstance(alpha, float | None) and counts.max() > IMBALANCE * counts.min():
        print(
            f"fold {fold}: {counts.max()} training clips of {counts.idxmax()}, {counts.min()} of {counts.idxmin()}; "
            "focal.alpha: balanced weighs the classes",
            file=sys.stderr,
        )


def split_digest(clips: pd.DataFrame) -> str:
    """Identifies which clips of which class train, validate and test."""
    columns = ["clip_id", "label", *fold_columns(clips)]
    return digest(clips[columns].sort_values("clip_id").astype(str).values.tolist())


def require_trained_on(recognizer: Path, clips: pd.DataFrame) -> None:
    """Refuses weights that were trained on another split: clips to test may have been among their training clips.

    Raises:
        UserError: naming the folder and the command that trains anew.
    """
    recorded = recorded_in(recognizer / TRAINED_ON, command="python src/train.py")
    if recorded and recorded["split"] != split_digest(clips):
        raise UserError(
            f"{recognizer}: was trained on other clips, or another split of them, than the index holds now; run python "
            "src/train.py with the same --profile, --set and --out first, or, for params.yaml as it stands, dvc repro"
        )


def select(table: pd.DataFrame, *, fold: int, part: str) -> pd.DataFrame:
    """Rows that are `part` (train, val, test) in fold number `fold`."""
    column = f"fold_{fold}"
    if column not in table:
        raise UserError(f"the index has no column {column}: it was made with another split.folds; run prepare again")
    return table[table[column] == part].reset_index(drop=True)


def training_rows(clips: pd.DataFrame, datasets: Sequence[str], *, fold: int, shots: int | None) -> pd.DataFrame:
    """The training clips of a fold, of all datasets; with 0 shots not those of the target, where there are others.

    Args:
        datasets: the target first.
        shots: see `few_per_class`; None: all.
    """
    rows = select(clips, fold=fold, part="train")
    return rows[rows["dataset"] != datasets[0]].reset_index(drop=True) if shots == 0 and len(datasets) > 1 else rows


def few_per_class(rows: pd.DataFrame, dataset: str, *, most: int, seed: int) -> pd.DataFrame:
    """At most so many clips of each class of `dataset`, of as many scenes as there are, and all clips of others.

    Fewer clips are always among more with the same seed.
    """
    rng = np.random.default_rng(seed)
    chosen: list[int] = np.flatnonzero(rows["dataset"] != dataset).tolist()
    for _, of_class in rows[rows["dataset"] == dataset].groupby("label", sort=True):
        shuffled = of_class.iloc[rng.permutation(len(of_class))]
        turn = shuffled.groupby("scene").cumcount()  # the first clip of each scene, then the second of each
        chosen += shuffled.loc[turn.sort_values(kind="stable").index].index[:most].tolist()
    return rows.loc[sorted(chosen)].reset_index(drop=True)


def open_clips(rows: pd.DataFrame, paths: Paths, classes: list[str], enhance: Enhance, *, flow: bool) -> list[Clip]:
    """The clips of `rows` with their class numbers and stores, to be shown with their optical `flow` or without.

    Raises:
        UserError: when a store lacks a clip of the index, was made with other settings, or is damaged.
    """
    stores = {str(name): ClipStore(paths.read(Paths.clips(str(name)))) for name in rows["dataset"].unique()}
    for name, store in stores.items():
        command = f"python src/enhance.py {name}"
        require_same(store.made_with(), frames_wanted(enhance, name), made=store.folder, command=command)
        store.verify(rows.loc[rows["dataset"] == name, "clip_id"], flow=flow)
    clips = []
    for clip_id, dataset, label in zip(rows["clip_id"], rows["dataset"], rows["label"], strict=True):
        stored = stores[dataset].clip(clip_id)
        if (stored.height, stored.width) != (enhance.height, enhance.width):
            raise UserError(
                f"{stores[dataset].folder}: frames of {stored.height}x{stored.width}, where enhance.height and "
                f"enhance.width are {enhance.height}x{enhance.width}; run python src/enhance.py {dataset} again"
            )
        clips.append(Clip(clip_id=clip_id, label=classes.index(label), source=stores[dataset], flow=flow))
    return clips
