"""Enhances and resizes every usable clip of a dataset: data/raw/<dataset> -> data/clips/<dataset>."""

from darkaction.core import cli


def main() -> None:
    arguments = cli.stage_arguments(__doc__, dataset=True)

    from darkaction.jobs.enhancer import apply as enhancing
    from darkaction.params import settings_of

    enhancing.run_stage(*settings_of(arguments), arguments.dataset)


if __name__ == "__main__":
    cli.run(main)
