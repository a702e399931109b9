"""Names the action in videos: python src/predict.py VIDEO|FOLDER|GLOB

    python src/predict.py clip.mp4                                 the most probable actions
    python src/predict.py folder/ --csv actions.csv                one row per video
    python src/predict.py clip.mp4 --save seen.mp4                 raw | enhanced, with the action written on it
    python src/predict.py clip.mp4 --explain why.png               where and when the answer comes from
    python src/predict.py long.mp4 --timeline actions.png          what happens when; also .csv or .json
    python src/predict.py camera:0                                 a line every few seconds; also rtsp://..., http://...
    python src/predict.py clip.mp4 --model models:/darkaction@champion

The default model is that of the last `dvc repro` or, before the first, the weights in models/synthetic. Probabilities
are means over sampling draws, calibrated; +- is the standard deviation over the draws, not the error of the answer.
"""

import argparse
from pathlib import Path

from darkaction.core import cli
from darkaction.serving.answers import UNSURE_BELOW, Options
from darkaction.serving.timeline.windows import Windows


def main() -> None:
    arguments = parse_arguments()
    from darkaction.serving import streams, videos

    options = Options(
        windows=Windows(arguments.window, arguments.stride),
        unsure_below=arguments.unsure_below,
        top=arguments.top,
        as_json=arguments.json,
        csv=arguments.csv,
        save=arguments.save,
        timeline=arguments.timeline,
        explain=arguments.explain,
    )
    predict = streams.follow if any(map(streams.is_stream, arguments.videos)) else videos.predict
    predict(arguments.videos, arguments.model, options)


def parse_arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    unsure = f"a smaller probability is called unsure (default: {UNSURE_BELOW})"
    parser.add_argument("videos", nargs="+", metavar="VIDEO|FOLDER|GLOB|camera:N|URL", help="videos, or one stream")
    parser.add_argument("--model", help="a folder, runs:/RUN_ID or models:/NAME@ALIAS (default: see above)")
    parser.add_argument("--top", type=cli.positive, default=3, metavar="K", help="actions to print (default: 3)")
    parser.add_argument("--unsure-below", type=cli.fraction, default=UNSURE_BELOW, metavar="P", help=unsure)
    parser.add_argument("--json", action="store_true", help="print JSON in place of text")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a table, one row per video")
    parser.add_argument("--save", type=Path, metavar="OUT.mp4", help="write a video: raw | enhanced, and the action")
    parser.add_argument("--explain", type=Path, metavar="OUT.png", help="draw where and when the answer comes from")
    parser.add_argument("--window", type=float, metavar="SECONDS", help="window length (default: a mean training clip)")
    parser.add_argument("--stride", type=float, metavar="SECONDS", help="from window to window (default: half of one)")
    parser.add_argument("--timeline", type=Path, action="append", default=[], metavar="FILE", help="what happens when")
    return parser.parse_args()


if __name__ == "__main__":
    cli.run(main)
