"""Reports the leakage of each split, side by side: data/index -> reports/leakage.json and reports/leakage/.

For the split in use and for the other strategies that the clips allow: clips and near copies on both sides, scenes on
both sides, and the mean-frame 1-NN baseline, which sees mostly the room.
"""

from darkaction.core import cli
from darkaction.params import settings_of


def main() -> None:
    arguments = cli.stage_arguments(__doc__)
    params, paths = settings_of(arguments)
    from darkaction.evaluation.leakage import describe, report_leakage
    from darkaction.jobs.identity import index_settings

    report = report_leakage(
        paths,
        made_with=index_settings(params),
        classes=params.data.classes,
        split=params.split,
        near_duplicate=params.prepare.near_duplicate,
        evaluate=params.evaluate,
        seed=params.seed,
    )
    print("\n".join(describe(report, used=params.split.strategy)))


if __name__ == "__main__":
    cli.run(main)
