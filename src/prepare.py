"""Indexes a dataset and splits it: data/raw/<dataset> -> data/index/<dataset>."""

from darkaction.core import cli
from darkaction.core.errors import UserError
from darkaction.core.paths import Paths
from darkaction.params import settings_of


def main() -> None:
    arguments = cli.stage_arguments(__doc__, dataset=True, ray=True)
    params, paths = settings_of(arguments)
    name: str = arguments.dataset
    if name not in params.datasets:
        raise UserError(f"dataset '{name}' is not one of datasets in params.yaml: {', '.join(params.datasets)}")
    from darkaction.data.prepare import describe, prepare
    from darkaction.jobs.identity import index_settings, measure_fingerprint
    from darkaction.jobs.map_tasks import mapper_for

    raw, target = paths.read(Paths.raw(name)), paths.write(Paths.index(name))
    index = prepare(
        raw,
        target,
        dataset=name,
        target=name == params.datasets[0],
        classes=params.data.classes,
        limits=params.video,
        section=params.prepare,
        split=params.split,
        seed=params.seed,
        made_with=index_settings(params)[name],
        mapper=mapper_for(arguments.ray_address, gpu=0, folders=[target.parent, raw]),
        fingerprint=measure_fingerprint(params),
    )
    print("\n".join(describe(index)))


if __name__ == "__main__":
    cli.run(main)
