"""Searches the settings of tune.space: trains on training clips, scores on validation clips, never on test clips.

    python src/tune.py                                  the budget of tune.trials, a worker per GPU or core
    python src/tune.py --resume                         goes on after a stop, or joins a search that runs
    python src/tune.py --resume --apply                 writes the best values, if new seeds confirm them
    python src/tune.py --profile smoke --trials 8       settings laid over params.yaml, with clips of their own, as a
                                                        study of their own: --resume with the same arguments finds it

The first trial has the values of params.yaml. Needs the clips of `dvc repro`. Results: reports/tune, MLflow's
experiment darkaction-search, and the storage. --storage or OPTUNA_STORAGE names that: a journal file that the processes
of one machine (or of a shared file system) can write, postgresql://USER@HOST/NAME, or Optuna's proxy grpc://HOST:PORT.
A password belongs in OPTUNA_STORAGE or ~/.pgpass. Ctrl-C stops; finished trials stay.
"""

import argparse
from pathlib import Path

from darkaction.core import cli
from darkaction.core.cli import add_worker_arguments, positive
from darkaction.core.paths import ROOT, Paths


def main() -> None:
    arguments = parse()

    from darkaction.search.settings import SearchParams

    params = SearchParams.load(profile=arguments.profile, overrides=arguments.overrides)

    from darkaction.search.search import Request, search

    search(params, Request(**vars(arguments)))


def parse() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--trials", type=positive, metavar="N", help="trials of the study, in all (default: tune.trials)"
    )
    parser.add_argument("--timeout", type=positive, metavar="SECONDS", help="begin no trial after this time")
    add_worker_arguments(parser)
    parser.add_argument("--study", metavar="NAME", help="default: search, and what --profile and --set say")
    parser.add_argument("--storage", metavar="URL", help="default: OPTUNA_STORAGE, or else runs/tune/studies.log")
    parser.add_argument("--resume", action="store_true", help="go on with an existing study, also one that runs")
    parser.add_argument("--create", action="store_true", help="make the study, for others to --resume, and run nothing")
    parser.add_argument("--exists", action="store_true", help="run nothing; exit with 0 if the study exists, else 1")
    parser.add_argument("--apply", action="store_true", help="write the best values into params.yaml, if confirmed")
    parser.add_argument("--force", action="store_true", help="with --apply: write them without confirmation")
    parser.add_argument("--out", type=Path, default=ROOT / Paths.TUNE, metavar="DIR", help=f"default: {Paths.TUNE}")
    parser.add_argument("--profile", metavar="NAME", help="override params.yaml with profiles/NAME.yaml")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], dest="overrides", help="for example focal.gamma=3"
    )
    return parser.parse_args()


if __name__ == "__main__":
    cli.run(main)
