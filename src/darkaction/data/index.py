"""The index of a dataset on disk: a table of its clips, their mean frames, the counts and the settings behind them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darkaction.core.agreement import recorded_in, require_same
from darkaction.core.errors import UserError
from darkaction.data.measure import MEAN_FRAME
from darkaction.data.splits import scene_order

TARGET, SOURCE = "the target", "a source domain"
"""The role of a dataset in `datasets`, which decides its split."""

OK, QUARANTINED, OTHER_CLASS, UNLABELLED = "ok", "quarantined", "other_class", "unlabelled"

COLUMNS = {
    "clip_id": str,  # dataset/Class_scene_take, unique
    "dataset": str,
    "domain": str,  # target | source: the target's clips are tested, the others only join training
    "path": str,  # relative to data/raw/<dataset>
    "label": str,  # canonical lower-case class
    "scene": str,  # the number, in HMDB-51 the source film; empty where the name does not tell
    "take": int,
    "frames": int,  # decoded, not the container's claim
    "fps": float,
    "width": int,  # pixels
    "height": int,
    "luma": float,  # mean over all pixels and frames, 0 to 255, BT.601
    "duration": float,  # seconds
    "sha256": str,  # of the file
    "phash": str,  # perceptual hashes of HASHED_FRAMES frames, 16 hexadecimal digits each
    "status": str,  # ok | quarantined | other_class | unlabelled (measured, but of no known class: for predict only)
    "reason": str,  # why quarantined
}
"""Columns of index.csv and their types; fold_0 [, fold_1] with train | val | test | none follow."""

MEAN_FRAMES = "mean_frames.npy"
"""(rows of index.csv, *MEAN_FRAME, 3) float16: the average of a clip's frames, zeros where it was not decoded."""

SUMMARY = "summary.json"
"""The counts of an index, and the settings it was made with."""

MISSING_RAW = {
    "demo": "dvc repro synthesize",
    "demo_lit": "dvc repro synthesize",
    "shifted": "dvc repro synthesize",
    "usual": "dvc repro synthesize",
    "arid": "python src/import_dataset.py arid PATH (or dvc pull, where a remote has it)",
    "hmdb51": "python src/import_dataset.py hmdb51 PATH (or dvc pull, where a remote has it)",
}
"""Where the raw clips of a dataset come from."""


def summarize(index: pd.DataFrame, *, settings: Mapping[str, Any], strategy: str, validation: str) -> dict[str, Any]:
    """The counts of an index with folds, and the `settings` it was made with, as identity.index_settings gives them:
    equal for equal input, whatever the machine and the time."""
    usable = index[index["status"] == OK]
    others = index[index["status"] == OTHER_CLASS]["label"].value_counts().sort_index()
    return {
        "dataset": str(index["dataset"].iloc[0]),
        "settings": dict(settings),
        "usable": len(usable),
        "quarantined": int((index["status"] == QUARANTINED).sum()),
        "unlabelled": int((index["status"] == UNLABELLED).sum()),
        "other_classes": {str(label): int(n) for label, n in others.items()},
        "frames": int(usable["frames"].sum()),
        "strategy": strategy,
        "validation": validation,
        "folds": {
            column: {str(part): _summarize_part(rows) for part, rows in usable.groupby(column)}
            for column in fold_columns(index)
        },
    }


def _summarize_part(clips: pd.DataFrame) -> dict[str, Any]:
    counts = clips["label"].value_counts().sort_index()
    return {
        "clips": {str(label): int(count) for label, count in counts.items()},
        "scenes": sorted(set(clips["scene"]), key=scene_order),
    }


def write_index(folder: Path, index: pd.DataFrame, means_NHWC: NDArray[np.float16], summary: dict[str, Any]) -> None:
    """Writes index.csv, mean_frames.npy, quarantine.csv and summary.json into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / MEAN_FRAMES, means_NHWC)
    _to_csv(index, folder / "index.csv")
    _to_csv(index.loc[index["status"] == QUARANTINED, ["path", "reason"]], folder / "quarantine.csv")
    (folder / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n")


def _to_csv(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False, float_format="%.3f", lineterminator="\n")


def fold_columns(index: pd.DataFrame) -> list[str]:
    """fold_0 [, fold_1]."""
    return [name for name in index.columns if str(name).startswith("fold_")]


def read_index(folder: Path) -> pd.DataFrame:
    """Reads index.csv with the types of COLUMNS and the fold columns behind them.

    Raises:
        UserError: when it is missing or its columns, values or clip ids are not those of an index.
    """
    path = folder / "index.csv"
    try:
        index = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file; dvc repro makes it, or, for settings of its own, python src/prepare.py "
            f"{folder.name} with the same --profile, --set and --out (a dataset that is not synthetic is imported "
            "first: data/README.md)"
        ) from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a table of clips ({error})") from None
    folds = fold_columns(index)
    expected = [*COLUMNS, *(f"fold_{k}" for k in range(max(1, len(folds))))]
    if list(index.columns) != expected:
        raise UserError(f"{path}: has columns {', '.join(index.columns)}; expected {', '.join(expected)}")
    try:
        index = index.astype(COLUMNS)
    except ValueError as error:
        raise UserError(f"{path}: {error}; run python src/prepare.py {folder.name} again") from None
    _require_values(path, index, "status", {OK, QUARANTINED, OTHER_CLASS, UNLABELLED})
    for column in folds:
        _require_values(path, index, column, {"train", "val", "test", "promotion", "none"})
    if not index["clip_id"].is_unique:
        raise UserError(f"{path}: clip_id {index['clip_id'][index['clip_id'].duplicated()].iloc[0]} stands twice")
    return index


def require_settings(folder: Path, wanted: Mapping[str, Any]) -> None:
    """Refuses an index that was made with other settings.

    Args:
        folder: of the index.
        wanted: those of today, as identity.index_settings gives them.

    Raises:
        UserError: naming the index, the settings with both values, and the command that makes it anew.
    """
    command = f"python src/prepare.py {folder.name}"
    recorded = recorded_in(folder / SUMMARY, section="settings", command=command)
    require_same(recorded, wanted, made=folder, command=command)


def read_mean_frames(folder: Path, index: pd.DataFrame) -> NDArray[np.float16]:
    """The mean frame of each row of `read_index`, (rows, *MEAN_FRAME, 3).

    Raises:
        UserError: when the file is missing or of another shape.
    """
    path = folder / MEAN_FRAMES
    try:
        means_NHWC: NDArray[np.float16] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); run python src/prepare.py {folder.name} again") from None
    if means_NHWC.shape != (len(index), *MEAN_FRAME, 3):
        raise UserError(f"{path}: is of shape {means_NHWC.shape}; run python src/prepare.py {folder.name} again")
    return means_NHWC


def _require_values(path: Path, index: pd.DataFrame, column: str, valid: set[str]) -> None:
    wrong = set(index[column]) - valid
    if wrong:
        raise UserError(f"{path}: {column} holds {', '.join(sorted(wrong))}; valid are {', '.join(sorted(valid))}")
