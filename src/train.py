"""Trains the recognizer on the clip stores: -> models/recognizer/fold_<k>.

Start of training, in this order: the state of a stopped training of the same settings and clips (checkpoints/), the
weights of train.init_from, fresh weights.
"""

from darkaction.core import cli
from darkaction.core.errors import UserError


def main() -> None:
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--max-steps", type=int, metavar="N", help="stop after N optimisation steps; needs --out")
    arguments = parser.parse_args()
    if arguments.max_steps is not None and arguments.out is None:
        raise UserError("--max-steps makes an unfinished model: say with --out DIR where it goes")

    from darkaction.params import settings_of

    settings = settings_of(arguments)

    from darkaction.jobs.recognizer.train import train

    train(*settings, max_steps=arguments.max_steps)


if __name__ == "__main__":
    cli.run(main)
