"""Draws one of the demo datasets: python src/synthesize.py demo

Procedural dark actions with the structure of ARID, into data/raw/<dataset>; `demo_lit` shows the same actions in lit
rooms. About a minute on two cores.
"""

import os

from darkaction.core import cli
from darkaction.core.errors import UserError
from darkaction.core.folders import new_folder
from darkaction.core.paths import Paths
from darkaction.params import settings_of
from darkaction.synthetic.generate import DemoSettings, generate


def main() -> None:
    arguments = cli.stage_arguments(__doc__, dataset=True)
    params, paths = settings_of(arguments)
    if arguments.dataset not in params.synthesize.domains:
        raise UserError(f"dataset '{arguments.dataset}' is none of synthesize.domains: {params.synthesize.domains}")
    settings = DemoSettings(
        classes=tuple(params.data.classes),  # type: ignore[arg-type]  # generate() checks them
        scenes=params.synthesize.scenes,
        takes=params.synthesize.takes,
        height=params.synthesize.height,
        width=params.synthesize.width,
        fps=30,
        lit=arguments.dataset == "demo_lit",
        seed=params.seed,
        codec=params.synthesize.codec,
        variation=None,
        backgrounds=(),
    )
    with new_folder(paths.write(Paths.raw(arguments.dataset))) as folder:
        clips = generate(settings, folder, workers=os.cpu_count() or 1, progress=True)
    print(f"{arguments.dataset}: {len(clips)} clips of {len(params.data.classes)} actions")


if __name__ == "__main__":
    cli.run(main)
