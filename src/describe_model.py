"""Says where a model comes from: python src/describe_model.py models:/darkaction@champion

Prints the git commit, data versions, command, settings, figures and checksums of the run that made a registered model
(models:/NAME@ALIAS, models:/NAME/VERSION) or of a run (runs:/RUN_ID), and the commands that make the same again.
"""

from darkaction.core import cli


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("model", help="models:/NAME@ALIAS, models:/NAME/VERSION or runs:/RUN_ID")
    model = parser.parse_args().model
    from darkaction.core.paths import Paths
    from darkaction.serving.origin import describe_model
    from darkaction.tracking.store import open_store

    print(describe_model(open_store(Paths()), model))


if __name__ == "__main__":
    cli.run(main)
