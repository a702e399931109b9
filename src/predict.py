"""Names the action in videos: python src/predict.py VIDEO|FOLDER|GLOB

    python src/predict.py clip.mp4                                 the most probable actions
    python src/predict.py folder/ --csv actions.csv                a row a video
    python src/predict.py clip.mp4 --save seen.mp4                 raw | enhanced, with the action written on it
    python src/predict.py clip.mp4 --model models:/darkaction@champion

MP4, AVI and Matroska (WebM) within the limits of the section `video` of params.yaml. Without --model it is the model of
the last `dvc repro`, or, before the first, the weights that come with the project (models/synthetic). The probabilities
are averaged over several sampling draws and calibrated on validation clips; +- is their standard deviation over the
draws, not the error of the answer. The answer is `unsure` where no class is probable enough; where a video is unlike
every training clip, it says in what.
"""

import argparse
import csv
import glob
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from darkaction import tracking
from darkaction.core import cli
from darkaction.core.errors import UserError
from darkaction.core.paths import Paths
from darkaction.data.video import CONTAINERS, Frames, VideoError, iter_frames, write_video
from darkaction.params import Params
from darkaction.serving.predictor import UNSURE, UNSURE_BELOW, Prediction, Predictor

SHOWN_HEIGHT = 360
"""Pixels of the larger frames in a saved video."""


def main() -> None:
    arguments = parse_arguments()
    videos = find_videos(arguments.videos)
    if arguments.save is not None and len(videos) != 1:
        raise UserError(f"--save writes one video; {len(videos)} were given")
    predictor = load_model(arguments.model or default_model())
    top = min(arguments.top, len(predictor.card.classes))
    single = len(videos) == 1 and arguments.csv is None
    rows, failures = [], 0
    for video in tqdm(videos, desc="predict", unit="video", disable=single):
        try:
            prediction = predictor.predict(video)
        except VideoError as error:
            if single:
                raise
            failures += 1
            rows.append({"video": str(video), "error": error.reason})
            continue
        rows.append(row_of(video, prediction, arguments.unsure_below))
        if single and not arguments.json:
            print_top(video, prediction, top, arguments.unsure_below)
    for note in predictor.notes():
        print(f"note: {note}", file=sys.stderr)
    if arguments.json:
        print(json.dumps(rows, indent=2))
    if arguments.csv is not None or not (single or arguments.json):
        write_csv(rows, predictor.card.classes, arguments.csv)
    if arguments.save is not None and not failures:
        save(videos[0], predictor, rows[0], prediction.fps, arguments.save)
    print_agreement(rows, predictor.card.classes)
    if failures:
        raise UserError(f"{failures} of {len(videos)} videos could not be used; the column error says why")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", metavar="VIDEO|FOLDER|GLOB")
    parser.add_argument(
        "--model",
        help=f"a folder (default: {Paths.RECOGNIZER}, else {Paths.SHIPPED}), runs:/RUN_ID or models:/NAME@ALIAS",
    )
    parser.add_argument("--top", type=int, default=3, metavar="K", help="classes to print (default: 3)")
    parser.add_argument(
        "--unsure-below",
        type=float,
        default=UNSURE_BELOW,
        metavar="P",
        help=f"answer '{UNSURE}' where no class has this probability (default: {UNSURE_BELOW})",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a table (several videos: standard output)")
    parser.add_argument("--save", type=Path, metavar="OUT.mp4", help="write raw | enhanced with the action on it")
    arguments = parser.parse_args()
    if arguments.top < 1:
        parser.error("--top: at least 1")
    if not 0 <= arguments.unsure_below <= 1:
        parser.error("--unsure-below: a probability, 0 to 1")
    return arguments


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


def default_model() -> str:
    """The model of the last `dvc repro` where there is one, else the weights in git; says which."""
    name = Paths.RECOGNIZER if (Paths().read(Paths.RECOGNIZER) / "fold_0").is_dir() else Paths.SHIPPED
    print(f"model: {name}", file=sys.stderr)
    return name


def load_model(name: str) -> Predictor:
    """The model in a folder, or the one that MLflow has under a URI, with the limits of params.yaml."""
    paths, limits = Paths(), Params.load().video
    if name.startswith(("runs:/", "models:/")):
        return Predictor.load(tracking.fetch_model(name, paths), limits)
    folder = paths.read(name)
    inner = folder / Path(Paths.RECOGNIZER).name
    return Predictor.load(inner if inner.is_dir() else folder, limits)


def row_of(video: Path, prediction: Prediction, unsure_below: float) -> dict[str, Any]:
    """What is written of one video."""
    return {
        "video": str(video),
        "answer": prediction.answer(unsure_below),
        "label": prediction.label,
        "frames": prediction.frames,
        "probabilities": dict(zip(prediction.classes, prediction.probabilities_K.tolist(), strict=True)),
        "spread": dict(zip(prediction.classes, prediction.spread_K.tolist(), strict=True)),
        "outside_training": prediction.outside,
    }


def print_top(video: Path, prediction: Prediction, count: int, unsure_below: float) -> None:
    print(f"{video} ({prediction.frames} frames): {prediction.answer(unsure_below)}")
    for label, probability, spread in prediction.top(count):
        print(f"  {label:<12} {probability:6.1%} +- {spread:.1%} over {len(prediction.draws_DK)} draws of frames")
    for phrase in prediction.outside:
        print(f"  unlike every training clip: {phrase}")


def print_agreement(rows: list[dict[str, Any]], classes: list[str]) -> None:
    """How many answers are right, of the videos that lie in a folder named like a class; nothing for fewer than two."""
    folders = [Path(row["video"]).resolve().parent.name.lower() for row in rows]
    known = [(folder, row) for folder, row in zip(folders, rows, strict=True) if folder in classes and "label" in row]
    if len(known) < 2:
        return
    right = np.array([folder == row["label"] for folder, row in known])
    sure = np.array([row["answer"] != UNSURE for _, row in known])
    text = f"{right.mean():.1%} top-1 of the {len(known)} videos that lie in a folder named like one of the"
    text += f" {len(classes)} classes (chance {1 / len(classes):.1%})"
    if sure.any() and not sure.all():
        text += f"; {right[sure].mean():.1%} of the {sure.sum()} with an answer, {UNSURE} of the others"
    print(text, file=sys.stderr)


def write_csv(rows: list[dict[str, Any]], classes: list[str], path: Path | None) -> None:
    """video, answer, label, frames, p_<class> ..., outside_training, error; to `path`, or standard output."""
    plain = ("video", "answer", "label", "frames", "error")
    columns = [*plain[:-1], *(f"p_{name}" for name in classes), "outside_training", "error"]
    # Names that are no UTF-8 are written escaped.
    with open(path or 1, "w", newline="", closefd=path is not None, errors="backslashreplace") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            values = {f"p_{name}": f"{value:.6f}" for name, value in row.get("probabilities", {}).items()}
            values["outside_training"] = "; ".join(row.get("outside_training", []))
            writer.writerow({key: row[key] for key in plain if key in row} | values)


def save(video: Path, predictor: Predictor, row: dict[str, Any], fps: float, target: Path) -> None:
    """Writes the video as raw | enhanced, with the action and its probability on each frame."""
    lines = [f"{row['label']} {row['probabilities'][row['label']]:.0%}"]
    if row["answer"] != row["label"]:
        lines = [f"{row['answer']} ({lines[0]})"]
    if row["outside_training"]:
        lines.append("unlike the training clips")
    if predictor.training is not None and predictor.training.synthetic:
        lines.append("trained on synthetic clips only")
    frames = tqdm(side_by_side(video, predictor, lines), total=row["frames"], desc="save", unit="frame")
    write_video(target, frames, fps=fps if 1 <= fps <= 240 else 30.0, codec="mp4v")
    print(f"{target}: {row['frames']} frames", file=sys.stderr)


def side_by_side(video: Path, predictor: Predictor, lines: list[str]) -> Iterator[Frames]:
    for frame_HWC in iter_frames(video):
        height, width = frame_HWC.shape[:2]
        scale = min(1.0, SHOWN_HEIGHT / height)
        size = (max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2))
        raw_HWC = np.asarray(cv2.resize(frame_HWC, size, interpolation=cv2.INTER_AREA), np.uint8)
        enhanced_HWC = predictor.enhancer(raw_HWC[None])[0]
        pair_HWC = np.concatenate([raw_HWC, enhanced_HWC], axis=1)
        yield write_on(pair_HWC, lines)


def write_on(frame_HWC: Frames, lines: list[str]) -> Frames:
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


if __name__ == "__main__":
    cli.run(main)
