"""Videos in and out: found by name, predicted one by one, saved with the answer written on them."""

import bisect
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
from darkaction.serving.answers import Options, Prediction, Row, row_of, write_rows
from darkaction.serving.timeline.segments import UNSURE, Segment, Timeline, check_targets
from darkaction.serving.timeline.windows import Windows, rate
from darkaction.tracking.weights import fetch_model

if TYPE_CHECKING:
    from darkaction.serving.predictor import Predictor

WHITE = (255, 255, 255)

SHOWN_HEIGHT = 360
"""Pixels of the larger frames in a saved video."""


def predict(names: list[str], model: str | None, options: Options) -> None:
    """Predicts the videos that `names` mean; prints and writes what `options` ask for.

    Raises:
        UserError: when options do not fit, or videos could not be used.
    """
    check_targets(options.timeline)
    if options.explain is not None and options.explain.suffix.lower() != ".png":
        raise UserError(f"--explain {options.explain}: expected a file ending in .png")
    found = find_videos(names)
    alone = {"--save writes": options.save, "--timeline is of": options.timeline, "--explain is of": options.explain}
    for option, files in alone.items():
        if files and len(found) != 1:
            raise UserError(f"{option} one video; {len(found)} were given")
    predictor = load_model(model)
    single, unsure = len(found) == 1 and options.csv is None, options.unsure_below
    rows, predictions = predict_videos(predictor, found, options.windows, unsure_below=unsure, stop=single)
    failures = len(rows) - len(predictions)
    if single and not options.as_json:
        print(predictions[0].text(found[0], options.top, unsure))
    for note in predictor.notes():
        print(f"note: {note}", file=sys.stderr)
    if not failures:
        for path in options.timeline:
            predictions[0].timeline.write(path, found[0].name, unsure)
        if options.save is not None:
            save(found[0], predictor, predictions[0], unsure, options.save)
        if options.explain is not None:
            explain(found[0], predictor, predictions[0], options.explain)
    write_rows(rows, predictor.card.classes, as_json=options.as_json, as_text=single, path=options.csv)
    if failures:
        raise UserError(f"{failures} of {len(found)} videos could not be used; the column error says why")


def find_videos(names: list[str]) -> list[Path]:
    """The files that paths, folders (all videos below) and patterns name, in order.

    Raises:
        UserError: when one of them names nothing.
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
    predictor: "Predictor", videos: list[Path], windows: Windows, *, unsure_below: float, stop: bool
) -> tuple[list[Row], list[Prediction]]:
    """A row for each video, also for those that cannot be used, and the predictions of the others.

    Raises:
        VideoError: with `stop`, for the first that cannot be used.
    """
    rows: list[Row] = []
    predictions: list[Prediction] = []
    answers = tqdm(
        predictor.predict_each(videos, windows), "predict", len(videos), unit="video", disable=len(videos) == 1
    )
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
    """Writes the video as raw | enhanced, with the action of the moment and its probability on each frame, and for a
    long one a bar with the timeline under it."""
    notes = ["unlike the training clips"] if prediction.outside else []
    if predictor.training is not None and predictor.training.synthetic:
        notes.append("trained on synthetic clips only")
    fps, timeline = rate(prediction.fps), prediction.timeline
    segments = timeline.segments(unsure_below)
    ends = [segment.end for segment in segments[:-1]]

    def marked() -> Iterator[Frames]:
        bar_HWC = None
        for number, pair_HWC in enumerate(_side_by_side(video, predictor)):
            shown_HWC = _write_on(pair_HWC, [segments[bisect.bisect(ends, number / fps)].text, *notes])
            if prediction.long:
                bar_HWC = _bar(timeline, segments, pair_HWC) if bar_HWC is None else bar_HWC
                at = round(number / prediction.frames * pair_HWC.shape[1])
                shown_HWC = np.concatenate(
                    [shown_HWC, cv2.line(bar_HWC.copy(), (at, 0), (at, bar_HWC.shape[0]), WHITE, 2)]
                )
            yield shown_HWC

    write_video(target, tqdm(marked(), total=prediction.frames, desc="save", unit="frame"), fps=fps, codec="mp4v")
    print(f"{target}: {prediction.frames} frames", file=sys.stderr)


def explain(video: Path, predictor: "Predictor", prediction: Prediction, target: Path) -> None:
    """Writes `explain.write_explanation`'s picture."""
    from darkaction.serving.explain import write_explanation  # with what draws figures, a second

    write_explanation(predictor, video, prediction, target)
    print(f"{target}: where and when the answer comes from", file=sys.stderr)


def _bar(timeline: Timeline, segments: list[Segment], frame_HWC: Frames) -> Frames:
    """A strip as wide as the frame: a block for each segment, with its answer where that fits."""
    from darkaction.serving.timeline.plot import colour

    height, width = max(16, round(frame_HWC.shape[0] / 30) * 2), frame_HWC.shape[1]
    bar_HWC, scale = np.full((height, width, 3), 60, np.uint8), height / 40
    for segment in segments:
        left, right = (round(seconds / timeline.edges[-1] * width) for seconds in (segment.start, segment.end))
        if segment.answer != UNSURE:
            shade = tuple(bytes.fromhex(colour(timeline.classes.index(segment.label))[1:]))
            cv2.rectangle(bar_HWC, (left, 0), (right - 2, height), shade, -1)
        (text, _), _ = cv2.getTextSize(segment.answer, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        if text + 6 < right - left:
            at = (left + 3, round(height * 0.7))
            cv2.putText(bar_HWC, segment.answer, at, cv2.FONT_HERSHEY_SIMPLEX, scale, WHITE, 1, cv2.LINE_AA)
    return bar_HWC


def _side_by_side(video: Path, predictor: "Predictor") -> Iterator[Frames]:
    for frame_HWC in iter_frames(video):
        height, width = frame_HWC.shape[:2]
        scale = min(1.0, SHOWN_HEIGHT / height)
        size = (max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2))
        raw_HWC = np.asarray(cv2.resize(frame_HWC, size, interpolation=cv2.INTER_AREA), np.uint8)
        enhanced_HWC = predictor.enhancer(raw_HWC[None])[0]
        yield np.concatenate([raw_HWC, enhanced_HWC], axis=1)


def _write_on(frame_HWC: Frames, lines: list[str]) -> Frames:
    """The frame with white text on dark strips at its upper left; all but the first line are smaller."""
    marked_HWC = frame_HWC.copy()
    top = 0
    for number, line in enumerate(lines):
        scale = max(0.4, frame_HWC.shape[0] / 360 * (0.5 if number else 0.8))
        (width, height), _ = cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        bottom = top + height + 14
        cv2.rectangle(marked_HWC, (0, top), (width + 12, bottom), (20, 20, 20), -1)
        cv2.putText(marked_HWC, line, (6, bottom - 7), cv2.FONT_HERSHEY_SIMPLEX, scale, WHITE, 1, cv2.LINE_AA)
        top = bottom
    return marked_HWC
