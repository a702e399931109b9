"""Makes released weights usable as train.init_from: python src/import_weights.py NAME|FILE.pth

NAME is one of the list that `--list` prints; it is downloaded. A FILE was downloaded before. Released files are PyTorch
pickles or safetensors: this reads one without running any code in it, compares its hash with the digits at the end of
its name, checks that it holds a network of this project, writes it as models/pretrained/<name>.safetensors and puts
that under DVC.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from darkaction.core import cli
from darkaction.core.errors import UserError
from darkaction.core.paths import ROOT, Paths


def main() -> None:
    arguments = parse_arguments()
    from darkaction.serving.released import RELEASED, convert

    if arguments.list:
        print("\n".join(f"{name:28} {address}" for name, address in RELEASED.items()))
        return
    if arguments.source is None:
        raise UserError(f"say what to import: a .pth file, or one of {', '.join(RELEASED)}")
    name = f"{Paths.PRETRAINED}/{arguments.name or Path(arguments.source).stem}.safetensors"
    target = arguments.root / name
    print(f"{name}: {convert(arguments.source, target, arguments.sha256)}")
    if arguments.dvc:
        command = [sys.executable, "-m", "dvc", "add", "--quiet", str(target)]
        if subprocess.run(command, cwd=arguments.root).returncode:
            raise UserError(f"dvc add {target} failed; the weights are there (--no-dvc leaves it at that)")
        print(f"{name}.dvc: now commit it with git")


def parse_arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("source", metavar="NAME|FILE", nargs="?", help="a name of --list, or a downloaded file")
    parser.add_argument("--list", action="store_true", help="print the names of released weights, and end")
    parser.add_argument("--sha256", metavar="HEX", help="first digits of the file's hash, where its name has none")
    parser.add_argument("--name", metavar="RESULT", help="their name here (default: NAME, or that of FILE)")
    parser.add_argument("--no-dvc", action="store_false", dest="dvc", help="convert only, leave out dvc add")
    parser.add_argument("--root", metavar="DIR", type=Path, default=ROOT, help="the project (default: this one)")
    return parser.parse_args()


if __name__ == "__main__":
    cli.run(main)
