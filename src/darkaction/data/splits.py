"""Which clips train, validate and test. Pure functions on a table of clips: no file is opened here.

A scene is its NUMBER, across classes: two classes can be filmed in the same room, so only the number is a safe group.
The same clips and settings give the same split on any machine and in any order of rows. Clips that join later move
none of the others: not at all where they join known scenes of their class or the split is official, and where clips are
picked at random as few as the exact sizes of the parts allow.

Legend of names: S scenes, P parts, K classes.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darkaction.core.errors import UserError
from darkaction.data.settings import Split

Mask = NDArray[np.bool_]

ATTEMPTS = 100
"""Random assignments of scenes to parts among which the best balanced one is taken."""

REPAIRS = 100
"""Steps by which one attempt is mended when a class is missing from a part."""


def assign_folds(
    clips: pd.DataFrame,
    split: Split,
    *,
    target: bool,
    classes: Sequence[str],
    seed: int,
    official: pd.Series | None = None,
) -> pd.DataFrame:
    """Assigns every clip to train, val, test or promotion.

    Args:
        clips: columns clip_id (unique), label, scene; usable clips only.
        split: the section of the settings.
        target: False for a source domain, whose clips all train.
        classes: the classes that must appear in every part.
        seed: of the choice.
        official: for strategy official, the part (train | test | none) of each clip, under the rows' index.

    Returns:
        Columns fold_0 [, fold_1] with train | val | test | promotion, or none for a clip that the official split leaves
        unused, in the rows' order and under the rows' index.

    Raises:
        UserError: when a class has too few scenes or clips; it names the class and the setting to use instead.
    """
    columns = [f"fold_{k}" for k in range(split.folds)]
    if not target:
        return pd.DataFrame("train", index=clips.index, columns=columns, dtype=object)
    ordered = clips.sort_values("clip_id")
    _require_classes(ordered, classes)
    held = _promotion_side(ordered, official, split, seed)
    result = pd.DataFrame("promotion", index=ordered.index, columns=columns, dtype=object)
    ordered = ordered[~held]
    if split.strategy == "official":
        assert official is not None and split.folds == 1
        result.loc[ordered.index, "fold_0"] = _official_parts(ordered, official, split, seed)
        return result.loc[clips.index]
    if split.strategy == "scene":
        _require_scenes(ordered, split)
    choose = _scene_sides if split.strategy == split.validation == "scene" else _sides
    sides = choose(ordered, split, seed)
    for column, (in_test, in_val) in zip(columns, sides, strict=True):
        result.loc[ordered.index, column] = np.where(in_test, "test", np.where(in_val, "val", "train"))
        _check(clips.loc[result.index], result[column], split)
    return result.loc[clips.index]


def _promotion_side(clips: pd.DataFrame, official: pd.Series | None, split: Split, seed: int) -> Mask:
    """Which rows are kept for comparisons of finished models: whole scenes (of the official split's training part), but
    with strategy random."""
    held = np.zeros(len(clips), dtype=np.bool_)
    if split.promotion == 0:
        return held
    if split.strategy == "random":
        return _pick_clips(clips, split.promotion, seed=seed, setting="split.promotion")
    able = np.ones(len(clips), dtype=np.bool_)
    if official is not None:
        able = (official.loc[clips.index] == "train").to_numpy()
    scenes = clips["scene"][able].nunique()
    taken = max(1, round(split.promotion * scenes))
    held[able] = _spread_scenes(clips[able], [scenes - taken, taken], seed=seed) == 1
    return held


def _official_parts(clips: pd.DataFrame, official: pd.Series, split: Split, seed: int) -> pd.Series:
    """The published parts, with validation clips taken out of the training part."""
    parts = official.loc[clips.index].astype(object)
    training = (parts == "train").to_numpy()
    for part in ("train", "test"):
        missing = sorted(set(clips["label"]) - set(clips["label"][parts == part]))
        if missing:
            raise UserError(f"the official split has no clip of class {', '.join(missing)} in its {part} part")
    return parts.mask(_validation_side(clips, training, split, seed), "val")


def shared_scenes(clips: pd.DataFrame, parts: pd.Series, first: str, second: str) -> list[str]:
    """Scene numbers that have clips in both parts."""
    return sorted(set(clips["scene"][parts == first]) & set(clips["scene"][parts == second]))


def other_validation(clips: pd.DataFrame, *, seed: int) -> pd.DataFrame | None:
    """The clips with as many other scenes for validation in fold 0: scenes that trained validate, and those that
    validated train. None where validation is not of whole scenes, or fewer scenes train than twice as many.

    Args:
        clips: columns clip_id, dataset, label, scene, fold_0; only the dataset that has validation clips changes.
    """
    validates = clips["fold_0"] == "val"
    own = clips["dataset"].isin(clips["dataset"][validates])
    trains = own & (clips["fold_0"] == "train")
    if shared_scenes(clips[own], clips["fold_0"][own], "train", "val"):
        return None
    training = clips[trains].sort_values("clip_id")
    validated, scenes = clips["scene"][validates].nunique(), training["scene"].nunique()
    if validated == 0 or scenes < 2 * validated:
        return None
    try:
        moved = _spread_scenes(training, [scenes - validated, validated], seed=seed) == 1
    except UserError:  # no way to have every class on both sides
        return None
    parts = clips["fold_0"].mask(validates, "train")
    parts.loc[training.index[moved]] = "val"
    return clips.assign(fold_0=parts)


def _sides(clips: pd.DataFrame, split: Split, seed: int) -> list[tuple[Mask, Mask]]:
    """For each fold, which rows test and which validate."""
    fraction = split.test if split.folds == 1 else 0.5
    if split.strategy == "scene":
        scenes = clips["scene"].nunique()
        tested = max(1, round(fraction * scenes))
        first = _spread_scenes(clips, [scenes - tested, tested], seed=seed) == 1
    else:
        first = _pick_clips(clips, fraction, seed=seed, setting="split.test")
    return [(in_test, _validation_side(clips, ~in_test, split, seed)) for in_test in (first, ~first)[: split.folds]]


def _scene_sides(clips: pd.DataFrame, split: Split, seed: int) -> list[tuple[Mask, Mask]]:
    """As `_sides`, where test and validation are both whole scenes: they are chosen together, so that neither takes
    the scenes the other needs.
    """
    scenes = clips["scene"].nunique()
    validated = max(1, round(split.val * scenes))
    if split.folds == 1:
        tested = max(1, round(split.test * scenes))
        parts = _spread_scenes(clips, [scenes - validated - tested, validated, tested], seed=seed)
        return [(parts == 2, parts == 1)]
    half = scenes // 2  # each half has scenes to train and scenes to validate, for when the other one is tested
    sizes = [half - validated, validated, scenes - half - validated, validated]
    parts = _spread_scenes(clips, sizes, seed=seed)
    return [(parts <= 1, parts == 3), (parts >= 2, parts == 1)]


def _validation_side(clips: pd.DataFrame, training: Mask, split: Split, seed: int) -> Mask:
    """Which of the training rows validate instead."""
    result = np.zeros(len(clips), dtype=np.bool_)
    if split.validation == "take":
        result[training] = _pick_clips(clips[training], split.val, seed=seed, setting="split.val")
    elif split.validation == "scene":  # with strategy random these scenes have clips in the test part too
        scenes = clips["scene"][training].nunique()
        validated = max(1, round(split.val * scenes))
        result[training] = _spread_scenes(clips[training], [scenes - validated, validated], seed=seed) == 1
    return result


def _pick_clips(clips: pd.DataFrame, fraction: float, *, seed: int, setting: str) -> Mask:
    """Which rows belong to a random sample of round(fraction * rows) rows, each class in proportion to its size
    (largest remainders) and on both sides.
    """
    sizes = clips["label"].value_counts().sort_index()
    count = round(fraction * len(clips))
    problem = f"too few clips to take {count} of {len(clips)} for {setting} {fraction}"
    if sizes.min() < 2:
        raise UserError(f"{problem}: class '{sizes.idxmin()}' has {sizes.min()}; add clips or leave the class out")
    if not len(sizes) <= count <= len(clips) - len(sizes):
        raise UserError(f"{problem}: each side needs one of each of the {len(sizes)} classes; change {setting}")
    sizes_K = sizes.to_numpy()
    taken_K = np.ones_like(sizes_K)
    for _ in range(count - len(sizes)):  # to the class that is furthest below its share and has one to give
        shortfall_K = np.where(taken_K < sizes_K - 1, count * sizes_K / len(clips) - taken_K, -np.inf)
        taken_K[np.argmax(shortfall_K)] += 1
    # By a rank of its own for each clip, so that a clip that joins moves no more than the counts ask for.
    ranks = np.array([_rank(seed, setting, clip_id) for clip_id in clips["clip_id"]])
    mask = np.zeros(len(clips), dtype=np.bool_)
    for label, taken in zip(sizes.index, taken_K, strict=True):
        rows = np.flatnonzero(clips["label"] == label)
        mask[rows[np.argsort(ranks[rows])][:taken]] = True
    return mask


def _rank(seed: int, setting: str, clip_id: str) -> int:
    """A number that depends on the clip alone and is as good as random."""
    return int.from_bytes(hashlib.sha256(f"{seed} {setting} {clip_id}".encode()).digest()[:7])


def _spread_scenes(clips: pd.DataFrame, sizes: Sequence[int], *, seed: int) -> NDArray[np.int64]:
    """The part (0..P-1) of each row: whole scenes, every class in every part, about `sizes` scenes in each.

    Each attempt starts at random and is mended while a class lacks a part; the best one wins: by the number of lacking
    (part, class) pairs, then by distance from the sizes, then by balance.
    """
    if min(sizes) < 1:
        raise UserError(
            f"too few scenes ({sum(sizes)}) for parts of {', '.join(map(str, sizes))} scenes: change split.test, "
            f"split.val and split.promotion, or set split.validation to take or none"
        )
    # Whether a scene has a class, not how many clips of it: more takes of what is there must not move a scene.
    table = pd.crosstab(clips["scene"], clips["label"]).clip(upper=1)
    table = table.loc[sorted(table.index, key=scene_order)]
    has_SK = table.to_numpy()
    rng = np.random.default_rng([seed, *sizes])
    best_cost, best_S = (has_SK.size + 1, 0, 0.0), np.zeros(len(table), dtype=np.int64)
    for _ in range(ATTEMPTS):
        part_S = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
        _mend(part_S, has_SK, len(sizes), rng)
        cost = _cost(part_S, has_SK, sizes)
        if cost < best_cost:
            best_cost, best_S = cost, part_S
    if best_cost[0]:
        lacking = table.columns[np.flatnonzero(_lacking(best_S, has_SK, len(sizes)).any(axis=0))]
        advice = "split.strategy to random" if len(sizes) == 2 else "split.validation to take or none"
        raise UserError(
            f"no way found to part the scenes {', '.join(map(str, table.index))} in {len(sizes)} so that every class "
            f"is in every part; it fails for {', '.join(map(str, lacking))}: leave that out of data.classes or set "
            f"{advice}"
        )
    part_of = dict(zip(table.index, best_S.tolist(), strict=True))
    return np.array([part_of[scene] for scene in clips["scene"]], dtype=np.int64)


def _counts(part_S: NDArray[np.int64], has_SK: NDArray[np.int64], parts: int) -> NDArray[np.int64]:
    """Scenes of each class in each part, (P, K)."""
    member_PS = (part_S == np.arange(parts)[:, None]).astype(np.int64)
    scenes_PK: NDArray[np.int64] = member_PS @ has_SK
    return scenes_PK


def _lacking(part_S: NDArray[np.int64], has_SK: NDArray[np.int64], parts: int) -> NDArray[np.bool_]:
    """Whether a part has no scene of a class, (P, K)."""
    lacking_PK: Mask = _counts(part_S, has_SK, parts) == 0
    return lacking_PK


def _mend(part_S: NDArray[np.int64], has_SK: NDArray[np.int64], parts: int, rng: np.random.Generator) -> None:
    """Moves scenes of a class to a part that lacks it, half of the time in exchange for another scene. In place."""
    for _ in range(REPAIRS):
        lacking = np.argwhere(_lacking(part_S, has_SK, parts))
        if len(lacking) == 0:
            return
        part, label = lacking[rng.integers(len(lacking))]
        scene = rng.choice(np.flatnonzero(has_SK[:, label] > 0))
        others = np.flatnonzero(part_S == part)
        if len(others) and rng.random() < 0.5:
            part_S[rng.choice(others)] = part_S[scene]
        part_S[scene] = part


def _cost(part_S: NDArray[np.int64], has_SK: NDArray[np.int64], sizes: Sequence[int]) -> tuple[int, int, float]:
    """Lacking (part, class) pairs; scenes too many or too few; squared distance of each class's share of its scenes in
    each part from the part's share of scenes.
    """
    scenes_PK = _counts(part_S, has_SK, len(sizes))
    scenes_P = np.bincount(part_S, minlength=len(sizes))
    imbalance_PK = scenes_PK / has_SK.sum(axis=0) - (scenes_P / scenes_P.sum())[:, None]
    misplaced = int(np.abs(scenes_P - np.asarray(sizes)).sum())
    return int((scenes_PK == 0).sum()), misplaced, float(np.square(imbalance_PK).sum().round(9))


def scene_order(scene: str) -> tuple[int, str]:
    """Numbers by value, then names by letter."""
    return (int(scene), "") if scene.isdigit() else (2**63, scene)


def _require_classes(clips: pd.DataFrame, classes: Sequence[str]) -> None:
    missing = [label for label in classes if label not in set(clips["label"])]
    if missing:
        raise UserError(
            f"no usable clip of class {', '.join(missing)}; the classes here are "
            f"{', '.join(sorted(set(clips['label']))) or 'none'}: set data.classes to them or add clips"
        )


def _require_scenes(clips: pd.DataFrame, split: Split) -> None:
    """Every part that is made of whole scenes needs a scene of every class."""
    needed = 2 if split.validation != "scene" else 3 if split.folds == 1 else 4
    for label, rows in clips.groupby("label"):
        scenes = sorted(set(rows["scene"]), key=scene_order)
        if len(scenes) >= needed:
            continue
        if len(scenes) < 2:
            advice = "set split.strategy to random, or leave the class out of data.classes"
        elif split.folds == 1:
            advice = "set split.folds to 2 with split.validation none, or split.validation to take"
        else:
            advice = "set split.validation to none or take"
        raise UserError(
            f"class '{label}' has {len(scenes)} scene{'s' * (len(scenes) != 1)} (number {', '.join(scenes)}); "
            f"split.folds {split.folds} with split.validation {split.validation} needs {needed}: {advice}"
        )


def _check(clips: pd.DataFrame, parts: pd.Series, split: Split) -> None:
    """The promise of this module, checked on every result: no scene on two sides."""
    pairs = [("train", "test"), ("val", "test"), ("test", "promotion")] if split.strategy == "scene" else []
    if split.strategy != "random":
        pairs += [("train", "promotion"), ("val", "promotion")]
    if split.validation == "scene":
        pairs.append(("train", "val"))
    for first, second in pairs:
        shared = shared_scenes(clips, parts, first, second)
        if shared:
            raise AssertionError(f"scenes {', '.join(shared)} are both in {first} and in {second}")
