"""What a trained recognizer says about clips, and how right it is: predictions, scores, tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darkaction.core.errors import UserError
from darkaction.core.model_folder import members, place
from darkaction.core.parallel import Mapper, Processes
from darkaction.core.paths import Paths
from darkaction.evaluation import metrics, statistics
from darkaction.evaluation.calibration import temper
from darkaction.evaluation.predict import predict
from darkaction.evaluation.prior import with_shares
from darkaction.jobs.identity import network_wanted
from darkaction.models.precision import uses_bf16
from darkaction.params import Params
from darkaction.training import data, weights

Probabilities = NDArray[np.float64]

PIECE = 16
"""Batches that a worker predicts at a time."""


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Clips of all folds, one row each, with what the network says, in the order of the rows: probabilities_DNK of
    each draw as it comes from the softmax, and their calibrated mean averaged_NK. Of an ensemble both are means over
    its members, each of which is calibrated by its own temperature."""

    clips: pd.DataFrame
    probabilities_DNK: NDArray[np.float64]
    averaged_NK: NDArray[np.float64]
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
    return predict_parts(params, paths, clips, [(part, shuffle_frames)], recognizer=recognizer)[0]


def predict_parts(
    params: Params,
    paths: Paths,
    clips: pd.DataFrame,
    parts: Sequence[tuple[str, bool]],
    *,
    recognizer: Path | None = None,
    mapper: Mapper | None = None,
) -> list[Predictions | None]:
    """`predict_part` for several parts, each with or without frames in random order.

    Args:
        mapper: where they are predicted, some batches at a time; None: here, one after the other.
    """
    folder = recognizer or paths.read(Paths.RECOGNIZER)
    most = len(clips) if mapper is None else PIECE * params.evaluate.batch_size  # whole batches, so that they stay
    pieces = [
        Piece(number, fold, start, own.iloc[start : start + most], shuffle)
        for number, (part, shuffle) in enumerate(parts)
        for fold in range(params.split.folds)
        for own in [data.select(clips, fold=fold, part=part)]
        for start in range(0, len(own), most)
    ]
    run = partial(_predict_piece, params, paths, folder)
    if mapper is None:
        mapper = Processes(0)
    found = sorted(mapper(run, pieces), key=lambda done: (done[0].part, done[0].fold, done[0].start))
    lost = [piece for piece, result in found if result is None]
    if lost:
        raise UserError("evaluate: a worker process died, perhaps for want of memory")
    return [_together([done for done in found if done[0].part == number], params) for number in range(len(parts))]


@dataclass(frozen=True, eq=False)
class Piece:
    """Clips that are predicted at once."""

    part: int  # which of those that are asked for
    fold: int
    start: int  # among the clips of the part and fold
    rows: pd.DataFrame
    shuffle_frames: bool


def _predict_piece(params: Params, paths: Paths, folder: Path, piece: Piece) -> tuple[Probabilities, Probabilities]:
    """probabilities_DNK and averaged_NK of `Predictions`."""
    networks = members(folder / place(piece.fold, 0) / weights.WEIGHTS)
    found = [_predict_with(path, params, paths, piece) for path in networks]
    averaged = [temper(metrics.average_draws(said_DNK), temperature) for said_DNK, temperature in found]
    return np.mean([said_DNK for said_DNK, _ in found], axis=0), np.mean(averaged, axis=0)


def _predict_with(path: Path, params: Params, paths: Paths, piece: Piece) -> tuple[Probabilities, float]:
    """probabilities_DNK of one network, and the temperature that calibrates them."""
    network, card = weights.load(path)
    weights.check_card(card, network_wanted(params), path)
    flow = params.model.input == "rgb_flow"
    probabilities_DNK = predict(
        network,
        data.open_clips(piece.rows, paths, params.data.classes, params.enhance, flow=flow),
        sampler=weights.make_sampler(params.sampling, min_frames=card.min_frames, max_frames=card.max_frames),
        seed=params.seed,
        num_draws=params.sampling.test_draws,
        batch_size=params.evaluate.batch_size,
        workers=params.train.num_workers,
        bf16=uses_bf16(params.train.precision, params.model.backbone),
        shuffle_frames=piece.shuffle_frames,
    )
    return probabilities_DNK, 1.0 if card.validation is None else card.validation.temperature


def _together(found: Sequence[tuple[Piece, Any]], params: Params) -> Predictions | None:
    """The pieces of a part, in order."""
    if not found:
        return None
    classes = params.data.classes
    averaged_NK = np.concatenate([averaged_NK for _, (_, averaged_NK) in found])
    if params.evaluate.class_prior == "uniform":
        averaged_NK = with_shares(averaged_NK, np.full(len(classes), 1 / len(classes)))
    return Predictions(
        clips=pd.concat([piece.rows.assign(fold=piece.fold) for piece, _ in found], ignore_index=True),
        probabilities_DNK=np.concatenate([probabilities_DNK for _, (probabilities_DNK, _) in found], axis=1),
        averaged_NK=averaged_NK,
        classes=classes,
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
