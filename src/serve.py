"""Serves a model to clients that need not be trusted: python src/serve.py

    python src/serve.py --model models:/darkaction@champion --port 5000
    python src/serve.py --model models/synthetic                           the weights in git

POST /invocations takes videos as MLflow's scoring server does; GET /ping answers when the server is well. What it
refuses, and how to ask: docs/serving.md. The limits are the section `serving` of params.yaml. It listens on this
machine only; --host 0.0.0.0 opens it to the network. Ctrl-C or SIGTERM ends it within ten seconds.
"""

import argparse

from darkaction.core import cli
from darkaction.core.paths import Paths


def main() -> None:
    arguments = parse_arguments()
    from darkaction.serving import videos
    from darkaction.serving.server import application
    from darkaction.serving.settings import ServingParams

    params = ServingParams.load(overrides=arguments.overrides)
    application.serve(videos.find_model(arguments.model), params, host=arguments.host, port=arguments.port)


def parse_arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--model", help=f"a folder, runs:/RUN_ID, models:/NAME@ALIAS (default: {Paths.RECOGNIZER})")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="default: 127.0.0.1, this machine only")
    parser.add_argument("--port", type=cli.positive, default=5000, metavar="N", help="default: 5000")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="serving.KEY=VALUE",
        help="for example serving.timeout_seconds=60; may be repeated",
    )
    return parser.parse_args()


if __name__ == "__main__":
    cli.run(main)
