"""Videos in and out: found by name, predicted one by one, saved with the answer written on them."""

import glob
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from tqdm import tqdm

from darkaction.core.errors import UserError
from darkaction.core.paths import Paths
from darkaction.data.video import CONTAINERS, Frames, iter_frames, write_video
from darkaction.params import Params
from darkaction.serving.answers import Prediction, Row, row_of
from darkaction.tracking.weights import fetch_model

if TYPE_CHECKING:
    from darkaction.serving.predictor import Predictor

SHOWN_HEIGHT = 360
"""Pixels of the larger frames in a saved video."""


def find_videos(names: list[str], *, alone: Path | None) -> list[Path]:
    """The files that paths, folders (all videos below) and patterns name, in order.

    Args:
        alone: what --save or --explain writes, which they do for one video.

    Raises:
        UserError: when one of them names nothing, or there are several and `alone` is given.
    """
    found: list[Path] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            chosen = sorted(file for file in path.rglob("*") if file.suffix.lower() in CONTAINERS and file.is_file())
        else:
            chosen = [path] if path.exists() else sorted(Path(file) for file in glob.glob(name, recursive=True))
        if not chosen:
            raise UserError(f"{name}: no such file, and no video in it ({', '.join(CONTAINERS)})")
        found += chosen
    if alone is not None and len(found) != 1:
        raise UserError(f"{alone}: --save and --explain take one video; {len(found)} were given")
    return found


def load_model(name: str | None) -> "Predictor":
    """The model that `find_model` finds, with the limits of params.yaml.

    Raises:
        UserError: when there is none.
    """
    from darkaction.serving.predictor import Predictor  # it needs torch: wrong names of videos are said before

    limits = Params.load().video
    return Predictor.load(find_model(name), limits)


def find_model(name: str | None) -> Path:
    """The folder, as `Predictor.load` wants it, of a model: a folder, or what MLflow has under a URI. None: that of
    the last `dvc repro` where there is one, else the weights in git; which one is printed.

    Raises:
        UserError: when MLflow has none.
    """
    paths = Paths()
    if name is None:
        name = Paths.RECOGNIZER if (paths.read(Paths.RECOGNIZER) / "fold_0").is_dir() else Paths.SHIPPED
        print(f"model: {name}", file=sys.stderr)
    if name.startswith(("runs:/", "models:/")):
        return fetch_model(name, paths)
    folder = paths.read(name)
    inner = folder / Path(Paths.RECOGNIZER).name
    return inner if inner.is_dir() else folder


def predict_videos(
    predictor: "Predictor", videos: list[Path], *, unsure_below: float, stop: bool
) -> tuple[list[Row], list[Prediction]]:
    """A row for each video, also for those that cannot be used, and the predictions of the others.

    Raises:
        VideoError: with `stop`, for the first that cannot be used.
    """
    rows: list[Row] = []
    predictions: list[Prediction] = []
    answers = tqdm(predictor.predict_each(videos), "predict", len(videos), unit="video", disable=len(videos) == 1)
    for video, answer in zip(videos, answers, strict=True):
        if isinstance(answer, Prediction):
            predictions.append(answer)
            rows.append(row_of(video, answer, unsure_below))
        elif stop:
            raise answer
        else:
            rows.append({"video": str(video), "error": answer.reason})
    return rows, predictions


def save(video: Path, predictor: "Predictor", prediction: Prediction, unsure_below: float, target: Path) -> None:
    """Writes the video as raw | enhanced, with the action and its probability on each frame."""
    lines = [f"{prediction.label} {prediction.probabilities_K.max():.0%}"]
    if (answer := prediction.answer(unsure_below)) != prediction.label:
        lines = [f"{answer} ({lines[0]})"]
    if prediction.outside:
        lines.append("unlike the training clips")
    if predictor.training is not None and predictor.training.synthetic:
        lines.append("trained on synthetic clips only")
    frames = tqdm(_side_by_side(video, predictor, lines), total=prediction.frames, desc="save", unit="frame")
    write_video(target, frames, fps=prediction.fps if 1 <= prediction.fps <= 240 else 30.0, codec="mp4v")
    print(f"{target}: {prediction.frames} frames", file=sys.stderr)


def explain(video: Path, predictor: "Predictor", prediction: Prediction, target: Path) -> None:
    """Writes `explain.write_explanation`'s picture.

    Raises:
        UserError: when `target` is no PNG file, or the model cannot be explained.
    """
    from darkaction.serving.explain import write_explanation  # with what draws figures, a second

    if target.suffix.lower() != ".png":
        raise UserError(f"--explain {target}: writes a picture; its name ends in .png")
    write_explanation(predictor, video, prediction, target)
    print(f"{target}: where and when the answer comes from", file=sys.stderr)


def _side_by_side(video: Path, predictor: "Predictor", lines: list[str]) -> Iterator[Frames]:
    for frame_HWC in iter_frames(video):
        height, width = frame_HWC.shape[:2]
        scale = min(1.0, SHOWN_HEIGHT / height)
        size = (max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2))
        raw_HWC = np.asarray(cv2.resize(frame_HWC, size, interpolation=cv2.INTER_AREA), np.uint8)
        enhanced_HWC = predictor.enhancer(raw_HWC[None])[0]
        pair_HWC = np.concatenate([raw_HWC, enhanced_HWC], axis=1)
        yield _write_on(pair_HWC, lines)


def _write_on(frame_HWC: Frames, lines: list[str]) -> Frames:
    """The frame with white text on dark strips at its upper left; all but the first line are smaller."""
    marked_HWC = frame_HWC.copy()
    top = 0
    for number, line in enumerate(lines):
        scale = max(0.4, frame_HWC.shape[0] / 360 * (0.5 if number else 0.8))
        (width, height), _ = cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        bottom = top + height + 14
        cv2.rectangle(marked_HWC, (0, top), (width + 12, bottom), (20, 20, 20), -1)
        cv2.putText(marked_HWC, line, (6, bottom - 7), cv2.FONT_HERSHEY_SIMPLEX, scale, (255,) * 3, 1, cv2.LINE_AA)
        top = bottom
    return marked_HWC
