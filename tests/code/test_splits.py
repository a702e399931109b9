"""Names of clips, and the promises of every split."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import arid_1_1
from darkaction.core.errors import UserError
from darkaction.data.importers.names import parse_arid
from darkaction.data.settings import Split
from darkaction.data.splits import assign_folds, other_validation, shared_scenes

DEMO_CLASSES = ["run", "sit", "stand", "turn", "walk", "wave"]
REAL_SAMPLE = {  # class -> {scene: clips}, as in the 150 real clips
    "jump": {8: 14, 11: 11},
    "run": {1: 6, 11: 19},
    "sit": {2: 8, 4: 4, 10: 13},
    "stand": {2: 4, 3: 7, 5: 9, 9: 5},
    "turn": {1: 21, 7: 4},
    "walk": {10: 13, 14: 12},
}


def table(scenes: dict[str, dict[int, int]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"clip_id": f"x/{label.title()}_{scene}_{take}", "label": label, "scene": str(scene), "take": take}
            for label, counts in scenes.items()
            for scene, count in counts.items()
            for take in range(1, count + 1)
        ]
    )


def demo_table() -> pd.DataFrame:
    return table({label: dict.fromkeys(range(1, 41), 3) for label in DEMO_CLASSES})


def folds_of(clips: pd.DataFrame, **changes: Any) -> pd.DataFrame:
    split = Split(strategy="scene", official=1, folds=1, test=0.3, validation="scene", val=0.15, promotion=0.0)
    split = replace(split, **{key: changes.pop(key) for key in vars(split).keys() & changes.keys() - {"official"}})
    options: dict[str, Any] = {"target": True, "classes": sorted(set(clips["label"])), "seed": 0}
    return assign_folds(clips, split, **(options | changes))


def scenes_in(clips: pd.DataFrame, parts: pd.Series, part: str) -> set[str]:
    return set(clips["scene"][parts == part])


def assert_every_class_in(clips: pd.DataFrame, parts: pd.Series, names: list[str]) -> None:
    assert set(parts) == set(names)
    for part in names:
        assert set(clips["label"][parts == part]) == set(clips["label"]), part


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("Walk/Walk_3_12.mp4", ("walk", "3", 12)),
        ("walk/Walk_03_1.AVI", ("walk", "3", 1)),
        ("High_five/high_five_1_2.mkv", ("high_five", "1", 2)),
    ],
)
def test_names_are_parsed(path: str, expected: tuple[str, str, int]) -> None:
    name = parse_arid(Path(path))
    assert (name.label, name.scene, name.take) == expected


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("Walk/Walk_3.mp4", "not named <Class>_<scene>_<take>"),
        ("Walk/Walk_a_1.mp4", "not named"),
        ("Walk/Walk_1_1 (copy).mp4", "not named"),
        ("Walk/Run_3_1.mp4", "the name says class 'Run', the folder 'Walk'"),
    ],
)
def test_other_names_are_refused(path: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_arid(Path(path))
    assert message in str(caught.value)
    assert Path(path).name in str(caught.value)


@pytest.mark.parametrize("seed", range(5))
def test_scene_split_of_the_demo(seed: int) -> None:
    clips = demo_table()
    parts = folds_of(clips, seed=seed)["fold_0"]
    assert_every_class_in(clips, parts, ["train", "val", "test"])
    assert {part: len(scenes_in(clips, parts, part)) for part in ("train", "val", "test")} == {
        "train": 22,
        "val": 6,
        "test": 12,
    }
    for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
        assert shared_scenes(clips, parts, first, second) == []


def test_the_split_depends_on_the_seed_and_not_on_the_order_of_rows() -> None:
    clips = demo_table()
    shuffled = clips.sample(frac=1, random_state=1)
    for strategy in ("scene", "random"):
        first = folds_of(clips, strategy=strategy)
        pd.testing.assert_frame_equal(first, folds_of(shuffled, strategy=strategy).loc[clips.index])
        assert list(folds_of(shuffled, strategy=strategy).index) == list(shuffled.index)
        assert not first.equals(folds_of(clips, strategy=strategy, seed=1))


@pytest.mark.parametrize("seed", range(5))
def test_two_way_split_of_the_real_sample(seed: int) -> None:
    clips = table(REAL_SAMPLE)
    folds = folds_of(clips, folds=2, validation="none", seed=seed)
    assert list(folds.columns) == ["fold_0", "fold_1"]
    assert ((folds["fold_0"] == "test") != (folds["fold_1"] == "test")).all()  # each clip is tested once
    for column in folds:
        assert_every_class_in(clips, folds[column], ["train", "test"])
        assert shared_scenes(clips, folds[column], "train", "test") == []


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("validation", ["scene", "take", "none"])
def test_two_way_split_of_the_demo_keeps_validation_out_of_the_test_side(seed: int, validation: str) -> None:
    clips = demo_table()
    folds = folds_of(clips, folds=2, validation=validation, seed=seed)
    names = ["train", "test"] if validation == "none" else ["train", "val", "test"]
    for column in folds:
        assert_every_class_in(clips, folds[column], names)
        assert len(scenes_in(clips, folds[column], "test")) == 20
        assert shared_scenes(clips, folds[column], "train", "test") == []
        assert shared_scenes(clips, folds[column], "val", "test") == []
        assert (shared_scenes(clips, folds[column], "train", "val") == []) == (validation != "take")
    assert ((folds["fold_0"] == "test") != (folds["fold_1"] == "test")).all()


@pytest.mark.parametrize("seed", range(20))
def test_sparse_scenes_are_spread_over_all_parts(seed: int) -> None:
    """Six classes, each in 3 to 5 of 14 scenes: few of the assignments at random have every class in every part."""
    rng = np.random.default_rng(seed)
    scenes = {
        label: dict.fromkeys(map(int, rng.choice(14, size=int(rng.integers(3, 6)), replace=False)), 4)
        for label in DEMO_CLASSES
    }
    clips = table(scenes)
    parts = folds_of(clips, test=0.34, val=0.33, seed=seed)["fold_0"]
    assert_every_class_in(clips, parts, ["train", "val", "test"])
    assert shared_scenes(clips, parts, "train", "test") == shared_scenes(clips, parts, "train", "val") == []


def test_scene_numbers_grow_a_part_where_that_is_the_only_way() -> None:
    """The wanted one scene for test cannot hold both classes; two can."""
    clips = table({"run": {1: 2, 2: 2, 3: 2}, "sit": {4: 2, 5: 2, 6: 2}})
    parts = folds_of(clips, test=0.15, val=0.15)["fold_0"]
    assert_every_class_in(clips, parts, ["train", "val", "test"])


def test_take_validation_stays_in_training_scenes() -> None:
    clips = demo_table()
    parts = folds_of(clips, validation="take")["fold_0"]
    assert_every_class_in(clips, parts, ["train", "val", "test"])
    assert shared_scenes(clips, parts, "val", "test") == shared_scenes(clips, parts, "train", "test") == []
    assert scenes_in(clips, parts, "val") <= scenes_in(clips, parts, "train")
    assert (parts == "val").sum() == round(0.15 * (parts != "test").sum())


def test_random_split_is_stratified_and_shares_scenes() -> None:
    clips = demo_table()
    parts = folds_of(clips, strategy="random", test=0.2, validation="none")["fold_0"]
    counts = clips["label"][parts == "test"].value_counts()
    assert counts.to_dict() == dict.fromkeys(DEMO_CLASSES, 24)
    assert shared_scenes(clips, parts, "train", "test")


def test_a_small_class_is_on_both_sides_of_a_random_split() -> None:
    clips = table({"run": {1: 3}, "sit": {1: 60}, "walk": {2: 2}})
    parts = folds_of(clips, strategy="random", test=0.1, validation="none")["fold_0"]
    assert_every_class_in(clips, parts, ["train", "test"])
    assert (parts == "test").sum() == 6


def test_random_split_of_the_official_list_is_the_papers() -> None:
    names = [parse_arid(Path(path)) for path in arid_1_1.paths()]
    clips = pd.DataFrame({"label": [n.label for n in names], "scene": [n.scene for n in names]})
    clips["clip_id"] = [f"arid/{n.label}_{n.scene}_{n.take}" for n in names]
    assert (len(clips), clips["scene"].nunique(), len(clips.groupby(["label", "scene"]))) == (1837, 21, 87)
    parts = folds_of(clips, strategy="random", test=0.2, validation="none")["fold_0"]
    assert parts.value_counts().to_dict() == {"train": 1470, "test": 367}
    parts = folds_of(clips)["fold_0"]
    assert_every_class_in(clips, parts, ["train", "val", "test"])
    assert 0.2 < (parts == "test").mean() < 0.4


@pytest.mark.parametrize("validation", ["none", "take", "scene"])
def test_the_official_split_is_taken_as_it_is(validation: str) -> None:
    clips = table({"run": {1: 4, 2: 4, 3: 4, 4: 4}, "sit": {1: 4, 2: 4, 3: 4, 4: 4}})
    official = clips["scene"].map({"1": "train", "2": "train", "3": "test", "4": "none"})
    parts = folds_of(clips, strategy="official", validation=validation, val=0.25, official=official)["fold_0"]
    assert (parts == "test").equals(official == "test")
    assert (parts == "none").equals(official == "none")
    assert (parts[official == "train"] == "train").all() == (validation == "none")
    if validation == "scene":
        assert shared_scenes(clips, parts, "train", "val") == []
    with pytest.raises(UserError, match="no clip of class sit in its test part"):
        folds_of(clips, strategy="official", official=official.mask(clips["label"] == "sit", "train"))


@pytest.mark.parametrize("folds", [1, 2])
@pytest.mark.parametrize("validation", ["none", "scene"])
@pytest.mark.parametrize("seed", range(5))
def test_more_takes_of_known_scenes_move_no_clip(seed: int, validation: str, folds: int) -> None:
    scenes = {label: {scene: 1 + (scene * k) % 5 for scene in range(1, 13)} for k, label in enumerate(DEMO_CLASSES)}
    before = table(scenes)
    more = {
        label: {scene: count + 7 * (scene % 3) for scene, count in counts.items()} for label, counts in scenes.items()
    }
    after = table(more)
    old = folds_of(before, seed=seed, validation=validation, folds=folds).set_index(before["clip_id"])
    new = folds_of(after, seed=seed, validation=validation, folds=folds).set_index(after["clip_id"])
    pd.testing.assert_frame_equal(new.loc[old.index], old)


def test_a_clip_that_joins_a_random_split_moves_at_most_one_of_its_class() -> None:
    before = table({label: {1: 40} for label in DEMO_CLASSES})
    after = table({label: {1: 40 + (label == "walk")} for label in DEMO_CLASSES})
    settings = {"strategy": "random", "test": 0.2, "validation": "none"}
    old = folds_of(before, **settings)["fold_0"].set_axis(before["clip_id"])
    new = folds_of(after, **settings)["fold_0"].set_axis(after["clip_id"])
    moved = old.index[new.loc[old.index] != old]
    assert len(moved) <= 1
    assert all("Walk" in str(clip_id) for clip_id in moved)


def test_an_source_domain_only_trains() -> None:
    clips = table({"wave": {1: 2}})
    folds = folds_of(clips, target=False, classes=DEMO_CLASSES, folds=2)
    assert (folds == "train").all(axis=None)
    assert list(folds.columns) == ["fold_0", "fold_1"]


@pytest.mark.parametrize(
    ("scenes", "changes", "messages"),
    [
        (REAL_SAMPLE, {}, ["class 'jump' has 2 scenes (number 8, 11)", "needs 3", "set split.folds to 2"]),
        (REAL_SAMPLE, {"folds": 2}, ["class 'jump'", "needs 4", "set split.validation to none or take"]),
        (
            {"run": {1: 5, 2: 5}, "sit": {2: 9}},
            {"folds": 2, "validation": "none"},
            ["class 'sit' has 1 scene (number 2)", "needs 2", "split.strategy to random"],
        ),
        (
            {"run": {1: 5, 2: 5}, "sit": {1: 9, 2: 9}},
            {"classes": ["run", "sit", "wave"]},
            ["no usable clip of class wave", "run, sit", "data.classes"],
        ),
        (
            {"run": {1: 1}, "sit": {1: 9}},
            {"strategy": "random", "validation": "none"},
            ["too few clips", "class 'run' has 1", "split.test 0.3"],
        ),
        (
            {"run": {1: 3}, "sit": {1: 3}},
            {"strategy": "random", "validation": "none", "test": 0.1},
            ["too few clips", "2 classes", "change split.test"],
        ),
        (
            {label: {1: 2, 2: 2, 3: 2} for label in ("run", "sit")},
            {"test": 0.6, "val": 0.4},
            ["too few scenes (3)", "split.test"],
        ),
        (
            {"run": {1: 2, 2: 2}, "sit": {2: 2, 3: 2}, "turn": {1: 2, 3: 2}},
            {"folds": 2, "validation": "none"},
            ["1, 2, 3", "every class", "set split.strategy to random"],
        ),
    ],
)
def test_splits_that_cannot_be_name_the_class_and_the_way_out(
    scenes: dict[str, dict[int, int]], changes: dict[str, Any], messages: list[str]
) -> None:
    with pytest.raises(UserError) as caught:
        folds_of(table(scenes), **changes)
    for message in messages:
        assert message in str(caught.value)


@pytest.mark.parametrize("strategy", ["scene", "random", "official"])
def test_clips_kept_for_promotions_are_in_no_other_part(strategy: str) -> None:
    clips = demo_table()
    official = pd.Series(np.where(clips["scene"].astype(int) > 30, "test", "train"), index=clips.index)
    given = {"official": official} if strategy == "official" else {}
    parts = folds_of(clips, strategy=strategy, promotion=0.2, **given)["fold_0"]
    assert_every_class_in(clips, parts, ["train", "val", "test", "promotion"])
    share = (parts == "promotion").mean()
    assert share == pytest.approx(0.15 if strategy == "official" else 0.2, abs=0.02)
    if strategy != "random":
        held = scenes_in(clips, parts, "promotion")
        assert not held & (scenes_in(clips, parts, "train") | scenes_in(clips, parts, "val"))
        assert not held & scenes_in(clips, parts, "test")
    if strategy == "official":
        assert (parts == "test").sum() == (official == "test").sum()
    both = folds_of(clips, promotion=0.2, folds=2)
    assert ((both["fold_0"] == "promotion") == (both["fold_1"] == "promotion")).all()


def test_other_validation_scenes_trained_before() -> None:
    clips = demo_table().assign(dataset="demo")
    clips = clips.join(folds_of(clips))
    moved = other_validation(clips, seed=0)
    assert moved is not None
    assert scenes_in(moved, moved["fold_0"], "val") <= scenes_in(clips, clips["fold_0"], "train")
    assert scenes_in(clips, clips["fold_0"], "val") <= scenes_in(moved, moved["fold_0"], "train")
    assert (moved["fold_0"].value_counts() == clips["fold_0"].value_counts()).all()
    assert ((moved["fold_0"] == "test") == (clips["fold_0"] == "test")).all()
    source = pd.concat([clips, demo_table().assign(dataset="other", fold_0="train")], ignore_index=True)
    again = other_validation(source, seed=0)
    assert again is not None and (again["fold_0"][source["dataset"] == "other"] == "train").all()


def test_no_other_validation_scenes_where_there_are_few_or_none() -> None:
    clips = demo_table().assign(dataset="demo")
    takes = clips.join(folds_of(clips, validation="take"))
    assert other_validation(takes, seed=0) is None
    none = clips.join(folds_of(clips, validation="none"))
    assert other_validation(none, seed=0) is None
    few = clips[clips["scene"].astype(int) <= 4].reset_index(drop=True)
    few = few.assign(fold_0=few["scene"].map({"1": "train", "2": "val", "3": "test", "4": "test"}))
    assert other_validation(few, seed=0) is None
