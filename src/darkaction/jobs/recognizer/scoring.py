"""What a trained recognizer says about clips, and how right it is: predictions, scores, tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darkaction.core.paths import Paths
from darkaction.evaluation import metrics, statistics
from darkaction.evaluation.calibration import temper
from darkaction.evaluation.predict import predict
from darkaction.jobs.identity import network_wanted
from darkaction.models.precision import uses_bf16
from darkaction.params import Params
from darkaction.training import data, weights


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Clips of all folds, one row each, with what the network says, in the order of the rows: probabilities_DNK of
    each draw as it comes from the softmax, and the temperature that calibrates their mean."""

    clips: pd.DataFrame
    probabilities_DNK: NDArray[np.float64]
    temperature_N: NDArray[np.float64]
    classes: list[str]

    @property
    def label_N(self) -> NDArray[np.int64]:
        return np.array([self.classes.index(label) for label in self.clips["label"]])

    @property
    def scene_N(self) -> NDArray[np.str_]:
        return self.clips["scene"].to_numpy(dtype=str)

    @property
    def uncalibrated_NK(self) -> NDArray[np.floating]:
        return metrics.average_draws(self.probabilities_DNK)

    @property
    def averaged_NK(self) -> NDArray[np.floating]:
        return temper(self.uncalibrated_NK, self.temperature_N[:, None])

    @property
    def predicted_N(self) -> NDArray[np.int64]:
        return np.asarray(self.averaged_NK.argmax(-1))

    @property
    def correct_N(self) -> NDArray[np.bool_]:
        return np.asarray(self.predicted_N == self.label_N)


def predict_part(
    params: Params,
    paths: Paths,
    clips: pd.DataFrame,
    part: str,
    *,
    recognizer: Path | None = None,
    shuffle_frames: bool = False,
) -> Predictions | None:
    """Predictions for the clips marked `part` (test or val) of every fold; None where there are none.

    Args:
        recognizer: the folder with fold_<k>/weights.safetensors; None: the one of `paths`.
        shuffle_frames: show the frames of each clip in random order: what is lost then is what time was worth.
    """
    folder = recognizer or paths.read(Paths.RECOGNIZER)
    rows, probabilities, temperatures = [], [], []
    for fold in range(params.split.folds):
        own = data.select(clips, fold=fold, part=part)
        if own.empty:
            continue
        path = folder / f"fold_{fold}" / weights.WEIGHTS
        network, card = weights.load(path)
        weights.check_card(card, network_wanted(params), path)
        sampler = weights.make_sampler(params.sampling, min_frames=card.min_frames, max_frames=card.max_frames)
        rows.append(own.assign(fold=fold))
        temperatures.append(np.full(len(own), 1.0 if card.validation is None else card.validation.temperature))
        probabilities.append(
            predict(
                network,
                data.open_clips(own, paths, params.data.classes, params.enhance, flow=params.model.input == "rgb_flow"),
                sampler=sampler,
                seed=params.seed,
                num_draws=params.sampling.test_draws,
                batch_size=params.evaluate.batch_size,
                workers=params.train.num_workers,
                bf16=uses_bf16(params.train.precision, params.model.backbone),
                shuffle_frames=shuffle_frames,
            )
        )
    if not rows:
        return None
    return Predictions(
        clips=pd.concat(rows, ignore_index=True),
        probabilities_DNK=np.concatenate(probabilities, axis=1),
        temperature_N=np.concatenate(temperatures),
        classes=params.data.classes,
    )


def scores(predictions: Predictions, params: Params) -> dict[str, float | int]:
    """Accuracy of the averaged draws and of a single draw ("video accuracy" and "clip accuracy"), each with its
    interval, and what stands beside them."""
    resampling: Any = {
        "bootstrap_samples": params.evaluate.bootstrap_samples,
        "confidence": params.evaluate.confidence,
        "seed": params.seed,
    }
    interval = statistics.accuracy_interval(predictions.correct_N, predictions.scene_N, **resampling)
    right_DN = predictions.probabilities_DNK.argmax(-1) == predictions.label_N
    single = statistics.seeds_interval(list(right_DN), [predictions.scene_N] * len(right_DN), **resampling)
    error_before, error = (
        metrics.calibration_error(
            metrics.reliability(probabilities_NK, predictions.label_N, bins=metrics.RELIABILITY_BINS)
        )
        for probabilities_NK in (predictions.uncalibrated_NK, predictions.averaged_NK)
    )
    return rounded(
        {
            "accuracy": interval.mean,
            "low": interval.low,
            "high": interval.high,
            "n": interval.n,
            "scenes": interval.scenes,
            "macro_f1": metrics.macro_f1(predictions.predicted_N, predictions.label_N),
            "calibration_error": error,
            "calibration_error_before": error_before,
            "calibration_error_by_chance": metrics.calibration_error_by_chance(
                predictions.averaged_NK, bins=metrics.RELIABILITY_BINS, seed=params.seed
            ),
            "draw_accuracy": single.mean,
            "draw_low": single.low,
            "draw_high": single.high,
            "draws": len(right_DN),
        }
    )


def class_table(predictions: Predictions, params: Params) -> pd.DataFrame:
    """metrics.per_class with the settings of `evaluate`."""
    return metrics.per_class(
        predictions.predicted_N,
        predictions.label_N,
        predictions.scene_N,
        predictions.classes,
        bootstrap_samples=params.evaluate.bootstrap_samples,
        confidence=params.evaluate.confidence,
        seed=params.seed,
    )


def table(predictions: Predictions, *, shuffled: Predictions | None = None) -> pd.DataFrame:
    """predictions.csv: the clips, what was predicted and the mean probability of each class. With `shuffled`, the
    predictions for the same rows with their frames in random order, also what was predicted then."""
    columns = ["clip_id", "dataset", "label", "scene", "take", "fold", "frames", "luma"]
    predicted = [predictions.classes[number] for number in predictions.predicted_N]
    result = predictions.clips[columns].assign(predicted=predicted)
    if shuffled is not None:
        result["predicted_shuffled"] = [shuffled.classes[number] for number in shuffled.predicted_N]
    for number, name in enumerate(predictions.classes):
        result[f"p_{name}"] = predictions.averaged_NK[:, number]
    return result.sort_values("clip_id", ignore_index=True)


def rounded(values: Mapping[Any, Any]) -> dict[str, float | int]:
    """Numbers with six digits behind the point, enough for any n here and the same on every platform."""
    return {str(key): round(value, 6) if isinstance(value, float) else int(value) for key, value in values.items()}
