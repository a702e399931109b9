"""Reports what each split gives away, side by side: data/index -> reports/leakage.json and reports/leakage/.

For the split in use and for the other strategies that the clips allow: clips and near copies on both sides, scenes on
both sides, and how well the nearest time-averaged frame, which is mostly the room, names the action.
"""

import json
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darkaction.core import cli
from darkaction.core.errors import UserError
from darkaction.core.folders import new_folder
from darkaction.core.paths import Paths
from darkaction.data.index import OK, fold_columns, read_backgrounds, read_index, require_settings
from darkaction.data.leakage import Leakage, measure_leakage
from darkaction.data.splits import assign_folds
from darkaction.evaluation import plots
from darkaction.evaluation.statistics import Interval, accuracy_interval
from darkaction.jobs.identity import index_settings
from darkaction.params import Params, settings_of


def main() -> None:
    arguments = cli.stage_arguments(__doc__)
    params, paths = settings_of(arguments)
    clips, backgrounds_NHWC = read_clips(params, paths)
    found = {
        strategy: measure_leakage(clips, backgrounds_NHWC, folds, near_duplicate=params.prepare.near_duplicate)
        for strategy, folds in splits(params, clips).items()
    }
    rooms = {strategy: room_interval(params, leakage) for strategy, leakage in found.items()}
    report: dict[str, Any] = {strategy: describe(leakage, rooms[strategy]) for strategy, leakage in found.items()}
    used = params.split.strategy
    with new_folder(paths.write(Paths.LEAKAGE)) as folder:
        found[used].pairs.to_csv(folder / "near_duplicates.csv", index=False, float_format="%.4f")
        plots.leakage(report, rooms, chance=1 / len(params.data.classes), used=used, path=folder / "leakage.png")
        images = dict(zip(clips["clip_id"], backgrounds_NHWC, strict=True))
        plots.nearest_rooms(found[used].background, images, path=folder / "nearest_rooms.png")
    content = json.dumps({"used": used, "chance": round(1 / len(params.data.classes), 6), **report}, indent=2) + "\n"
    paths.write(Paths.LEAKAGE_METRICS).write_text(content)
    print_report(report, used)


def read_clips(params: Params, paths: Paths) -> tuple[pd.DataFrame, NDArray[np.floating]]:
    """The usable clips of all datasets with the folds in use, and their time-averaged frames."""
    tables, pictures = [], []
    for dataset in params.datasets:
        folder = paths.read(Paths.index(dataset))
        index = read_index(folder)
        require_settings(folder, index_settings(params)[dataset])
        usable = (index["status"] == OK).to_numpy()
        tables.append(index[usable])
        pictures.append(read_backgrounds(folder, index)[usable])
    return pd.concat(tables, ignore_index=True), np.concatenate(pictures)


def splits(params: Params, clips: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The split in use, and the clips split by scene and at random, where they can be. Auxiliary clips always train."""
    result: dict[str, pd.DataFrame] = {params.split.strategy: clips[fold_columns(clips)]}
    for strategy in ("scene", "random"):
        if strategy in result:
            continue
        try:
            result[strategy] = other_split(params, clips, strategy)
        except UserError as error:
            print(f"split '{strategy}' is not shown beside it: {error}")
    return result


def other_split(params: Params, clips: pd.DataFrame, strategy: str) -> pd.DataFrame:
    """The clips of the target split by another strategy, the rest as training clips."""
    parts = [
        assign_folds(
            rows,
            target=domain == "target",
            classes=params.data.classes,
            strategy=strategy,
            folds=params.split.folds,
            test=params.split.test,
            validation=params.split.validation,
            val=params.split.val,
            seed=params.seed,
        )
        for domain, rows in clips.groupby("domain")
    ]
    return pd.concat(parts).loc[clips.index]


def room_interval(params: Params, leakage: Leakage) -> Interval:
    """Accuracy of the nearest time-averaged frame, with an interval over scenes."""
    return accuracy_interval(
        (leakage.background["label"] == leakage.background["predicted"]).to_numpy(),
        leakage.background["scene"].to_numpy(),
        bootstrap_samples=params.evaluate.bootstrap_samples,
        confidence=params.evaluate.confidence,
        seed=params.seed,
    )


def describe(leakage: Leakage, room: Interval) -> dict[str, Any]:
    """The figures of one split."""
    return {
        "test_clips": leakage.test_clips,
        "shared_scenes": len(leakage.shared_scenes),
        "exact_duplicates": leakage.exact,
        "near_duplicates": leakage.near,
        "background": {
            "accuracy": round(room.mean, 6),
            "low": round(room.low, 6),
            "high": round(room.high, 6),
        },
    }


def print_report(report: dict[str, Any], used: str) -> None:
    """One line per split."""
    for strategy, row in report.items():
        room = row["background"]
        print(
            f"split {strategy}{' (in use)' if strategy == used else ''}: of {row['test_clips']} test clips "
            f"{row['exact_duplicates']} have an exact and {row['near_duplicates']} a near duplicate in training; "
            f"{row['shared_scenes']} scenes on both sides; the averaged frame alone names {room['accuracy']:.1%} "
            f"[{room['low']:.1%}, {room['high']:.1%}] of the actions"
        )


if __name__ == "__main__":
    cli.run(main)
