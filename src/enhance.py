"""Enhances and resizes every usable clip of a dataset: data/raw/<dataset> -> data/clips/<dataset>."""

import torch

from darkaction import cli, layout
from darkaction.datasets.index import OK, read_index, usable_processors
from darkaction.enhancement.apply import Clip, Settings, enhance_dataset
from darkaction.errors import UserError


def main() -> None:
    arguments = cli.stage_arguments(__doc__, dataset=True)
    params, places = cli.settings(arguments)
    name: str = arguments.dataset
    if name not in params.datasets:
        raise UserError(f"dataset '{name}' is not one of datasets in params.yaml: {', '.join(params.datasets)}")
    index = read_index(places.read(layout.index(name)))
    raw = places.read(layout.raw(name))
    usable = index[index["status"] == OK]
    clips = [
        Clip(clip_id=clip_id, path=raw / path, frames=frames)
        for clip_id, path, frames in zip(usable["clip_id"], usable["path"], usable["frames"], strict=True)
    ]
    settings = Settings(
        method=params.enhance.method if params.enhance.apply[name] else "none",
        gamma=params.enhance.gamma,
        weights=places.read(layout.ENHANCER) / "weights.safetensors",
        curve_scale=params.enhance.curve_scale,
        device="cuda" if torch.cuda.is_available() else "cpu",
        height=params.enhance.height,
        width=params.enhance.width,
    )
    enhance_dataset(clips, places.write(layout.clips(name)), settings, workers=usable_processors())


if __name__ == "__main__":
    cli.run(main)
