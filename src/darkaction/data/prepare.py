"""The stage `prepare`: files -> index, with every clip decoded once, judged and assigned to a part of each fold."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darkaction.core.errors import UserError
from darkaction.core.folders import kept_folder
from darkaction.core.parallel import Mapper
from darkaction.data.importers.official import read_official
from darkaction.data.index import (
    COLUMNS,
    OK,
    OTHER_CLASS,
    QUARANTINED,
    UNLABELLED,
    fold_columns,
    summarize,
    write_index,
)
from darkaction.data.listing import (
    CONFLICT,
    how_to_get,
    list_clips,
    quarantine_duplicates,
    require_enough,
    require_folders,
)
from darkaction.data.measure import MEAN_FRAME, measure, measure_all
from darkaction.data.settings import Prepare, Split, VideoLimits
from darkaction.data.splits import assign_folds


def prepare(
    raw: Path,
    target_folder: Path,
    *,
    dataset: str,
    target: bool,
    classes: Sequence[str],
    limits: VideoLimits,
    section: Prepare,
    split: Split,
    seed: int,
    made_with: Mapping[str, Any],
    mapper: Mapper,
    fingerprint: str,
) -> pd.DataFrame:
    """Writes the index of `dataset` into `target_folder`, whole or not at all. When it is stopped, the next one goes on
    with the clips that are not measured.

    Args:
        raw: data/raw/<dataset>.
        target_folder: data/index/<dataset>.
        dataset: its name.
        target: whether it is the target; the others only join training.
        classes: canonical names.
        limits: what a clip may cost.
        section: the section `prepare` of the settings.
        split: the section `split`.
        seed: of the split.
        made_with: what the summary says of the settings.
        mapper: where clips are decoded.
        fingerprint: of all that decides what is measured of a clip.

    Returns:
        The index with its fold columns.

    Raises:
        UserError: as `build_index` and `assign_folds`.
    """
    with kept_folder(target_folder, fingerprint) as folder:
        journal = folder / "measured.jsonl"
        index, means_NHWC = build_index(
            raw,
            dataset=dataset,
            target=target,
            classes=classes,
            max_quarantined=section.max_quarantined,
            mapper=mapper,
            limits=limits,
            journal=journal,
        )
        usable = index[index["status"] == OK]
        official = _official_parts(raw, usable, split) if target else None
        folds = assign_folds(usable, split, target=target, classes=classes, seed=seed, official=official)
        index = index.join(folds).fillna("none")
        summary = summarize(index, settings=made_with, strategy=split.strategy, validation=split.validation)
        write_index(folder, index, means_NHWC, summary)
        journal.unlink()
    return index


def _official_parts(raw: Path, clips: pd.DataFrame, split: Split) -> pd.Series | None:
    return read_official(raw, split.official, clips["path"]) if split.strategy == "official" else None


def build_index(
    raw: Path,
    *,
    dataset: str,
    target: bool,
    classes: Sequence[str],
    max_quarantined: float,
    mapper: Mapper,
    limits: VideoLimits | None = None,
    journal: Path | None = None,
) -> tuple[pd.DataFrame, NDArray[np.float16]]:
    """Lists the clips of `raw`, decodes those of `classes` and judges each.

    Args:
        raw: data/raw/<dataset>.
        dataset: its name, the first part of every clip id.
        target: whether its clips are the ones to be tested; written to the column `domain`.
        classes: canonical names; clips of other classes are listed as other_class and not decoded.
        max_quarantined: fraction of the clips of `classes` above which quarantine is an error.
        mapper: where clips are decoded. A file that crashes a process is quarantined, others are not affected.
        limits: what a clip may cost; those that cost more are quarantined.
        journal: see `measure_all`.

    Returns:
        The columns of COLUMNS, one row a file, sorted by path; and the mean frame of each, as MEAN_FRAMES.

    Raises:
        UserError: when the folder is missing, lacks a class of the target, holds no clip of `classes`, or too many are
            unusable.
    """
    if not raw.is_dir():
        raise UserError(f"{raw}: no such folder. To get the dataset '{dataset}': {how_to_get(dataset)}")
    require_folders(raw, target=target, classes=classes)
    rows = list_clips(raw, dataset=dataset, classes=classes)
    pending = [row for row in rows if row["status"] in (OK, UNLABELLED)]
    measure_clip = functools.partial(measure, limits=limits)
    paths = [raw / row["path"] for row in pending]
    measured = measure_all(paths, mapper=mapper, measure_clip=measure_clip, journal=journal)
    for row in pending:
        found = vars(measured[raw / row["path"]])
        row |= found | {"duration": found["frames"] / found["fps"] if found["fps"] else 0.0}
        row["status"] = QUARANTINED if row["reason"] else row["status"]
    quarantine_duplicates(raw, rows)
    index = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    index["domain"] = "target" if target else "source"
    require_enough(index, raw=raw, classes=classes, max_quarantined=max_quarantined)
    means_NHWC = np.zeros((len(rows), *MEAN_FRAME, 3), np.float16)
    for mean_HWC, row in zip(means_NHWC, rows, strict=True):
        if row.get("mean_HWC") is not None:
            mean_HWC[:] = row["mean_HWC"]
    return index, means_NHWC


def describe(index: pd.DataFrame) -> list[str]:
    """Clips by class and part of each fold, and what was left out."""
    usable = index[index["status"] == OK]
    lines = []
    for column in fold_columns(index):
        lines.append(f"\n{pd.crosstab(usable['label'], usable[column], margins=True, margins_name='all')}")
    quarantined = index[index["status"] == QUARANTINED]
    conflicts = int(quarantined["reason"].str.startswith(CONFLICT).sum())
    of_labels = f", {conflicts} of them for conflicts of labels" if conflicts else ""
    lines.append(f"\nquarantined: {len(quarantined)}{of_labels}")
    lines += [f"  {row.path}: {row.reason}" for row in quarantined.itertuples()]
    unlabelled = int((index["status"] == UNLABELLED).sum())
    if unlabelled:
        lines.append(f"unlabelled, for predict only: {unlabelled}")
    others = index[index["status"] == OTHER_CLASS]["label"].value_counts()
    counts = ", ".join(f"{label} {count}" for label, count in others.items())
    return [*lines, f"clips of other classes: {counts or 'none'}"]
