"""Pretrains the network on drawn actions: -> models/pretraining, which train.init_from: models/pretraining begins with.

Off (pretrain.enabled: false) it leaves an empty folder. Every pretraining is a run of MLflow's experiment
darkaction-pretraining. Stopped, it goes on where it was, unless settings, places, enhancement or code are others now.
"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from darkaction import cli, layout
from darkaction.config import Params
from darkaction.folders import new_folder
from darkaction.layout import Layout

if TYPE_CHECKING:
    from darkaction.tracking import Member

EMPTY = "Empty: pretrain.enabled is false in params.yaml.\n"


def main() -> None:
    params, places = cli.settings(cli.stage_arguments(__doc__))
    target = places.write(layout.PRETRAINING)
    if params.pretrain.enabled:
        # A stage that is off need not wait for torch.
        from darkaction.datasets.index import usable_processors

        pretrain(params, places, target, workers=usable_processors())
        return
    with new_folder(target) as folder:
        (folder / "README.md").write_text(EMPTY)
    places.write(f"{layout.RUNS}/pretrain.json").write_text("{}\n")  # DVC expects one


def pretrain(params: Params, places: Layout, target: Path, *, workers: int, member: "Member | None" = None) -> None:
    """Pretrains, on one device, for each fold that needs its own, into `target`, whole or not at all. What was stopped
    goes on if nothing that decides its result has changed, and is removed otherwise.

    Args:
        workers: processes that draw.
        member: of what, where a comparison has it done.
    """
    from darkaction import pretraining, tracking
    from darkaction.agreement import pretraining_settings
    from darkaction.clips import write_settings
    from darkaction.training.fit import Row
    from enhance import settings

    enhancement = settings(params, params.datasets[0], weights=places.read(layout.ENHANCER) / "weights.safetensors")
    stopped = places.write(f"{layout.CHECKPOINTS}/pretraining")
    work = stopped / pretraining.identity(params, places, enhancement)
    for other in stopped.glob("*"):
        if other != work:
            shutil.rmtree(other)
    with tracking.start_run(stage="pretrain", params=params, layout=places, resume=True, member=member) as run:
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
                    places,
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
