"""Which clips take part in what."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from darkaction import layout
from darkaction.clips import ClipStore
from darkaction.config import Enhance
from darkaction.datasets.index import read_index
from darkaction.errors import UserError
from darkaction.layout import Layout
from darkaction.training.loader import Clip


def usable_clips(places: Layout, datasets: Sequence[str]) -> pd.DataFrame:
    """The usable clips of the listed datasets, one row each, as in the index."""
    tables = [read_index(places.read(layout.index(dataset))) for dataset in datasets]
    table = pd.concat(tables, ignore_index=True)
    return table[table["status"] == "ok"].reset_index(drop=True)


def select(table: pd.DataFrame, *, fold: int, part: str) -> pd.DataFrame:
    """Rows that are `part` (train, val, test) in fold number `fold`."""
    column = f"fold_{fold}"
    if column not in table:
        raise UserError(f"the index has no column {column}: it was made with another split.folds; run prepare again")
    return table[table[column] == part].reset_index(drop=True)


def few_per_class(rows: pd.DataFrame, dataset: str, *, most: int, seed: int) -> pd.DataFrame:
    """At most so many clips of each class of `dataset`, of as many scenes as there are, and all clips of others.

    Fewer clips are always among more with the same seed.
    """
    rng = np.random.default_rng(seed)
    chosen: list[int] = np.flatnonzero(rows["dataset"] != dataset).tolist()
    for _, of_class in rows[rows["dataset"] == dataset].groupby("label", sort=True):
        drawn = of_class.iloc[rng.permutation(len(of_class))]
        turn = drawn.groupby("scene").cumcount()  # the first clip of each scene, then the second of each
        chosen += drawn.loc[turn.sort_values(kind="stable").index].index[:most].tolist()
    return rows.loc[sorted(chosen)].reset_index(drop=True)


def open_clips(rows: pd.DataFrame, places: Layout, classes: list[str], enhance: Enhance, *, flow: bool) -> list[Clip]:
    """The clips of `rows` with their class numbers and stores, to be shown with their optical `flow` or without.

    Raises:
        UserError: when a store lacks a clip of the index, or was made with another frame size.
    """
    stores = {str(name): ClipStore(places.read(layout.clips(str(name)))) for name in rows["dataset"].unique()}
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
