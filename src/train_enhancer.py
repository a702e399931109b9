"""Trains the enhancement that enhance.method names, on frames of the target's training clips: -> models/enhancer.

With none and gamma there is nothing to train, and the folder says only that.
"""

from darkaction.core import cli


def main() -> None:
    arguments = cli.stage_arguments(__doc__)

    from darkaction.params import settings_of

    params, paths = settings_of(arguments)
    from darkaction.jobs.enhancer.training import train_enhancer

    train_enhancer(params, paths)


if __name__ == "__main__":
    cli.run(main)
