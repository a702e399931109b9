"""Writes a model as one file for other runtimes: python src/export.py --format onnx|torch_export

    python src/export.py --format onnx                             darkaction.onnx, for ONNX Runtime
    python src/export.py --format torch_export --out seen.pt2      for torch.export.load, without this project
    python src/export.py --format onnx --model models:/darkaction@champion --out champion.onnx

The file holds everything from raw frames to calibrated probabilities: enhancement, resizing and all networks, in
float32. FILE.json beside it says which frames to give it. It is compared with this project on synthetic clips and kept
only if labels are the same and probabilities, of the same enhanced frames, differ by less than 0.0001.
"""

import argparse
from pathlib import Path

from darkaction.core import cli
from darkaction.core.paths import Paths


def main() -> None:
    arguments = parse_arguments()
    from darkaction.serving.export.files import FORMATS, export
    from darkaction.serving.videos import find_model

    target = arguments.out or Path(f"darkaction{FORMATS[arguments.format]}")
    print("\n".join(export(find_model(arguments.model), target, arguments.format)))


def parse_arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--format", choices=["onnx", "torch_export"], required=True, help="of the file")
    parser.add_argument("--model", help=f"a folder, runs:/RUN_ID, models:/NAME@ALIAS (default: {Paths.RECOGNIZER})")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: darkaction.onnx or darkaction.pt2 here")
    return parser.parse_args()


if __name__ == "__main__":
    cli.run(main)
