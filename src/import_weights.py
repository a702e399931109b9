"""Makes downloaded R(2+1)D weights usable as train.init_from: python src/import_weights.py FILE.pth [--sha256 449a7af9]

The released IG-65M and Kinetics files are PyTorch pickles. This reads one without running any code in it, checks that
it holds the keys of R(2+1)D, writes it as models/pretrained/<name>.safetensors and puts that under DVC.
Known files: r2plus1d_34_clip32_ig65m_from_scratch-449a7af9.pth (the hash begins as the name ends).
"""

import argparse
import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from darkaction import cli
from darkaction.config import ROOT
from darkaction.errors import UserError

FOLDER = "models/pretrained"
REQUIRED = ("stem.0.weight", "layer1.0.conv1.0.0.weight", "layer4.0.conv1.0.0.weight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", metavar="FILE", type=Path, help="a .pth file with a state dict of R(2+1)D")
    parser.add_argument("--sha256", metavar="HEX", default="", help="first digits that the file's hash must have")
    parser.add_argument("--name", help="name of the result (default: that of FILE)")
    parser.add_argument("--no-dvc", action="store_false", dest="dvc", help="only convert, do not run dvc add")
    parser.add_argument("--root", metavar="DIR", type=Path, default=ROOT, help="the project (default: this one)")
    arguments = parser.parse_args()
    state = read_pickle(arguments.file, arguments.sha256.lower())
    target = arguments.root / FOLDER / f"{arguments.name or arguments.file.stem}.safetensors"
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    save_file(state, partial)
    os.replace(partial, target)
    print(
        f"{target.relative_to(arguments.root)}: {len(state)} tensors, {sum(t.numel() for t in state.values()):,} values"
    )
    if arguments.dvc:
        subprocess.run([sys.executable, "-m", "dvc", "add", "--quiet", str(target)], cwd=arguments.root, check=True)
        print(f"{target.relative_to(arguments.root)}.dvc: now commit it with git")


def read_pickle(path: Path, sha256: str) -> dict[str, Tensor]:
    """The state dict in `path`, read without running code.

    Raises:
        UserError: when the file is missing, has another hash, holds more than tensors, or is no R(2+1)D.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(sha256):
        raise UserError(f"{path}: its sha256 is {found}, which does not begin with {sha256}: damaged or another file")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: not a file of plain weights: {reason}") from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path}: holds {type(state).__name__}, expected a state dict of tensors")
    missing = [key for key in REQUIRED if key not in state]
    if missing:
        raise UserError(f"{path}: no weights of R(2+1)D: {', '.join(missing)} is missing")
    return {key: value.contiguous() for key, value in state.items()}


if __name__ == "__main__":
    cli.run(main)
