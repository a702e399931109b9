"""Names the action in videos: python src/predict.py VIDEO|FOLDER|GLOB

    python src/predict.py clip.mp4                                 the most probable actions
    python src/predict.py folder/ --csv actions.csv                a row a video
    python src/predict.py clip.mp4 --save seen.mp4                 raw | enhanced, with the action written on it
    python src/predict.py clip.mp4 --model models:/darkaction@champion

MP4, AVI and Matroska (WebM) within the limits of the section `video` of params.yaml. The probabilities are those of
several sampling draws, averaged; +- is their standard deviation over the draws.
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

from darkaction import cli, config, layout, tracking
from darkaction.errors import UserError
from darkaction.layout import Layout
from darkaction.prediction import Prediction, Predictor
from darkaction.video import CONTAINERS, Frames, VideoError, iter_frames, write_video

SHOWN_HEIGHT = 360
"""Pixels of the larger frames in a saved video."""


def main() -> None:
    arguments = parse_arguments()
    videos = find_videos(arguments.videos)
    if arguments.save is not None and len(videos) != 1:
        raise UserError(f"--save writes one video; {len(videos)} were given")
    predictor = load_model(arguments.model)
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
        rows.append(row_of(video, prediction))
        if single and not arguments.json:
            print_top(video, prediction, top)
    if arguments.json:
        print(json.dumps(rows, indent=2))
    if arguments.csv is not None or not (single or arguments.json):
        write_csv(rows, predictor.card.classes, arguments.csv)
    if arguments.save is not None and not failures:
        save(videos[0], predictor, rows[0], prediction.fps, arguments.save)
    if failures:
        raise UserError(f"{failures} of {len(videos)} videos could not be used; the column error says why")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", metavar="VIDEO|FOLDER|GLOB")
    parser.add_argument(
        "--model",
        default=layout.RECOGNIZER,
        help=f"a folder (default: {layout.RECOGNIZER}), runs:/RUN_ID or models:/NAME@ALIAS",
    )
    parser.add_argument("--top", type=int, default=3, metavar="K", help="classes to print (default: 3)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a table (several videos: standard output)")
    parser.add_argument("--save", type=Path, metavar="OUT.mp4", help="write raw | enhanced with the action on it")
    arguments = parser.parse_args()
    if arguments.top < 1:
        parser.error("--top: at least 1")
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


def load_model(name: str) -> Predictor:
    """The model in a folder, or the one that MLflow has under a URI, with the limits of params.yaml."""
    places, limits = Layout(), config.load().video
    if name.startswith(("runs:/", "models:/")):
        return Predictor.load(tracking.fetch_model(name, places), limits)
    folder = places.read(name)
    inner = folder / Path(layout.RECOGNIZER).name
    return Predictor.load(inner if inner.is_dir() else folder, limits)


def row_of(video: Path, prediction: Prediction) -> dict[str, Any]:
    """What is written of one video."""
    return {
        "video": str(video),
        "label": prediction.label,
        "frames": prediction.frames,
        "probabilities": dict(zip(prediction.classes, prediction.mean_K.tolist(), strict=True)),
        "spread": dict(zip(prediction.classes, prediction.spread_K.tolist(), strict=True)),
    }


def print_top(video: Path, prediction: Prediction, count: int) -> None:
    print(f"{video} ({prediction.frames} frames, {len(prediction.probabilities_DK)} draws)")
    for label, probability, spread in prediction.top(count):
        print(f"  {label:<12} {probability:6.1%} +- {spread:.1%}")


def write_csv(rows: list[dict[str, Any]], classes: list[str], path: Path | None) -> None:
    """video, label, frames, p_<class> ..., error; to `path`, or standard output."""
    columns = ["video", "label", "frames", *(f"p_{name}" for name in classes), "error"]
    # Names that are no UTF-8 are written escaped.
    with open(path or 1, "w", newline="", closefd=path is not None, errors="backslashreplace") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            values = {f"p_{name}": f"{value:.6f}" for name, value in row.get("probabilities", {}).items()}
            writer.writerow({key: row[key] for key in ("video", "label", "frames", "error") if key in row} | values)


def save(video: Path, predictor: Predictor, row: dict[str, Any], fps: float, target: Path) -> None:
    """Writes the video as raw | enhanced, with the action and its probability on each frame."""
    text = f"{row['label']} {row['probabilities'][row['label']]:.0%}"
    frames = tqdm(side_by_side(video, predictor, text), total=row["frames"], desc="save", unit="frame")
    write_video(target, frames, fps=fps if 1 <= fps <= 240 else 30.0, codec="mp4v")
    print(f"{target}: {row['frames']} frames", file=sys.stderr)


def side_by_side(video: Path, predictor: Predictor, text: str) -> Iterator[Frames]:
    for frame_HWC in iter_frames(video):
        height, width = frame_HWC.shape[:2]
        scale = min(1.0, SHOWN_HEIGHT / height)
        size = (max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2))
        raw_HWC = np.asarray(cv2.resize(frame_HWC, size, interpolation=cv2.INTER_AREA), np.uint8)
        enhanced_HWC = predictor.enhancer(raw_HWC[None])[0]
        pair_HWC = np.concatenate([raw_HWC, enhanced_HWC], axis=1)
        yield write_on(pair_HWC, text)


def write_on(frame_HWC: Frames, text: str) -> Frames:
    """The frame with white text on a dark strip at its upper left."""
    scale = max(0.4, frame_HWC.shape[0] / 360 * 0.8)
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    marked_HWC = frame_HWC.copy()
    cv2.rectangle(marked_HWC, (0, 0), (width + 12, height + 14), (20, 20, 20), -1)
    cv2.putText(marked_HWC, text, (6, height + 7), cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return marked_HWC


if __name__ == "__main__":
    cli.run(main)
