"""Trains and tests the recognizer with several seeds, and a network that sees one frame: -> reports/seeds.json

    python src/seeds.py [--seeds 3]

The data, split and enhancer stay as they are; the seed changes the initial weights, the order of clips, sampling and
augmentation. The interval speaks of other seeds and other scenes. Needs the clips of `dvc repro`; on two cores each
seed takes about as long as the stages train and evaluate. A stopped training goes on where it was. Every training is a
run of MLflow's experiment darkaction-tables.
"""

from darkaction.core import cli
from darkaction.core.cli import add_worker_arguments, positive


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--seeds", type=positive, default=3, metavar="N", help="how many: 0 to N - 1 (default: 3)")
    add_worker_arguments(parser)
    arguments = parser.parse_args()

    from darkaction.experiments.seeds import compare_seeds

    asked = vars(arguments)
    compare_seeds(asked.pop("seeds"), **asked)


if __name__ == "__main__":
    cli.run(main)
