"""The stage `enhance`: the clip store of a dataset, as params.yaml describes it: -> data/clips/<dataset>."""

from pathlib import Path

import torch

from darkaction.core.agreement import recorded_in, require_same
from darkaction.core.errors import UserError
from darkaction.core.parallel import Processes
from darkaction.core.paths import Paths
from darkaction.core.processes import usable_processors
from darkaction.core.provenance import index_digest
from darkaction.data.clips import ENHANCER
from darkaction.data.index import OK, read_index, require_settings
from darkaction.enhancement import LEARNT
from darkaction.enhancement.apply import Clip, Settings, enhance_dataset, recorded
from darkaction.jobs.identity import FRAMES_CODE, code_of, enhancer_settings, identity, index_settings
from darkaction.params import Params

TRAIN = "python src/train_enhancer.py"


WORKERS_PER_GPU = 3
"""Each has a context of its own on the GPU, half a gigabyte; more decode no faster than the GPU enhances."""


def run_stage(params: Params, paths: Paths, name: str) -> None:
    """The stage `enhance` of the dataset `name`.

    Raises:
        UserError: when it is no dataset in use, or its index or the enhancer was made with other settings.
    """
    if name not in params.datasets:
        raise UserError(f"dataset '{name}' is not one of datasets in params.yaml: {', '.join(params.datasets)}")
    require_settings(paths.read(Paths.index(name)), index_settings(params)[name])
    weights = paths.read(Paths.ENHANCER) / "weights.safetensors"
    enhance(paths, name, settings(params, name, weights=weights), paths.write(Paths.clips(name)))


def enhance(paths: Paths, name: str, used: Settings, store: Path) -> None:
    """Makes the clip store of a dataset."""
    folder = paths.read(Paths.index(name))
    index = read_index(folder)
    raw = paths.read(Paths.raw(name))
    usable = index[index["status"] == OK]
    clips = [
        Clip(clip_id=clip_id, path=raw / path, frames=frames)
        for clip_id, path, frames in zip(usable["clip_id"], usable["path"], usable["frames"], strict=True)
    ]
    enhance_dataset(clips, store, used, mapper=Processes(_workers(used)), fingerprint=_fingerprint(used, folder))


def _workers(used: Settings) -> int:
    """One for each core, or, on GPUs, as many as keep these busy."""
    cores = usable_processors()
    return min(cores, WORKERS_PER_GPU * torch.cuda.device_count()) if used.device == "cuda" else cores


def _fingerprint(used: Settings, index: Path) -> str:
    """Of all that decides the frames of a store."""
    settings = {name: value for name, value in vars(used).items() if name != "weights"}
    inputs = {"index": index_digest(index / "index.csv"), "weights": recorded(used).get(ENHANCER)}
    return identity(settings, inputs=inputs, code=code_of(FRAMES_CODE))


def settings(params: Params, name: str, *, weights: Path) -> Settings:
    """How the clips of a dataset are enhanced, with the weights of a method that learns.

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
        device="cuda" if method in LEARNT and torch.cuda.is_available() else "cpu",
        height=params.enhance.height,
        width=params.enhance.width,
        flow=params.enhance.flow,
    )
