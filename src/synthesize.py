"""Generates a synthetic dataset: python src/synthesize.py demo

Procedural dark actions with the structure of ARID, into data/raw/<dataset>; `demo_lit` shows the same actions in lit
rooms. About a minute on two cores.
"""

from darkaction.core import cli
from darkaction.core.errors import UserError
from darkaction.core.parallel import Processes
from darkaction.core.paths import Paths
from darkaction.core.processes import usable_processors
from darkaction.params import settings_of


def main() -> None:
    arguments = cli.stage_arguments(__doc__, dataset=True)
    params, paths = settings_of(arguments)
    name: str = arguments.dataset
    if name not in params.synthesize.domains:
        raise UserError(f"dataset '{name}' is none of synthesize.domains: {params.synthesize.domains}")
    from darkaction.jobs.identity import synthetic_fingerprint
    from darkaction.synthetic.dataset import synthesize

    count = synthesize(
        name,
        params.synthesize,
        classes=params.data.classes,
        seed=params.seed,
        target=paths.write(Paths.raw(name)),
        mapper=Processes(usable_processors()),
        fingerprint=synthetic_fingerprint(params),
    )
    print(f"{name}: {count} clips of {len(params.data.classes)} actions")


if __name__ == "__main__":
    cli.run(main)
