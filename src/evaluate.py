"""Measures the recognizer on the test clips: -> reports/metrics.json, reports/predictions.csv, reports/plots.

Each clip is seen in sampling.test_draws draws, fixed by the seed, whose probabilities are averaged. With two folds each
model predicts its own test clips, and all are pooled. The figures also join the MLflow run of the training.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darkaction import cli, layout, tracking
from darkaction.clips import ClipStore
from darkaction.config import Params
from darkaction.errors import UserError
from darkaction.evaluation import metrics, plots, statistics
from darkaction.evaluation.predict import predict
from darkaction.folders import new_folder
from darkaction.layout import Layout
from darkaction.training import data, weights
from darkaction.training.fit import uses_bf16
from darkaction.video import iter_frames

LUMA_GROUPS = 4
RELIABILITY_BINS = 10
RIGHT_SAMPLES, WRONG_SAMPLES = 3, 3
"""Clips in plots/samples.png."""


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Clips of all folds, one row each, with what the network says: probabilities_DNK in the order of the rows."""

    clips: pd.DataFrame
    probabilities_DNK: NDArray[np.float64]
    classes: list[str]

    @property
    def label_N(self) -> NDArray[np.int64]:
        return np.array([self.classes.index(label) for label in self.clips["label"]])

    @property
    def scene_N(self) -> NDArray[np.str_]:
        return self.clips["scene"].to_numpy(dtype=str)

    @property
    def averaged_NK(self) -> NDArray[np.floating]:
        return metrics.average_draws(self.probabilities_DNK)

    @property
    def predicted_N(self) -> NDArray[np.int64]:
        return np.asarray(self.averaged_NK.argmax(-1))

    @property
    def correct_N(self) -> NDArray[np.bool_]:
        return np.asarray(self.predicted_N == self.label_N)


def main() -> None:
    params, places = cli.settings(cli.stage_arguments(__doc__))
    clips = data.usable_clips(places, params.datasets)
    test = predict_part(params, places, clips, "test")
    if test is None:
        raise UserError(f"{layout.index(params.datasets[0])}: no clip is marked test; run prepare again")
    shuffled = predict_part(params, places, clips, "test", shuffle_frames=True)
    assert shuffled is not None
    validation = predict_part(params, places, clips, "val")
    report: dict[str, Any] = {
        "test": scores(test, params) | {"shuffled_accuracy": round(float(shuffled.correct_N.mean()), 6)},
        "per_class": per_class_scores(test, params),
        "split": {"strategy": params.split.strategy, "folds": params.split.folds},
    }
    if validation is not None:
        report["validation"] = scores(validation, params)
    reports = places.write(f"{layout.REPORTS}/metrics.json").parent
    with new_folder(reports / "plots") as folder:
        draw(test, params, places, folder)
    write_whole(reports / "predictions.csv", table(test).to_csv(index=False, float_format="%.6f"))
    write_whole(reports / "metrics.json", json.dumps(report, indent=2) + "\n")
    record(params, places, report, reports)
    print(summary(report["test"], params))


def predict_part(
    params: Params, places: Layout, clips: pd.DataFrame, part: str, *, shuffle_frames: bool = False
) -> Predictions | None:
    """Predictions for the clips marked `part` (test or val) of every fold; None where there are none. With
    `shuffle_frames` the frames of each clip are shown in random order: what is lost then is what time was worth."""
    rows, probabilities = [], []
    for fold in range(params.split.folds):
        own = data.select(clips, fold=fold, part=part)
        if own.empty:
            continue
        path = places.read(layout.RECOGNIZER) / f"fold_{fold}" / "weights.safetensors"
        recognizer, card = weights.load(path)
        check_card(card, params, path)
        sampler = weights.make_sampler(params.sampling, min_frames=card.min_frames, max_frames=card.max_frames)
        rows.append(own.assign(fold=fold))
        probabilities.append(
            predict(
                recognizer,
                data.open_clips(own, places, params.data.classes, params.enhance),
                sampler=sampler,
                seed=params.seed,
                num_draws=params.sampling.test_draws,
                batch_size=params.evaluate.batch_size,
                workers=params.train.workers,
                bf16=uses_bf16(params.train.precision),
                shuffle_frames=shuffle_frames,
            )
        )
    if not rows:
        return None
    return Predictions(
        clips=pd.concat(rows, ignore_index=True),
        probabilities_DNK=np.concatenate(probabilities, axis=1),
        classes=params.data.classes,
    )


def check_card(card: weights.Card, params: Params, path: Path) -> None:
    """Refuses weights of a network other than the settings describe.

    Raises:
        UserError: naming the file, the setting and both values.
    """
    pairs = {
        "data.classes": (card.classes, params.data.classes),
        "sampling.num_frames": (card.sampling.num_frames, params.sampling.num_frames),
    }
    for name in ("backbone", "head", "input", "layers", "widths", "temporal_strides"):
        pairs[f"model.{name}"] = (getattr(card.model, name), getattr(params.model, name))
    for key, (has, wanted) in pairs.items():
        if has != wanted:
            raise UserError(f"{path}: was trained with {key} = {has}, and {key} is {wanted}; run python src/train.py")


def scores(predictions: Predictions, params: Params) -> dict[str, float | int]:
    """Accuracy of the averaged draws with its interval, and what stands beside it."""
    interval = statistics.accuracy_interval(
        predictions.correct_N,
        predictions.scene_N,
        resamples=params.evaluate.resamples,
        confidence=params.evaluate.confidence,
        seed=params.seed,
    )
    return rounded(
        {
            "accuracy": interval.mean,
            "low": interval.low,
            "high": interval.high,
            "n": interval.n,
            "scenes": interval.scenes,
            "macro_f1": metrics.macro_f1(predictions.predicted_N, predictions.label_N),
            "calibration_error": metrics.calibration_error(reliability_table(predictions)),
            "draw_accuracy": metrics.draw_accuracy(predictions.probabilities_DNK, predictions.label_N),
        }
    )


def reliability_table(predictions: Predictions) -> pd.DataFrame:
    """metrics.reliability of the averaged draws."""
    return metrics.reliability(predictions.averaged_NK, predictions.label_N, bins=RELIABILITY_BINS)


def class_table(predictions: Predictions, params: Params) -> pd.DataFrame:
    """metrics.per_class with the settings of `evaluate`."""
    return metrics.per_class(
        predictions.predicted_N,
        predictions.label_N,
        predictions.scene_N,
        predictions.classes,
        resamples=params.evaluate.resamples,
        confidence=params.evaluate.confidence,
        seed=params.seed,
    )


def per_class_scores(predictions: Predictions, params: Params) -> dict[str, dict[str, float | int]]:
    """{class: {accuracy, low, high, n, ...}}."""
    records = class_table(predictions, params).set_index("class").to_dict("index")
    return {str(name): rounded(record) for name, record in records.items()}


def table(predictions: Predictions) -> pd.DataFrame:
    """predictions.csv: the clips, what was predicted and the mean probability of each class."""
    columns = ["clip_id", "dataset", "label", "scene", "take", "fold", "frames", "luma"]
    predicted = [predictions.classes[number] for number in predictions.predicted_N]
    result = predictions.clips[columns].assign(predicted=predicted)
    for number, name in enumerate(predictions.classes):
        result[f"p_{name}"] = predictions.averaged_NK[:, number]
    return result.sort_values("clip_id", ignore_index=True)


def draw(predictions: Predictions, params: Params, places: Layout, folder: Path) -> None:
    """Every plot as a table for `dvc plots` and as a picture."""
    confidence = params.evaluate.confidence
    everything = table(predictions)
    everything.rename(columns={"label": "actual"})[["actual", "predicted"]].to_csv(
        folder / "confusion.csv", index=False
    )
    counts_KK = metrics.confusion(predictions.predicted_N, predictions.label_N, len(predictions.classes))
    plots.confusion_matrix(counts_KK, predictions.classes, folder / "confusion.png")
    classes = class_table(predictions, params)
    classes.to_csv(folder / "per_class.csv", index=False, float_format="%.6f")
    overall = float(predictions.correct_N.mean())
    plots.per_class(classes, overall=overall, confidence=confidence, path=folder / "per_class.png")
    draws = metrics.accuracy_by_draws(predictions.probabilities_DNK, predictions.label_N)
    draws.to_csv(folder / "draws.csv", index=False, float_format="%.6f")
    plots.accuracy_by_draws(draws, path=folder / "draws.png")
    luma = metrics.accuracy_by_luma(
        predictions.correct_N,
        predictions.clips["luma"].to_numpy(),
        predictions.scene_N,
        bins=LUMA_GROUPS,
        resamples=params.evaluate.resamples,
        confidence=confidence,
        seed=params.seed,
    )
    luma.to_csv(folder / "luma.csv", index=False, float_format="%.6f")
    plots.accuracy_by_luma(luma, confidence=confidence, path=folder / "luma.png")
    reliability = reliability_table(predictions)
    reliability.to_csv(folder / "reliability.csv", index=False, float_format="%.6f")
    plots.reliability(reliability, error=metrics.calibration_error(reliability), path=folder / "reliability.png")
    plots.samples(chosen_samples(predictions, places), predictions.classes, folder / "samples.png")
    draw_history(params, places, folder)


def draw_history(params: Params, places: Layout, folder: Path) -> None:
    """learning_curves_<fold>.csv and .png from the history of each training."""
    for fold in range(params.split.folds):
        history = places.read(layout.RECOGNIZER) / f"fold_{fold}" / "history.csv"
        if not history.exists() or history.stat().st_size < 2:  # a training stopped within its first epoch has none
            continue
        copy = folder / f"learning_curves_{fold}.csv"
        copy.write_bytes(history.read_bytes())
        plots.learning_curves(copy, copy.with_suffix(".png"))


def chosen_samples(predictions: Predictions, places: Layout) -> list[plots.Sample]:
    """Some clips of different classes that are right, and those wrong ones the network was surest about."""
    ranked = predictions.clips.assign(
        number=np.arange(len(predictions.clips)),
        correct=predictions.correct_N,
        sure=predictions.averaged_NK.max(-1),
    ).sort_values(["sure", "clip_id"], ascending=[False, True])
    right = ranked[ranked["correct"]].drop_duplicates("label").head(RIGHT_SAMPLES)
    wrong = ranked[~ranked["correct"]].drop_duplicates("label").head(WRONG_SAMPLES)
    return [
        make_sample(places, row, predictions.averaged_NK[row["number"]])
        for row in pd.concat([right, wrong]).to_dict("records")
    ]


def make_sample(places: Layout, row: Mapping[Any, Any], probabilities_K: NDArray[np.floating]) -> plots.Sample:
    """Frames of one clip; raw ones where the raw video is there."""
    enhanced_NHWC = ClipStore(places.read(layout.clips(row["dataset"]))).load(row["clip_id"])
    positions = plots.sample_positions(len(enhanced_NHWC))
    raw = places.read(layout.raw(row["dataset"])) / row["path"]
    raw_NHWC = None
    if raw.exists():
        frames = {k: frame_HWC for k, frame_HWC in enumerate(iter_frames(raw)) if k in positions}
        raw_NHWC = np.stack([frames[k] for k in positions])
    return plots.Sample(
        clip_id=row["clip_id"],
        label=row["label"],
        raw_NHWC=raw_NHWC,
        enhanced_NHWC=enhanced_NHWC[positions],
        probabilities_K=probabilities_K,
    )


def record(params: Params, places: Layout, report: dict[str, Any], reports: Path) -> None:
    """Adds figures and files to the run that trained the model."""
    parts = [name for name in ("test", "validation") if name in report]
    figures = {f"{part}.{name}": float(value) for part in parts for name, value in report[part].items()}
    with tracking.attach_run(stage="train", params=params, layout=places) as run:
        run.log_metrics(figures)
        run.log_artifact(reports / "metrics.json")
        run.log_artifact(reports / "predictions.csv")
        run.log_artifact(reports / "plots", "plots")
        lock = places.root / "dvc.lock"
        if lock.exists():  # the versions of all that the model was made from: DVC wrote it when train ended
            run.log_artifact(lock)


def summary(test: Mapping[str, float | int], params: Params) -> str:
    """The result in one line."""
    return (
        f"test accuracy {test['accuracy']:.1%} [{test['low']:.1%}, {test['high']:.1%}] "
        f"({params.evaluate.confidence:.0%} interval over scenes; {test['n']} clips of {test['scenes']} scenes, "
        f"{params.split.strategy} split), macro-F1 {test['macro_f1']:.3f}, single draws {test['draw_accuracy']:.1%}, "
        f"frames shuffled {test['shuffled_accuracy']:.1%}"
    )


def rounded(values: Mapping[Any, Any]) -> dict[str, float | int]:
    """Numbers with six digits behind the point, enough for any n here and the same on every platform."""
    return {str(key): round(value, 6) if isinstance(value, float) else int(value) for key, value in values.items()}


def write_whole(path: Path, text: str) -> None:
    """Writes a file that is complete or not there."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    os.replace(partial, path)


if __name__ == "__main__":
    cli.run(main)
