"""Compares two models by their predictions on the same clips: python src/compare.py A.csv B.csv

    dvc get . reports/predictions.csv --rev HEAD~1 --out /tmp/before.csv
    python src/compare.py reports/predictions.csv /tmp/before.csv

Prints the accuracy of both, their difference with an interval over scenes, its p-value over scenes, and that of
McNemar's exact test over clips. Both hold for these two trainings: other seeds may differ more.
"""

from pathlib import Path

from darkaction.core import cli


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("a", type=Path, metavar="A.csv", help="predictions.csv of one model")
    parser.add_argument("b", type=Path, metavar="B.csv", help="that of another model, for the same clips")
    arguments = parser.parse_args()
    from darkaction.evaluation.predictions import compare_files
    from darkaction.params import Params

    params = Params.load()
    print(compare_files(arguments.a, arguments.b, params.evaluate, seed=params.seed))


if __name__ == "__main__":
    cli.run(main)
