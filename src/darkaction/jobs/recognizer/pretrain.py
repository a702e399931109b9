"""The stage `pretrain`: trains the network on synthetic clips: -> models/pretraining."""

import shutil
import sys
from functools import partial
from pathlib import Path

from darkaction.core.folders import new_folder
from darkaction.core.model_folder import label, place
from darkaction.core.parallel import Mapper, Processes
from darkaction.core.paths import Paths
from darkaction.core.processes import only_one
from darkaction.data.shards import write_settings
from darkaction.enhancement.apply import Settings
from darkaction.jobs.enhancer import apply as enhancing
from darkaction.jobs.identity import pretraining_settings
from darkaction.jobs.recognizer import pretraining, recipe
from darkaction.params import Params
from darkaction.tracking.runs import Child, Run, start_run
from darkaction.training.fit import Row


def pretrain(
    params: Params,
    paths: Paths,
    target: Path,
    *,
    ray_address: str | None = None,
    workers: int | None = None,
    child: Child | None = None,
) -> None:
    """Pretrains each member, on one device, into `target`, whole or not at all. A stopped pretraining goes on if
    nothing that decides its result has changed, and is removed otherwise.

    Args:
        ray_address: of the cluster that synthetic clips are made on; None: they are made here.
        workers: most processes that make them here; None: as many as the machine has cores or GPUs for.
        child: as which the run is known, where a search or comparison has it done.
    """
    enhancement = enhancing.settings(
        params,
        params.datasets[0],
        weights=paths.read(Paths.ENHANCER) / "weights.safetensors",
        on_ray=ray_address is not None,
    )
    stopped = paths.write(f"{Paths.CHECKPOINTS}/pretraining")
    work = stopped / pretraining.identity(params, enhancement)
    mapper = enhancing.enhancing_mapper(enhancement, ray_address, folders=[stopped.parent])
    if workers is not None and isinstance(mapper, Processes):
        mapper = Processes(min(workers, mapper.workers))
    with only_one(stopped.with_name("pretraining.lock"), task="a pretraining"):
        for other in stopped.glob("*"):
            if other != work:
                print(
                    f"{other}: a stopped pretraining with other settings, enhancement or code, removed", file=sys.stderr
                )
                shutil.rmtree(other)
        with start_run(stage="pretrain", params=params, paths=paths, resume=True, child=child) as run:
            made = _pretrain_in(work, params, paths, enhancement, mapper, run)
            with new_folder(target) as folder:
                for member, own in enumerate(made):
                    shutil.copytree(own, folder / place(0, member))
                write_settings(folder, pretraining_settings(params))
            run.log_artifact(target)
        shutil.rmtree(stopped)


def _pretrain_in(
    work: Path, params: Params, paths: Paths, enhancement: Settings, mapper: Mapper, run: Run
) -> list[Path]:
    """Pretrains each member in `work` and records it in `run`; the folders of the weights."""
    reached: dict[int, float] = {}

    def record(member: int, epoch: int, row: Row) -> None:
        reached[member] = row["val_accuracy"]
        prefix = f"member_{member}." if member else ""
        run.log_metrics({f"{prefix}{name}": value for name, value in row.items()}, step=epoch)

    made = [
        pretraining.pretrain(
            recipe.of_member(params, member),
            paths,
            work / label(0, member),
            enhancement=enhancement,
            mapper=mapper,
            on_epoch=partial(record, member),
        )
        for member in range(params.train.members)
    ]
    if reached:  # not where it was finished before a stop
        accuracy = f"{', '.join(f'{value:.1%}' for value in reached.values())} on synthetic clips"
        run.describe(f"validation accuracy {accuracy}", accuracy=accuracy)
    return made
