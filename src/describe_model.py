"""Says where a model comes from, or what the training of one takes.

    python src/describe_model.py models:/darkaction@champion
    python src/describe_model.py --profile paper            the network of the settings, before it is trained

The first prints the git commit, data versions, command, settings, figures and checksums of the run that made a
registered model (models:/NAME@ALIAS, models:/NAME/VERSION) or of a run (runs:/RUN_ID), and the commands that make the
same again. The second prints parameters, operations and the memory of a training step; nothing of that size is made.
"""

from darkaction.core import cli
from darkaction.core.errors import UserError


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "model", metavar="MODEL", nargs="?", help="models:/NAME@ALIAS, models:/NAME/VERSION or runs:/RUN_ID"
    )
    parser.add_argument("--profile", metavar="NAME", help="without MODEL: override params.yaml with profiles/NAME.yaml")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="overrides",
        help="without MODEL: for example focal.gamma=3",
    )
    arguments = parser.parse_args()
    if arguments.model is None:
        from darkaction.params import Params

        params = Params.load(profile=arguments.profile, overrides=arguments.overrides)

        from darkaction.jobs.recognizer.cost import describe

        print(describe(params))
        return
    if arguments.profile or arguments.overrides:
        raise UserError(f"{arguments.model} has settings of its own: no --profile, --set")
    from darkaction.core.paths import Paths
    from darkaction.serving.origin import describe_model
    from darkaction.tracking.store import open_store

    print(describe_model(open_store(Paths()), arguments.model))


if __name__ == "__main__":
    cli.run(main)
