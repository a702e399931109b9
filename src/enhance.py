"""Enhances and resizes every usable clip of a dataset: data/raw/<dataset> -> data/clips/<dataset>."""

from darkaction.core import cli


def main() -> None:
    arguments = cli.stage_arguments(__doc__, dataset=True, ray=True)

    from darkaction.params import settings_of

    params, paths = settings_of(arguments)
    from darkaction.jobs.enhancer.apply import run_stage

    run_stage(params, paths, arguments.dataset, ray_address=arguments.ray_address)


if __name__ == "__main__":
    cli.run(main)
