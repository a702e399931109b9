"""Leakage of a split: copies and scenes on both sides, and the mean-frame 1-NN baseline.

Legend of names: N clips, B bits of the perceptual hashes, F test clips, R training clips.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darkaction.data.splits import scene_order

CHUNK = 512
"""Test clips compared with all training clips at a time."""


@dataclass(frozen=True, kw_only=True)
class Leakage:
    """The leakage of one split. All counts are of test clips of the target and pool the folds."""

    test_clips: int
    shared_scenes: list[str]
    """Scenes of the target that are on both sides of one fold."""
    exact: int
    """Test clips of which a training clip has the same bytes."""
    near: int
    """Test clips of which a training clip has nearly the same hashes."""
    pairs: pd.DataFrame
    """One row per near pair: test, train (clip ids), distance, fold; nearest first."""
    mean_frame: pd.DataFrame
    """The mean-frame 1-NN baseline, one row per test clip: clip_id, scene, label, predicted (the class of the training
    clip with the nearest mean frame), nearest (its clip id)."""


def measure_leakage(
    clips: pd.DataFrame, means_NHWC: NDArray[np.floating], folds: pd.DataFrame, *, near_duplicate: float
) -> Leakage:
    """Compares the test clips of each fold with its training clips.

    Args:
        clips: usable clips of all datasets: clip_id, domain, label, scene, sha256, phash.
        means_NHWC: the mean frame (average over time) of each.
        folds: train | val | test | none of each clip, a column per fold, under the rows' index.
        near_duplicate: fraction of hash bits in which a near duplicate may differ.
    """
    bits_NB = hash_bits(clips["phash"])
    means_ND = _standardised(means_NHWC)
    exact: set[str] = set()
    pairs: list[pd.DataFrame] = []
    mean_frame: list[pd.DataFrame] = []
    shared: set[str] = set()
    for column in folds.columns:
        test, train = ((folds[column] == part).to_numpy() for part in ("test", "train"))
        copies = clips["sha256"].isin(clips["sha256"][train]).to_numpy()
        exact |= set(clips["clip_id"][test & copies])
        pairs.append(near_pairs(clips, bits_NB, test, train, near_duplicate).assign(fold=column))
        mean_frame.append(_nearest_mean_frame(clips, means_ND, test, train))
        own = (clips["domain"] == "target").to_numpy()
        shared |= set(clips["scene"][test]) & set(clips["scene"][train & own])
    table = pd.concat(pairs, ignore_index=True).sort_values(["distance", "test", "train"], ignore_index=True)
    return Leakage(
        test_clips=int((folds == "test").to_numpy().sum()),
        shared_scenes=sorted(shared, key=scene_order),
        exact=len(exact),
        near=table["test"].nunique(),
        pairs=table,
        mean_frame=pd.concat(mean_frame, ignore_index=True),
    )


def hash_bits(hashes: Sequence[str] | pd.Series) -> NDArray[np.float32]:
    """Hexadecimal hashes as -1 and +1, (N, B), so that a product of matrices counts agreeing bits.

    Raises:
        ValueError: when hashes differ in length or are not hexadecimal.
    """
    bytes_NX = np.array([list(bytes.fromhex(text)) for text in hashes], np.uint8)
    bits_NB: NDArray[np.float32] = np.unpackbits(bytes_NX, axis=1).astype(np.float32) * 2 - 1
    return bits_NB


def near_pairs(
    clips: pd.DataFrame,
    bits_NB: NDArray[np.float32],
    test: NDArray[np.bool_],
    train: NDArray[np.bool_],
    near_duplicate: float,
) -> pd.DataFrame:
    """Pairs of clips whose hashes differ in at most that fraction of bits, as columns test, train, distance."""
    ids = clips["clip_id"].to_numpy(object)
    rows, columns, distances = [], [], []
    for chosen_F, product_FR in _products(bits_NB, test, train):
        distance_FR = (1 - product_FR / bits_NB.shape[1]) / 2
        found = np.nonzero(distance_FR <= near_duplicate)
        rows.append(ids[chosen_F][found[0]])
        columns.append(ids[train][found[1]])
        distances.append(distance_FR[found])
    return pd.DataFrame(
        {
            "test": np.concatenate([*rows, np.array([], object)]),
            "train": np.concatenate([*columns, np.array([], object)]),
            "distance": np.concatenate([*distances, np.array([], np.float32)]).astype(float),
        }
    )


def _nearest_mean_frame(
    clips: pd.DataFrame, means_ND: NDArray[np.float32], test: NDArray[np.bool_], train: NDArray[np.bool_]
) -> pd.DataFrame:
    """The class of the training clip with the most similar mean frame, for each test clip."""
    nearest = [np.flatnonzero(train)[product_FR.argmax(1)] for _, product_FR in _products(means_ND, test, train)]
    nearest_F = np.concatenate([*nearest, np.array([], int)])
    labels = clips["label"].to_numpy(object)
    return pd.DataFrame(
        {
            "clip_id": clips["clip_id"].to_numpy(object)[test],
            "scene": clips["scene"].to_numpy(object)[test],
            "label": labels[test],
            "predicted": labels[nearest_F],
            "nearest": clips["clip_id"].to_numpy(object)[nearest_F],
        }
    )


def _products(
    values_NX: NDArray[np.float32], test: NDArray[np.bool_], train: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Inner products of test with training rows, CHUNK test rows at a time, so that memory stays bounded."""
    train_RX = values_NX[train]
    positions_F = np.flatnonzero(test)
    for first in range(0, len(positions_F), CHUNK):
        chosen_F = positions_F[first : first + CHUNK]
        yield chosen_F, values_NX[chosen_F] @ train_RX.T


def _standardised(means_NHWC: NDArray[np.floating]) -> NDArray[np.float32]:
    """Pictures as rows of mean 0 and length 1, so that products are correlations and brightness does not count."""
    rows_ND = means_NHWC.reshape(len(means_NHWC), -1).astype(np.float32)
    rows_ND = rows_ND - rows_ND.mean(1, keepdims=True)
    length_N1 = np.linalg.norm(rows_ND, axis=1, keepdims=True)
    result_ND: NDArray[np.float32] = rows_ND / np.maximum(length_N1, 1e-12)
    return result_ND
