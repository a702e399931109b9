"""Imports a downloaded dataset into data/raw, under DVC: python src/import_dataset.py arid|hmdb51 PATH [PATH ...]

PATH is a folder, an archive as downloaded (.zip, .tar, .tar.gz, .7z, .rar) or a list; several are taken together, for
example the clips and the official splits. The sources stay as they are.

    python src/import_dataset.py arid ARID_1.1/            class folders, Walk/Walk_3_12.mp4, at any depth, with lists
    python src/import_dataset.py arid ARID/ mine.csv       only the clips of a list: `path`, `path label`, `id label
                                                           path` or with a header, any separator (.txt, .csv, .tsv)
    python src/import_dataset.py hmdb51 hmdb51_org.rar test_train_splits.rar

A stopped import goes on where it was when it is started again.
"""

import argparse
from pathlib import Path

from darkaction.core import cli
from darkaction.core.paths import ROOT, Paths

NEXT = {
    "arid": "python src/configure.py --profile arid-sample (a small network) or paper, or list 'arid' first under "
    "datasets in params.yaml",
    "hmdb51": "list 'hmdb51' under datasets in params.yaml, behind the target",
}
"""What a person does with an imported dataset."""


def main() -> None:
    arguments = parse_arguments()
    from darkaction.data.importers.engine import import_dataset, track

    root, relative = arguments.root, Paths.raw(arguments.dataset)
    force, dry_run = arguments.force, arguments.dry_run
    result = import_dataset(arguments.dataset, arguments.paths, root / relative, force=force, dry_run=dry_run)
    print("\n".join(result.plan.describe()))
    count = len(result.plan.clips)
    if dry_run:
        print(f"{relative}: {count} clips would be imported ({result.plan.size / 1e6:,.0f} MB)")
        return
    print(f"{relative}: {count} clips {'imported' if result.changed else 'are there already'}")
    if arguments.dvc:
        track(root, relative)
        print(f"{relative}.dvc: now commit it with git")
    print(f"next: {NEXT[arguments.dataset]}, then dvc repro")


def parse_arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("dataset", choices=sorted(NEXT), help="which one it is")
    parser.add_argument("paths", metavar="PATH", type=Path, nargs="+", help="a folder, an archive or a list")
    parser.add_argument("--dry-run", action="store_true", help="say what would be imported, change nothing")
    parser.add_argument("--force", action="store_true", help="replace what was imported before")
    parser.add_argument("--no-dvc", action="store_false", dest="dvc", help="copy only, leave out dvc add")
    parser.add_argument("--root", metavar="DIR", type=Path, default=ROOT, help="the project (default: this one)")
    return parser.parse_args()


if __name__ == "__main__":
    cli.run(main)
