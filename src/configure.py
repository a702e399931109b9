"""Edits params.yaml: a profile, single settings, or both. Comments stay; the difference is printed.

    python src/configure.py --profile paper
    python src/configure.py --set focal.gamma=3 --set train.epochs=10
    python src/configure.py --profile demo          undoes other profiles; `git checkout params.yaml` undoes all

The result is checked before anything is written, and the file is replaced in one step.
"""

from darkaction.core import cli, config


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--profile", metavar="NAME", help=f"one of {', '.join(config.profile_names())}")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="overrides",
        help="for example focal.gamma=3; may be repeated",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the difference, write nothing")
    arguments = parser.parse_args()
    if arguments.profile is None and not arguments.overrides:
        parser.error("nothing to do: give --profile NAME, --set KEY=VALUE or both")

    from darkaction.core.params_file import configure
    from darkaction.params import require_valid

    difference = configure(
        config.PARAMS,
        profile=arguments.profile,
        overrides=arguments.overrides,
        write=not arguments.dry_run,
        check=require_valid,
    )
    print(difference or "params.yaml has these settings already\n", end="")


if __name__ == "__main__":
    cli.run(main)
