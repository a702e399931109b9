"""The stage `leakage`: the leakage of the split in use beside that of the other strategies."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darkaction.core.errors import UserError
from darkaction.core.folders import new_folder, write_whole
from darkaction.core.paths import Paths
from darkaction.data.index import OK, fold_columns, read_index, read_mean_frames, require_settings
from darkaction.data.leakage import Leakage, measure_leakage
from darkaction.data.settings import Split
from darkaction.data.splits import assign_folds
from darkaction.evaluation import plots
from darkaction.evaluation.settings import Evaluate
from darkaction.evaluation.statistics import Interval, accuracy_interval


def report_leakage(
    paths: Paths,
    *,
    made_with: Mapping[str, Mapping[str, Any]],
    classes: Sequence[str],
    split: Split,
    near_duplicate: float,
    evaluate: Evaluate,
    seed: int,
) -> dict[str, dict[str, Any]]:
    """Measures every split and writes the report with its pictures.

    Args:
        paths: of the indexes and the report.
        made_with: {dataset: what its index must have been made with}; the first dataset is the target.
        classes: canonical names.
        split: the section `split` of the settings.
        near_duplicate: fraction of hash bits in which a near duplicate may differ.
        evaluate: the section `evaluate`, for the interval of the baseline.
        seed: of splits and interval.

    Returns:
        {strategy: figures}, the strategy in use first.

    Raises:
        UserError: when an index is missing or was made with other settings.
    """
    clips, means_NHWC = _read_clips(paths, made_with)
    found = {
        strategy: measure_leakage(clips, means_NHWC, folds, near_duplicate=near_duplicate)
        for strategy, folds in _splits(clips, classes=classes, split=split, seed=seed).items()
    }
    baselines = {strategy: _baseline(leakage, evaluate, seed) for strategy, leakage in found.items()}
    report = {strategy: _figures(leakage, baselines[strategy]) for strategy, leakage in found.items()}
    used, chance = split.strategy, 1 / len(classes)
    with new_folder(paths.write(Paths.LEAKAGE)) as folder:
        found[used].pairs.to_csv(folder / "near_duplicates.csv", index=False, float_format="%.4f")
        plots.leakage(report, baselines, chance=chance, used=used, path=folder / "leakage.png")
        images = dict(zip(clips["clip_id"], means_NHWC, strict=True))
        plots.nearest_rooms(found[used].mean_frame, images, path=folder / "nearest_rooms.png")
    content = json.dumps({"used": used, "chance": round(chance, 6), **report}, indent=2) + "\n"
    write_whole(paths.write(Paths.LEAKAGE_METRICS), content)
    return report


def describe(report: Mapping[str, Mapping[str, Any]], *, used: str) -> list[str]:
    """One line per split."""
    lines = []
    for strategy, row in report.items():
        baseline = row["background"]
        lines.append(
            f"split {strategy}{' (in use)' if strategy == used else ''}: of {row['test_clips']} test clips "
            f"{row['exact_duplicates']} have an exact and {row['near_duplicates']} a near duplicate in training; "
            f"{row['shared_scenes']} scenes on both sides; mean-frame 1-NN baseline {baseline['accuracy']:.1%} top-1 "
            f"[{baseline['low']:.1%}, {baseline['high']:.1%}]"
        )
    return lines


def _read_clips(paths: Paths, made_with: Mapping[str, Mapping[str, Any]]) -> tuple[pd.DataFrame, NDArray[np.floating]]:
    """The usable clips of all datasets with the folds in use, and their mean frames."""
    tables, means = [], []
    for dataset, settings in made_with.items():
        folder = paths.read(Paths.index(dataset))
        index = read_index(folder)
        require_settings(folder, settings)
        usable = (index["status"] == OK).to_numpy()
        tables.append(index[usable])
        means.append(read_mean_frames(folder, index)[usable])
    return pd.concat(tables, ignore_index=True), np.concatenate(means)


def _splits(clips: pd.DataFrame, *, classes: Sequence[str], split: Split, seed: int) -> dict[str, pd.DataFrame]:
    """The split in use, and the target clips split by scene and at random, where they can be; all others train."""
    result: dict[str, pd.DataFrame] = {split.strategy: clips[fold_columns(clips)]}
    for strategy in ("scene", "random"):
        if strategy in result:
            continue
        try:
            parts = [
                assign_folds(
                    rows, replace(split, strategy=strategy), target=domain == "target", classes=classes, seed=seed
                )
                for domain, rows in clips.groupby("domain")
            ]
        except UserError as error:
            print(f"split '{strategy}' is not shown beside it: {error}")
            continue
        result[strategy] = pd.concat(parts).loc[clips.index]
    return result


def _baseline(leakage: Leakage, evaluate: Evaluate, seed: int) -> Interval:
    """Accuracy of the mean-frame 1-NN baseline, with an interval over scenes."""
    table = leakage.mean_frame
    return accuracy_interval(
        (table["label"] == table["predicted"]).to_numpy(),
        table["scene"].to_numpy(),
        bootstrap_samples=evaluate.bootstrap_samples,
        confidence=evaluate.confidence,
        seed=seed,
    )


def _figures(leakage: Leakage, baseline: Interval) -> dict[str, Any]:
    """The figures of one split."""
    return {
        "test_clips": leakage.test_clips,
        "shared_scenes": len(leakage.shared_scenes),
        "exact_duplicates": leakage.exact,
        "near_duplicates": leakage.near,
        "background": {
            "accuracy": round(baseline.mean, 6),
            "low": round(baseline.low, 6),
            "high": round(baseline.high, 6),
        },
    }
