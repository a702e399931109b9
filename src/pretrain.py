"""Pretrains the network on synthetic clips: -> models/pretraining, where train.init_from: models/pretraining starts.

Off (pretrain.enabled: false) it leaves an empty folder. Every pretraining is a run of MLflow's experiment
darkaction-pretraining. Stopped, it goes on where it was, unless settings, paths, enhancement or code are others now.
"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from darkaction.core import cli
from darkaction.core.folders import new_folder
from darkaction.core.paths import Paths
from darkaction.core.processes import usable_processors
from darkaction.params import Params, settings_of

if TYPE_CHECKING:
    from darkaction.tracking import Member

EMPTY = "Empty: pretrain.enabled is false in params.yaml.\n"


def main() -> None:
    params, paths = settings_of(cli.stage_arguments(__doc__))
    target = paths.write(Paths.PRETRAINING)
    if params.pretrain.enabled:
        pretrain(params, paths, target, workers=usable_processors())
        return
    with new_folder(target) as folder:
        (folder / "README.md").write_text(EMPTY)
    paths.write(f"{Paths.RUNS}/pretrain.json").write_text("{}\n")  # DVC expects one


def pretrain(params: Params, paths: Paths, target: Path, *, workers: int, member: "Member | None" = None) -> None:
    """Pretrains, on one device, into `target`, whole or not at all. What was stopped
    goes on if nothing that decides its result has changed, and is removed otherwise.

    Args:
        workers: processes that generate clips.
        member: of what, where a comparison has it done.
    """
    from darkaction import tracking
    from darkaction.data.clips import write_settings
    from darkaction.jobs import pretraining
    from darkaction.jobs.identity import pretraining_settings
    from darkaction.training.fit import Row
    from enhance import settings

    enhancement = settings(params, params.datasets[0], weights=paths.read(Paths.ENHANCER) / "weights.safetensors")
    stopped = paths.write(f"{Paths.CHECKPOINTS}/pretraining")
    work = stopped / pretraining.identity(params, enhancement)
    for other in stopped.glob("*"):
        if other != work:
            shutil.rmtree(other)
    with tracking.start_run(stage="pretrain", params=params, paths=paths, resume=True, member=member) as run:
        reached: list[float] = []

        def record(epoch: int, row: Row) -> None:
            reached.append(row["val_accuracy"])
            run.log_metrics(dict(row), step=epoch)

        made = pretraining.pretrain(
            params, paths, work / "fold_0", enhancement=enhancement, workers=workers, on_epoch=record
        )
        with new_folder(target) as folder:
            shutil.copytree(made, folder / "fold_0")
            write_settings(folder, pretraining_settings(params))
        run.log_artifact(target)
        if reached:  # not where it was finished before a stop
            accuracy = f"{reached[-1]:.1%} on synthetic clips"
            run.describe(f"validation accuracy {accuracy}", accuracy=accuracy)
    shutil.rmtree(stopped)


if __name__ == "__main__":
    cli.run(main)
