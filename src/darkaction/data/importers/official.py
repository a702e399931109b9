"""The splits a dataset's authors published: read from official_splits.csv, which an import writes beside the clips."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pandas as pd

from darkaction.core.errors import UserError

PARTS_FILE = "official_splits.csv"
"""In data/raw/<dataset>: columns clip (Walk/Walk_3_12, without ending), split_1, split_2, split_3, each with train |
test | none (a clip the split leaves unused) or nothing (the split is not known)."""

COLUMNS = ["clip", "split_1", "split_2", "split_3"]

WHY_NOT = (
    "ARID 1.1 (UG2+ track 2.1) has none: its public list is one training set, and its validation clips have no labels. "
    "ARID 1.0 (ARID_split1_train.txt ...) and HMDB-51 (test_train_splits.rar) bring theirs; import them together with "
    "the clips, or set split.strategy to scene or random"
)


def read_official(raw: Path, number: int, paths: pd.Series) -> pd.Series:
    """The part (train | test | none) of each clip in official split `number`.

    Args:
        raw: data/raw/<dataset>.
        number: 1, 2 or 3.
        paths: relative paths of clips; their index is the result's.

    Raises:
        UserError: when the dataset has no such split, or the split does not know a clip.
    """
    file = raw / PARTS_FILE
    if not file.exists():
        raise UserError(f"split.strategy is official, but {raw} has no official split. {WHY_NOT}")
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    if list(table.columns) != COLUMNS:
        raise UserError(f"{file}: has columns {', '.join(table.columns)}; expected {', '.join(COLUMNS)}")
    part_of = dict(zip(table["clip"].str.lower(), table[f"split_{number}"], strict=True))
    parts = paths.map(lambda path: part_of.get(str(PurePosixPath(path).with_suffix("")).lower(), ""))
    unknown = paths[~parts.isin(["train", "test", "none"])]
    if len(unknown):
        raise UserError(
            f"{file}: official split {number} says nothing about {len(unknown)} of {len(paths)} clips, for example "
            f"{unknown.iloc[0]}; import the split's lists (train, test and, for ARID, other) together with the clips"
        )
    return parts


def official_table(splits: Mapping[str, Mapping[int, str]]) -> str:
    """The text of PARTS_FILE, sorted by clip.

    Args:
        splits: clip name without ending (Walk/Walk_3_12) -> official split 1, 2, 3 -> train | test | none.
    """
    rows = [{"clip": clip, **{f"split_{k}": part for k, part in splits[clip].items()}} for clip in sorted(splits)]
    return pd.DataFrame(rows, columns=COLUMNS).to_csv(index=False, lineterminator="\n")
