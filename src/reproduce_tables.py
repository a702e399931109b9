"""The paper's comparisons, Tables 1-4 and Figure 1, on the datasets in use: -> reports/tables

    python src/reproduce_tables.py --profile tables-cpu            every method, five seeds, small networks
    python src/reproduce_tables.py --tables 2,3 --methods tgap     some of them
    python src/reproduce_tables.py --tables limited_data           the study of synthetic pretraining
    python src/reproduce_tables.py --report-only                   only writes the tables of what is on record

experiments/tables.yaml (for the study experiments/limited_data.yaml) says what each method is. Every method is
trained with each seed and tested on the test clips; with two folds both halves are tested and pooled. A finished run
stands in reports/tables/runs.csv and is not computed again while its settings, data and code are the same; Ctrl-C
stops, and the same command goes on. Every run is one of MLflow's experiment darkaction-tables.
"""

import argparse
from pathlib import Path

from darkaction.core import cli
from darkaction.core.cli import add_worker_arguments, positive, renamed
from darkaction.core.paths import Paths


def main() -> None:
    arguments = parse()

    from darkaction.params import Params

    params = Params.load(profile=arguments.profile, overrides=arguments.overrides)

    from darkaction.experiments.compare import Request, compare

    compare(params, Request(**vars(arguments)))


def parse() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--tables", type=listed, default=[], metavar="1,2,f1", help="tables or studies (default: all)")
    parser.add_argument("--methods", type=listed, default=[], metavar="KEY,...", help="keys of methods (default: all)")
    parser.add_argument("--source-domain", metavar="NAME", help="the second dataset (default: that of FILE)")
    parser.add_argument("--seeds", type=positive, default=5, metavar="N", help="runs of each method (default: 5)")
    add_worker_arguments(parser)
    parser.add_argument("--report-only", action="store_true", help="train nothing, only write the tables")
    parser.add_argument("--profile", metavar="NAME", help="override params.yaml with profiles/NAME.yaml")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], dest="overrides", help="for example focal.gamma=3"
    )
    parser.add_argument("--experiments", metavar="FILE", help="default: the file of experiments/ with the tables")
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"default: {Paths.TABLES}")
    renamed(parser, {"--rows": "--methods", "--auxiliary": "--source-domain", "--no-run": "--report-only"})
    return parser.parse_args()


def listed(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


if __name__ == "__main__":
    cli.run(main)
