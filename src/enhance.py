"""Enhances and resizes every usable clip of a dataset: data/raw/<dataset> -> data/clips/<dataset>."""

from pathlib import Path

import torch

from darkaction import cli, layout
from darkaction.agreement import enhancer_settings, index_settings, recorded_in, require_same
from darkaction.config import Params
from darkaction.datasets.index import OK, read_index, require_settings, usable_processors
from darkaction.enhancement import LEARNT
from darkaction.enhancement.apply import Clip, Settings, enhance_dataset
from darkaction.errors import UserError
from darkaction.layout import Layout

TRAIN = "python src/train_enhancer.py"


def main() -> None:
    arguments = cli.stage_arguments(__doc__, dataset=True)
    params, places = cli.settings(arguments)
    name: str = arguments.dataset
    if name not in params.datasets:
        raise UserError(f"dataset '{name}' is not one of datasets in params.yaml: {', '.join(params.datasets)}")
    require_settings(places.read(layout.index(name)), index_settings(params)[name])
    weights = places.read(layout.ENHANCER) / "weights.safetensors"
    enhance(places, name, settings(params, name, weights=weights), places.write(layout.clips(name)))


def enhance(places: Layout, name: str, used: Settings, store: Path) -> None:
    """Makes the clip store of a dataset."""
    index = read_index(places.read(layout.index(name)))
    raw = places.read(layout.raw(name))
    usable = index[index["status"] == OK]
    clips = [
        Clip(clip_id=clip_id, path=raw / path, frames=frames)
        for clip_id, path, frames in zip(usable["clip_id"], usable["path"], usable["frames"], strict=True)
    ]
    enhance_dataset(clips, store, used, workers=usable_processors())


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
        device="cuda" if torch.cuda.is_available() else "cpu",
        height=params.enhance.height,
        width=params.enhance.width,
        flow=params.enhance.flow,
    )


if __name__ == "__main__":
    cli.run(main)
