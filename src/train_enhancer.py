"""Trains the enhancement that enhance.method names, on frames of the target's training clips: -> models/enhancer.

With none and gamma there is nothing to train, and the folder says only that.
"""

from darkaction.core import cli


def main() -> None:
    arguments = cli.stage_arguments(__doc__)

    from darkaction.jobs.enhancer.training import train_enhancer
    from darkaction.params import settings_of

    train_enhancer(*settings_of(arguments))


if __name__ == "__main__":
    cli.run(main)
