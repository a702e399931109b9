"""Makes models/synthetic, the weights that come with the project, from a pretraining: the last step of `make weights`.

Matrices are stored in 16 bits, which halves the file. How much that changes probabilities is measured on synthetic
clips and printed.
"""

from darkaction.core import cli


def main() -> None:
    arguments = cli.stage_arguments(__doc__)
    from darkaction.params import settings_of

    _, paths = settings_of(arguments)
    from darkaction.serving.package import package_weights

    print(package_weights(paths))


if __name__ == "__main__":
    cli.run(main)
