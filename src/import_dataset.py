"""Brings a downloaded dataset into data/raw under DVC: python src/import_dataset.py arid PATH

PATH is a folder of class folders, <Class>/<Class>_<scene>_<take>.mp4. The clips are copied; PATH stays as it is.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from darkaction import cli, layout
from darkaction.config import ROOT
from darkaction.datasets import arid
from darkaction.errors import UserError


def main() -> None:
    arguments = parse_arguments()
    root: Path = arguments.root
    relative = layout.raw(arguments.dataset)
    listing, copied = arid.import_folder(arguments.path, root / relative, force=arguments.force)
    print(f"{relative}: {len(listing.clips)} clips {'imported' if copied else 'are there already'}")
    for label, count in sorted(listing.per_class().items()):
        print(f"  {label:<10} {count:5d}")
    if listing.skipped:
        names = [str(path) for path in listing.skipped[:5]] + ["..."] * (len(listing.skipped) > 5)
        print(f"left out, not named or ending like clips: {len(listing.skipped)} files ({', '.join(names)})")
    if arguments.dvc:
        track(root, relative)
    print(f"next: list '{arguments.dataset}' under datasets in params.yaml, then dvc repro")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=["arid"])
    parser.add_argument("path", metavar="PATH", type=Path, help="the folder that holds the class folders")
    parser.add_argument("--force", action="store_true", help="replace what was imported before")
    parser.add_argument("--no-dvc", action="store_false", dest="dvc", help="only copy, do not run dvc add")
    parser.add_argument("--root", metavar="DIR", type=Path, default=ROOT, help="the project (default: this one)")
    return parser.parse_args()


def track(root: Path, relative: str) -> None:
    """Puts the folder under DVC: git sees <relative>.dvc."""
    result = subprocess.run(
        [sys.executable, "-m", "dvc", "add", "--quiet", relative], cwd=root, capture_output=True, text=True
    )
    if result.returncode:
        raise UserError(
            f"{root / relative}: the clips are in place, but 'dvc add {relative}' failed: {result.stderr.strip()}"
        )
    print(f"{relative}.dvc: now commit it with git")


if __name__ == "__main__":
    cli.run(main)
