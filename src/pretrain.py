"""Pretrains the network on drawn actions: -> models/pretraining, which train.init_from: models/pretraining begins with.

Off (pretrain.enabled: false) it leaves an empty folder. Every pretraining is a run of MLflow's experiment
darkaction-pretraining. Stopped, it goes on where it was, unless settings, paths, enhancement or code are others now.
"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from darkaction.core import cli
from darkaction.core.folders import new_folder
from darkaction.core.paths import Paths
from darkaction.params import Params, settings_of

if TYPE_CHECKING:
    from darkaction.tracking.runs import Child

EMPTY = "Empty: pretrain.enabled is false in params.yaml.\n"


def main() -> None:
    params, paths = settings_of(cli.stage_arguments(__doc__))
    target = paths.write(Paths.PRETRAINING)
    if params.pretrain.enabled:
        # A stage that is off need not wait for torch.
        from darkaction.data.index import usable_processors

        pretrain(params, paths, target, workers=usable_processors())
        return
    with new_folder(target) as folder:
        (folder / "README.md").write_text(EMPTY)


def pretrain(params: Params, paths: Paths, target: Path, *, workers: int, child: "Child | None" = None) -> None:
    """Pretrains, on one device, for each fold that needs its own, into `target`, whole or not at all. What was stopped
    goes on if nothing that decides its result has changed, and is removed otherwise.

    Args:
        workers: processes that draw.
        child: of what, where a comparison has it done.
    """
    from darkaction.data.clips import write_settings
    from darkaction.jobs import pretraining
    from darkaction.jobs.identity import pretraining_settings
    from darkaction.tracking.runs import start_run
    from darkaction.training.fit import Row
    from enhance import settings

    enhancement = settings(params, params.datasets[0], weights=paths.read(Paths.ENHANCER) / "weights.safetensors")
    stopped = paths.write(f"{Paths.CHECKPOINTS}/pretraining")
    work = stopped / pretraining.identity(params, paths, enhancement)
    for other in stopped.glob("*"):
        if other != work:
            shutil.rmtree(other)
    with start_run(stage="pretrain", params=params, paths=paths, resume=True, child=child) as run:
        made = []
        reached: dict[int, float] = {}
        folds = pretraining.folds_of(params)
        for fold in range(folds):
            prefix = "" if folds == 1 else f"fold_{fold}."

            def record(epoch: int, row: Row, prefix: str = prefix, fold: int = fold) -> None:
                reached[fold] = row["val_accuracy"]
                run.log_metrics({f"{prefix}{name}": value for name, value in row.items()}, step=epoch)

            made.append(
                pretraining.pretrain(
                    params,
                    paths,
                    fold,
                    work / f"fold_{fold}",
                    enhancement=enhancement,
                    workers=workers,
                    on_epoch=record,
                )
            )
        with new_folder(target) as folder:
            for fold, path in enumerate(made):
                shutil.copytree(path, folder / f"fold_{fold}")
            write_settings(folder, pretraining_settings(params))
        run.log_artifact(target)
        if reached:  # not where it was finished before a stop
            accuracy = f"{sum(reached.values()) / len(reached):.1%} on drawn clips"
            run.describe(f"validation accuracy {accuracy}", accuracy=accuracy)
    shutil.rmtree(stopped)


if __name__ == "__main__":
    cli.run(main)
