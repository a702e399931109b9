"""The stage `evaluate`: scores of the recognizer on the test clips, as files, as pictures and in the MLflow run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darkaction.core.errors import UserError
from darkaction.core.folders import new_folder, write_whole
from darkaction.core.model_folder import WEIGHTS, members, place
from darkaction.core.paths import Paths
from darkaction.data.clips import ClipStore
from darkaction.data.index import fold_columns
from darkaction.data.video import iter_frames
from darkaction.evaluation import metrics, plots
from darkaction.evaluation.sample_plot import Sample, sample_positions, samples
from darkaction.evaluation.statistics import with_interval
from darkaction.jobs.identity import index_settings
from darkaction.jobs.map_tasks import mapper_for
from darkaction.jobs.recognizer.scoring import Predictions, class_table, predict_parts, rounded, scores, table
from darkaction.params import Params
from darkaction.tracking.runs import attach_run
from darkaction.tracking.store import check_store
from darkaction.training import data

HEADLINE = {"test": ("accuracy", "low", "high", "macro_f1"), "shuffled": ("accuracy",), "validation": ("accuracy",)}
"""The figures of metrics.json."""

PROMOTION = "promotion_predictions.csv"
"""Predictions for the clips kept for src/promote.py. No figure is made of them: whoever chooses by it uses them up."""

DIGITS = 4
"""Behind the point of the headline figures. All are made of counts of right and wrong clips, so the next digits hold no
more than rounding errors of sums and quantiles, in which processors differ; one clip of 1,000 shows in the third."""

LUMA_GROUPS = 4
RIGHT_SAMPLES, WRONG_SAMPLES = 2, 6
"""Clips in plots/samples.png."""


def evaluate(params: Params, paths: Paths, *, ray_address: str | None = None) -> str:
    """Writes metrics, both tables of predictions and plots, and records them in the run of the training.

    Args:
        ray_address: of the cluster that predicts; None: this machine does.

    Returns:
        The result in one line.

    Raises:
        UserError: when the weights were trained with other settings or another split, or there is no test clip.
    """
    check_store(paths)
    clips = data.usable_clips(paths, index_settings(params))
    data.require_trained_on(paths.read(Paths.RECOGNIZER), clips)
    if not any((clips[column] == "test").any() for column in fold_columns(clips)):
        raise UserError(f"{Paths.index(params.datasets[0])}: no clip is marked test; run prepare again")
    stores = [paths.read(Paths.clips(name)) for name in params.datasets]
    mapper = (
        None
        if ray_address is None
        else mapper_for(
            ray_address, gpu=1, folders=[paths.write(Paths.CHECKPOINTS).parent, paths.read(Paths.RECOGNIZER), *stores]
        )
    )
    wanted = [("test", False), ("test", True), ("val", False), ("promotion", False)]
    test, shuffled, validation, promotion = predict_parts(params, paths, clips, wanted, mapper=mapper)
    assert test is not None and shuffled is not None
    report: dict[str, Any] = {
        "test": scores(test, params),
        "shuffled": scores(shuffled, params),
        "per_class": per_class_scores(test, params),
        "split": {"strategy": params.split.strategy, "folds": params.split.folds},
    }
    if validation is not None:
        report["validation"] = scores(validation, params)
    reports = paths.write(f"{Paths.REPORTS}/metrics.json").parent
    with new_folder(reports / "plots") as folder:
        write_plots(test, params, paths, folder)
    answers = table(test, shuffled=shuffled)
    write_whole(reports / "predictions.csv", answers.to_csv(index=False, float_format="%.6f"))
    kept = answers.head(0) if promotion is None else table(promotion)
    write_whole(reports / PROMOTION, kept.to_csv(index=False, float_format="%.6f"))
    write_whole(paths.write(Paths.DETAILS), json.dumps(report, indent=2) + "\n")
    write_whole(reports / "metrics.json", json.dumps(headline(report), indent=2) + "\n")
    record(params, paths, report, reports)
    return summary(report, params)


def headline(report: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The figures of HEADLINE that the report has, rounded."""
    return {
        part: {name: round(report[part][name], DIGITS) for name in names}
        for part, names in HEADLINE.items()
        if part in report
    }


def per_class_scores(predictions: Predictions, params: Params) -> dict[str, dict[str, float | int]]:
    """{class: {accuracy, low, high, n, ...}}."""
    records = class_table(predictions, params).set_index("class").to_dict("index")
    return {str(name): rounded(record) for name, record in records.items()}


def write_plots(predictions: Predictions, params: Params, paths: Paths, folder: Path) -> None:
    """Every plot as a table for `dvc plots` and as a picture."""
    confidence = params.evaluate.confidence
    answers = table(predictions).rename(columns={"label": "actual"})[["actual", "predicted"]]
    write_table(answers, folder / "confusion.csv")
    counts_KK = metrics.confusion(predictions.predicted_N, predictions.label_N, len(predictions.classes))
    plots.confusion_matrix(counts_KK, predictions.classes, folder / "confusion.png")
    classes = class_table(predictions, params)
    write_table(classes, folder / "per_class.csv")
    overall = float(predictions.correct_N.mean())
    plots.per_class(classes, overall=overall, confidence=confidence, path=folder / "per_class.png")
    draws = metrics.accuracy_by_draws(predictions.probabilities_DNK, predictions.label_N)
    write_table(draws, folder / "draws.csv")
    plots.accuracy_by_draws(draws, path=folder / "draws.png")
    luma = metrics.accuracy_by_luma(
        predictions.correct_N,
        predictions.clips["luma"].to_numpy(),
        predictions.scene_N,
        bins=LUMA_GROUPS,
        bootstrap_samples=params.evaluate.bootstrap_samples,
        confidence=confidence,
        seed=params.seed,
    )
    write_table(luma, folder / "luma.csv")
    plots.accuracy_by_luma(luma, confidence=confidence, path=folder / "luma.png")
    plot_reliability(predictions, folder)
    samples(chosen_samples(predictions, paths), predictions.classes, folder / "samples.png")
    plot_histories(params, paths, folder)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """A table as CSV, with six digits behind the point."""
    table.to_csv(path, index=False, float_format="%.6f")


def plot_reliability(predictions: Predictions, folder: Path) -> None:
    """reliability.png, of the probabilities before and after calibration, and both tables."""
    before, after = (
        metrics.reliability(probabilities_NK, predictions.label_N, bins=metrics.RELIABILITY_BINS)
        for probabilities_NK in (predictions.uncalibrated_NK, predictions.averaged_NK)
    )
    write_table(before, folder / "reliability_before.csv")
    write_table(after, folder / "reliability.csv")
    errors = metrics.calibration_error(before), metrics.calibration_error(after)
    plots.reliability(before, after, errors=errors, path=folder / "reliability.png")


def plot_histories(params: Params, paths: Paths, folder: Path) -> None:
    """learning_curves_<fold>[_member_<m>].csv and .png from the history of each training that has one: not of weights
    taken as they are, nor of a training that ended within its first epoch."""
    for fold in range(params.split.folds):
        first = paths.read(Paths.RECOGNIZER) / place(fold, 0) / WEIGHTS
        for member, network in enumerate(members(first)):
            history = network.with_name("history.csv")
            if not history.exists() or len(history.read_text().splitlines()) < 2:
                continue
            copy = folder / f"learning_curves_{fold}{f'_member_{member}' if member else ''}.csv"
            copy.write_bytes(history.read_bytes())
            plots.learning_curves(copy, copy.with_suffix(".png"))


def chosen_samples(predictions: Predictions, paths: Paths) -> list[Sample]:
    """Some clips of different classes that are right, and those wrong ones the network was surest about."""
    ranked = predictions.clips.assign(
        number=np.arange(len(predictions.clips)),
        correct=predictions.correct_N,
        sure=predictions.averaged_NK.max(-1),
    ).sort_values(["sure", "clip_id"], ascending=[False, True])
    right = ranked[ranked["correct"]].drop_duplicates("label").head(RIGHT_SAMPLES)
    wrong = ranked[~ranked["correct"]].drop_duplicates("label").head(WRONG_SAMPLES)
    return [
        make_sample(paths, row, predictions.averaged_NK[row["number"]])
        for row in pd.concat([right, wrong]).to_dict("records")
    ]


def make_sample(paths: Paths, row: Mapping[Any, Any], probabilities_K: NDArray[np.floating]) -> Sample:
    """Frames of one clip; raw ones where the raw video is there."""
    enhanced_NHWC = ClipStore(paths.read(Paths.clips(row["dataset"]))).load(row["clip_id"])
    positions = sample_positions(len(enhanced_NHWC))
    raw = paths.read(Paths.raw(row["dataset"])) / row["path"]
    raw_NHWC = None
    if raw.exists():
        frames = {k: frame_HWC for k, frame_HWC in enumerate(iter_frames(raw)) if k in positions}
        raw_NHWC = np.stack([frames[k] for k in positions])
    return Sample(
        clip_id=row["clip_id"],
        label=row["label"],
        raw_NHWC=raw_NHWC,
        enhanced_NHWC=enhanced_NHWC[positions],
        probabilities_K=probabilities_K,
    )


def record(params: Params, paths: Paths, report: dict[str, Any], reports: Path) -> None:
    """Adds figures and files to the run that trained the model."""
    parts = [name for name in ("test", "shuffled", "validation") if name in report]
    figures = {f"{part}.{name}": float(value) for part in parts for name, value in report[part].items()}
    with attach_run(stage="train", params=params, paths=paths) as run:
        run.log_metrics(figures)
        run.describe(summary(report, params), accuracy=with_interval(report["test"]))
        run.log_artifact(reports / "metrics.json")
        run.log_artifact(reports / "details.json")
        run.log_artifact(reports / "predictions.csv")
        run.log_artifact(reports / PROMOTION)
        run.log_artifact(reports / "plots", "plots")
        lock = paths.root / "dvc.lock"
        if lock.exists():  # the versions of all that the model was made from: DVC wrote it when train ended
            run.log_artifact(lock)


def summary(report: Mapping[str, Any], params: Params) -> str:
    """The result in one line."""
    test, shuffled = report["test"], report["shuffled"]
    return (
        f"test accuracy {with_interval(test)} "
        f"({params.evaluate.confidence:.0%} interval over scenes; {test['n']} clips of {test['scenes']} scenes, "
        f"{params.split.strategy} split), macro-F1 {test['macro_f1']:.3f}; "
        f"frames shuffled {with_interval(shuffled)}"
    )
