"""Makes a trained model the champion if it meets the promotion criterion: python src/promote.py [RUN_ID]

The criterion: the model was evaluated on the same data and split as the champion, and on the clips kept for promotions
(split.promotion) it is shown to be less than registry.margin worse. The model is registered, and the result recorded
with its version.

    python src/promote.py                                                the model of the last dvc repro
    python src/promote.py RUN_ID --force "the old one fails on rain"     promotes in any case; the reason is recorded
"""

import argparse

from darkaction.core import cli
from darkaction.core.errors import UserError


def main() -> None:
    arguments = parse_arguments()
    from darkaction.core.paths import Paths
    from darkaction.serving import registry
    from darkaction.serving.settings import ServingParams
    from darkaction.tracking.store import open_store

    params, paths, alias, forced = ServingParams.load(), Paths(), arguments.alias, arguments.force
    client = open_store(paths)
    verdict = registry.examine(client, params, paths, run=arguments.run, alias=alias, forced=forced is not None)
    print(f"run {verdict.run_id}: {verdict.reason}")
    name = params.registry.name
    if not verdict.passed and forced is None:
        raise UserError(f"{name}: '{alias}' stays with run {verdict.champion}; --force REASON moves it all the same")
    if verdict.champion != verdict.run_id:
        version = registry.promote(client, params, paths, verdict, alias=alias, forced=forced)
        print(f"models:/{name}@{alias} is now version {version}")


def parse_arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "run", metavar="RUN_ID", nargs="?", default="latest", help="a training (default: that of models/recognizer)"
    )
    parser.add_argument("--alias", metavar="NAME", default="champion", help="the alias to move (default: champion)")
    parser.add_argument("--force", metavar="REASON", help="promote whatever the criterion says, and record the reason")
    arguments = parser.parse_args()
    if arguments.force is not None and not arguments.force.strip():
        parser.error("--force needs a reason")
    return arguments


if __name__ == "__main__":
    cli.run(main)
