"""Indexes a dataset and splits it: data/raw/<dataset> -> data/index/<dataset>."""

import pandas as pd

from darkaction.core import cli
from darkaction.core.errors import UserError
from darkaction.core.paths import Paths
from darkaction.core.processes import usable_processors
from darkaction.data import index as indexing
from darkaction.data import splits
from darkaction.data.importers.official import read_official
from darkaction.jobs.identity import index_settings
from darkaction.params import settings_of


def main() -> None:
    arguments = cli.stage_arguments(__doc__, dataset=True)
    params, paths = settings_of(arguments)
    name: str = arguments.dataset
    if name not in params.datasets:
        raise UserError(f"dataset '{name}' is not one of datasets in params.yaml: {', '.join(params.datasets)}")
    raw = paths.read(Paths.raw(name))
    target = name == params.datasets[0]
    index, backgrounds_NHWC = indexing.build_index(
        raw,
        dataset=name,
        target=target,
        classes=params.data.classes,
        max_quarantined=params.prepare.max_quarantined,
        workers=usable_processors(),
        limits=params.video,
    )
    usable = index[index["status"] == indexing.OK]
    official = None
    if target and params.split.strategy == "official":
        official = read_official(raw, params.split.official, usable["path"])
    folds = splits.assign_folds(
        usable,
        target=target,
        classes=params.data.classes,
        strategy=params.split.strategy,
        folds=params.split.folds,
        test=params.split.test,
        validation=params.split.validation,
        val=params.split.val,
        seed=params.seed,
        official=official,
    )
    index = index.join(folds).fillna("none")
    summary = indexing.summarize(
        index,
        settings=index_settings(params)[name],
        strategy=params.split.strategy,
        validation=params.split.validation,
    )
    indexing.write_index(paths.write(Paths.index(name)), index, backgrounds_NHWC, summary)
    print_table(index)


def print_table(index: pd.DataFrame) -> None:
    """Clips by class and part of each fold, and what was left out."""
    usable = index[index["status"] == indexing.OK]
    for column in indexing.fold_columns(index):
        print(f"\n{pd.crosstab(usable['label'], usable[column], margins=True, margins_name='all')}")
    lost = index[index["status"] == indexing.QUARANTINED]
    conflicts = int(lost["reason"].str.startswith(indexing.CONFLICT).sum())
    print(f"\nquarantined: {len(lost)}" + (f", {conflicts} of them for conflicts of labels" if conflicts else ""))
    for row in lost.itertuples():
        print(f"  {row.path}: {row.reason}")
    unlabelled = int((index["status"] == indexing.UNLABELLED).sum())
    if unlabelled:
        print(f"unlabelled, for predict only: {unlabelled}")
    others = index[index["status"] == indexing.OTHER_CLASS]["label"].value_counts()
    print("clips of other classes: " + (", ".join(f"{label} {count}" for label, count in others.items()) or "none"))


if __name__ == "__main__":
    cli.run(main)
