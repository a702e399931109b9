"""Generates a synthetic dataset: python src/synthesize.py demo

Procedural dark actions with the structure of ARID, into data/raw/<dataset>; `demo_lit` shows the same actions in lit
rooms. About a minute on two cores.
"""

from darkaction.core import cli
from darkaction.core.paths import Paths
from darkaction.core.processes import usable_processors
from darkaction.params import settings_of


def main() -> None:
    arguments = cli.stage_arguments(__doc__, dataset=True)
    params, paths = settings_of(arguments)
    from darkaction.synthetic.dataset import synthesize

    name: str = arguments.dataset
    count = synthesize(
        name,
        params.synthesize,
        classes=params.data.classes,
        seed=params.seed,
        target=paths.write(Paths.raw(name)),
        workers=usable_processors(),
    )
    print(f"{name}: {count} clips of {len(params.data.classes)} actions")


if __name__ == "__main__":
    cli.run(main)
