"""The stage `enhance`: the clip store of a dataset, as params.yaml describes it: -> data/clips/<dataset>."""

from collections.abc import Sequence
from pathlib import Path

import torch

from darkaction.core.agreement import recorded_in, require_same
from darkaction.core.errors import UserError
from darkaction.core.parallel import Mapper
from darkaction.core.paths import Paths
from darkaction.core.provenance import index_digest
from darkaction.data.clips import ENHANCER
from darkaction.data.index import OK, read_index, require_settings
from darkaction.enhancement import LEARNT
from darkaction.enhancement.apply import AUTO, Clip, Settings, enhance_dataset, recorded
from darkaction.jobs.identity import FRAMES_CODE, code_of, enhancer_settings, identity, index_settings
from darkaction.jobs.map_tasks import WORKERS_PER_GPU, mapper_for
from darkaction.params import Params

TRAIN = "python src/train_enhancer.py"


def run_stage(params: Params, paths: Paths, name: str, *, ray_address: str | None) -> None:
    """The stage `enhance` of the dataset `name`, here or on a Ray cluster.

    Raises:
        UserError: when it is no dataset in use, or its index or the enhancer was made with other settings.
    """
    if name not in params.datasets:
        raise UserError(f"dataset '{name}' is not one of datasets in params.yaml: {', '.join(params.datasets)}")
    require_settings(paths.read(Paths.index(name)), index_settings(params)[name])
    weights = paths.read(Paths.ENHANCER) / "weights.safetensors"
    used = settings(params, name, weights=weights, on_ray=ray_address is not None)
    enhance(paths, name, used, paths.write(Paths.clips(name)), ray_address=ray_address)


def enhance(paths: Paths, name: str, used: Settings, store: Path, *, ray_address: str | None = None) -> None:
    """Makes the clip store of a dataset, here or on a Ray cluster."""
    folder = paths.read(Paths.index(name))
    index = read_index(folder)
    raw = paths.read(Paths.raw(name))
    usable = index[index["status"] == OK]
    clips = [
        Clip(clip_id=clip_id, path=raw / path, frames=frames)
        for clip_id, path, frames in zip(usable["clip_id"], usable["path"], usable["frames"], strict=True)
    ]
    mapper = enhancing_mapper(used, ray_address, folders=[store.parent, raw])
    enhance_dataset(clips, store, used, mapper=mapper, fingerprint=_fingerprint(used, folder))


def enhancing_mapper(used: Settings, ray_address: str | None, *, folders: Sequence[Path]) -> Mapper:
    """Where clips are enhanced: here or on a Ray cluster, by a few workers per GPU if the method computes on it."""
    gpu = 0.0 if used.method not in LEARNT or used.device == "cpu" else 1 / WORKERS_PER_GPU
    read = [used.weights] if used.method in LEARNT else []
    return mapper_for(ray_address, gpu=gpu, folders=[*folders, *read])


def _fingerprint(used: Settings, index: Path) -> str:
    """Of all that decides the frames of a store."""
    settings = {name: value for name, value in vars(used).items() if name != "weights"}
    inputs = {"index": index_digest(index / "index.csv"), "weights": recorded(used).get(ENHANCER)}
    return identity(settings, inputs=inputs, code=code_of(FRAMES_CODE))


def settings(params: Params, name: str, *, weights: Path, on_ray: bool = False) -> Settings:
    """How the clips of a dataset are enhanced, with the weights of a method that learns; on a Ray cluster each worker
    finds out whether it has a GPU.

    Raises:
        UserError: when these were trained with other settings.
    """
    method = params.enhance.method if params.enhance.apply[name] else "none"
    if method in LEARNT:
        recorded = recorded_in(weights.with_name("metrics.json"), section="settings", command=TRAIN)
        require_same(recorded, enhancer_settings(params), made=weights.parent, command=TRAIN)
    return Settings(
        method=method,
        gamma=params.enhance.gamma,
        weights=weights,
        curve_scale=params.enhance.curve_scale,
        device=AUTO if on_ray else "cuda" if torch.cuda.is_available() else "cpu",
        height=params.enhance.height,
        width=params.enhance.width,
        flow=params.enhance.flow,
    )
