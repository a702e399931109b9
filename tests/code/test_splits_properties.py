"""The promises of a split for any table of clips: whole scenes, every class on every side, the same in any order."""

import numpy as np
import pandas as pd
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from darkaction.core.errors import UserError
from darkaction.data.settings import Split
from darkaction.data.splits import assign_folds, shared_scenes

ALWAYS = settings(derandomize=True, deadline=None, max_examples=10, database=None)
CLASSES = ["run", "sit", "walk"]


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Clips of three classes in scenes that some of them share."""
    takes = draw(st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=2, max_size=9))
    rows = [
        {"clip_id": f"x/{label.title()}_{scene}_{take}", "label": label, "scene": str(scene), "take": take}
        for scene, counts in enumerate(takes, start=1)
        for label, count in zip(CLASSES, counts, strict=True)
        for take in range(1, count + 1)
    ]
    assume({row["label"] for row in rows} == set(CLASSES))
    return pd.DataFrame(rows)


def split(clips: pd.DataFrame, *, strategy: str, folds: int, validation: str, seed: int) -> pd.DataFrame | str:
    """The folds, or why there are none."""
    try:
        settings = Split(
            strategy=strategy, official=1, folds=folds, test=0.3, validation=validation, val=0.15, promotion=0.0
        )  # type: ignore[arg-type]
        return assign_folds(clips, settings, target=True, classes=CLASSES, seed=seed)
    except UserError as error:
        return str(error)


options = {
    "clips": tables(),
    "folds": st.sampled_from([1, 2]),
    "validation": st.sampled_from(["scene", "take", "none"]),
    "seed": st.integers(0, 5),
}


@ALWAYS
@given(**options)
def test_no_scene_is_on_two_sides(clips: pd.DataFrame, folds: int, validation: str, seed: int) -> None:
    found = split(clips, strategy="scene", folds=folds, validation=validation, seed=seed)
    if isinstance(found, str):
        assert found  # refused, with a reason
        return
    for column in found:
        assert not shared_scenes(clips, found[column], "train", "test")
        assert not shared_scenes(clips, found[column], "val", "test")
        if validation == "scene":
            assert not shared_scenes(clips, found[column], "train", "val")


@ALWAYS
@given(strategy=st.sampled_from(["scene", "random"]), **options)
def test_every_class_is_in_every_part(
    clips: pd.DataFrame, strategy: str, folds: int, validation: str, seed: int
) -> None:
    found = split(clips, strategy=strategy, folds=folds, validation=validation, seed=seed)
    assume(not isinstance(found, str))
    parts = {"train", "test"} if validation == "none" else {"train", "val", "test"}
    assert isinstance(found, pd.DataFrame) and list(found) == [f"fold_{k}" for k in range(folds)]
    for column in found:
        for _, rows in clips.groupby(found[column]):
            assert set(rows["label"]) == set(CLASSES)
        assert set(found[column]) == parts


@ALWAYS
@given(strategy=st.sampled_from(["scene", "random"]), order=st.integers(0, 1000), **options)
def test_the_order_of_clips_does_not_matter(
    clips: pd.DataFrame, strategy: str, folds: int, validation: str, seed: int, order: int
) -> None:
    shuffled = clips.iloc[np.random.default_rng(order).permutation(len(clips))]
    first, second = (
        split(table, strategy=strategy, folds=folds, validation=validation, seed=seed) for table in (clips, shuffled)
    )
    if isinstance(first, str):
        assert first == second
    else:
        assert isinstance(second, pd.DataFrame)
        pd.testing.assert_frame_equal(first, second.loc[clips.index])


@ALWAYS
@given(**options)
def test_two_folds_test_each_clip_once(clips: pd.DataFrame, folds: int, validation: str, seed: int) -> None:
    found = split(clips, strategy="scene", folds=2, validation=validation, seed=seed)
    assume(not isinstance(found, str))
    assert isinstance(found, pd.DataFrame)
    assert ((found == "test").sum(axis=1) == 1).all()
