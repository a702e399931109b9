"""Names the action in videos: python src/predict.py VIDEO|FOLDER|GLOB

    python src/predict.py clip.mp4                                 the most probable actions
    python src/predict.py folder/ --csv actions.csv                one row per video
    python src/predict.py clip.mp4 --save seen.mp4                 raw | enhanced, with the action written on it
    python src/predict.py clip.mp4 --explain why.png               where and when the answer comes from
    python src/predict.py clip.mp4 --model models:/darkaction@champion

The default model is that of the last `dvc repro` or, before the first, the weights in models/synthetic. Probabilities
are averaged over several sampling draws and calibrated on validation clips; +- is their standard deviation over the
draws, not the error of the answer. A line says where a video is unlike every training clip.
"""

import argparse
import sys
from pathlib import Path

from darkaction.core import cli
from darkaction.core.errors import UserError
from darkaction.core.paths import Paths
from darkaction.serving.answers import UNSURE, UNSURE_BELOW, write_rows


def main() -> None:
    arguments = parse_arguments()
    from darkaction.serving import videos

    found = videos.find_videos(arguments.videos, alone=arguments.save or arguments.explain)
    model = videos.load_model(arguments.model)
    single, unsure = len(found) == 1 and arguments.csv is None, arguments.unsure_below
    rows, predictions = videos.predict_videos(model, found, unsure_below=unsure, stop=single)
    failures = len(rows) - len(predictions)
    if single and not arguments.json:
        print(predictions[0].text(found[0], arguments.top, unsure))
    for note in model.notes():
        print(f"note: {note}", file=sys.stderr)
    if arguments.save is not None and not failures:
        videos.save(found[0], model, predictions[0], unsure, arguments.save)
    if arguments.explain is not None and not failures:
        videos.explain(found[0], model, predictions[0], arguments.explain)
    write_rows(rows, model.card.classes, as_json=arguments.json, as_text=single, path=arguments.csv)
    if failures:
        raise UserError(f"{failures} of {len(found)} videos could not be used; the column error says why")


def parse_arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("videos", nargs="+", metavar="VIDEO|FOLDER|GLOB")
    parser.add_argument("--model", help=f"{Paths.RECOGNIZER} or another folder, runs:/RUN_ID, models:/NAME@ALIAS")
    parser.add_argument("--top", type=cli.positive, default=3, metavar="K", help="classes to print (default: 3)")
    rule = f"answer '{UNSURE}' below this probability (default: {UNSURE_BELOW})"
    parser.add_argument("--unsure-below", type=cli.fraction, default=UNSURE_BELOW, metavar="P", help=rule)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a table (several videos: standard output)")
    parser.add_argument("--save", type=Path, metavar="OUT.mp4", help="write raw | enhanced with the action on it")
    parser.add_argument("--explain", type=Path, metavar="OUT.png", help="write where and when the answer comes from")
    return parser.parse_args()


if __name__ == "__main__":
    cli.run(main)
