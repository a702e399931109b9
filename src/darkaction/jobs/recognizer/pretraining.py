"""Pretraining on synthetic clips: they go from the generator, through the target's enhancement, straight into a clip
store, and the network of params.yaml is trained on them as on any dataset. No video file, no label of a real clip.

    generator ─ dark frames ─ enhancement ─ resize ─ clip store ─ training ─ models/pretraining
"""

import math
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from darkaction.core import config
from darkaction.core.errors import UserError
from darkaction.core.folders import kept_folder, new_folder
from darkaction.core.parallel import Mapper
from darkaction.core.paths import Paths
from darkaction.data.clips import LIST, ClipStore
from darkaction.data.index import OK
from darkaction.data.shards import MOST_SHARDS, is_written, write_list, write_settings, write_shard
from darkaction.data.video import BT_601, Frames
from darkaction.enhancement.apply import Settings, build_enhancer, enhance_clip, recorded, worker_enhancer
from darkaction.jobs.identity import identity as identity_of
from darkaction.jobs.identity import sha256, training_code
from darkaction.jobs.recognizer import recipe
from darkaction.jobs.recognizer.smaller_batch import say_halved, with_smaller_batch
from darkaction.params import Params
from darkaction.synthetic.contact_sheet import contact_sheet, write_sheet
from darkaction.synthetic.dataset import Key, clip_name, generate, scenes
from darkaction.synthetic.domain_randomization import Pretraining
from darkaction.synthetic.generator import GeneratorSettings
from darkaction.synthetic.human.motion import ACTIONS
from darkaction.training.fit import Row

DATASET = "synthetic"
"""How the synthetic clips are called; they are no dataset of the pipeline."""

LUMAS = "luma.csv"
"""Beside the list of the clip store: mean luma of each clip before it was enhanced."""

SHOWN = 6
"""Moments of an action on the contact sheet."""


def settings_of(params: Params) -> Params:
    """The settings of the training on synthetic clips: those of the target's training, but for what `pretrain` says.

    Raises:
        UserError: when pretrain.classes lacks a class of data.classes, or names one that the generator lacks.
    """
    wanted = params.pretrain
    classes = params.data.classes if wanted.classes is None else wanted.classes
    unknown = [name for name in classes if name not in ACTIONS]
    missing = [name for name in params.data.classes if name not in classes]
    if unknown or missing:
        problem = f"no {unknown[0]} is there" if unknown else f"{missing[0]} of data.classes is missing"
        raise UserError(f"pretrain.classes: {problem}; the generator has {', '.join(ACTIONS)}")
    nested = config.as_nested(params)
    alpha = None if isinstance(params.focal.alpha, list) else params.focal.alpha  # it would be one number a class
    enhanced = params.enhance.apply[params.datasets[0]]
    whole = {
        **nested,
        "datasets": [DATASET],
        "data": {**nested["data"], "classes": list(classes)},
        "split": {**nested["split"], "folds": 1, "strategy": "scene", "validation": "scene"},
        "enhance": {**nested["enhance"], "apply": {DATASET: enhanced}},
        "model": {**nested["model"], "mran": False},
        "focal": {**nested["focal"], "alpha": alpha},
        "optimizer": {**nested["optimizer"], "max_lr": wanted.max_lr, "warmup": wanted.warmup},
        "train": {
            **nested["train"],
            "epochs": wanted.epochs,
            "batch_size": wanted.batch_size,
            "members": 1,
            "init_from": None,
            "freeze_batchnorm": False,
            "shots_per_class": None,
            "devices": 1,
            "nodes": 1,
            "checkpoint": "last",
            "early_stopping": None,
        },
    }
    return config.build(Params, whole, origin="the settings of pretrain")


def pretrain(
    params: Params,
    paths: Paths,
    work: Path,
    *,
    enhancement: Settings,
    mapper: Mapper,
    on_epoch: Callable[[int, Row], None],
) -> Path:
    """Generates clips and trains on them, unless that was done before a stop.

    Args:
        work: a folder of this pretraining (see `identity`), where a stopped one goes on.
        enhancement: how clips of the target are enhanced and stored.
        mapper: where clips are generated.

    Returns:
        The folder, within `work`, of weights.safetensors, history.csv and clips.png.
    """
    made, store = work / "made", work / "clips"
    if recipe.is_trained(made):
        return made
    generator = generator_settings(params)
    if not _is_whole(store):
        own = identity(params, enhancement)
        generate_store(generator, store, enhancement, mapper=mapper, fingerprint=own)
    with new_folder(made) as folder:

        def train(own: Params) -> None:
            recipe.train_fold(
                own,
                replace(paths, moved={**paths.moved, Paths.clips(DATASET): store}),
                table_of(generator, store, val=params.pretrain.val),
                0,
                folder,
                checkpoints=work / "checkpoints" / f"batch_{own.train.batch_size}",
                init=None,
                max_steps=None,
                on_epoch=on_epoch,
            )

        with_smaller_batch(train, settings_of(params), partial(say_halved, "pretrain.batch_size"))
        write_sheet(
            folder / "clips.png", contact_sheet(generator, tuple(range(1, generator.scenes + 1)), moments=SHOWN)
        )
    shutil.rmtree(store)
    return made


def _is_whole(store: Path) -> bool:
    """Whether clips were generated before a stop. Damaged ones, which a line says, do not count."""
    try:
        if (store / LIST).exists():
            ClipStore(store).verify()
            return True
    except UserError:
        print(f"{store}: damaged clips; all are generated again", file=sys.stderr, flush=True)
    return False


def identity(params: Params, enhancement: Settings) -> str:
    """Identifies a pretraining by whatever decides its result."""
    weights = enhancement.weights
    enhancer = {"enhancer": sha256(weights) if weights.is_file() else None}
    return identity_of(describe(params), inputs=enhancer, code=training_code())


def generator_settings(params: Params) -> GeneratorSettings:
    """What the generator is asked for."""
    wanted = params.pretrain
    return GeneratorSettings(
        preset=Pretraining(ranges=wanted.domain_randomization),
        classes=tuple(settings_of(params).data.classes),  # type: ignore[arg-type]  # checked there
        scenes=wanted.scenes,
        takes=wanted.takes,
        height=wanted.height,
        width=wanted.width,
        seed=params.seed,
    )


# Clips


def generate_store(
    generator: GeneratorSettings, store: Path, enhancement: Settings, *, mapper: Mapper, fingerprint: str
) -> None:
    """Generates all clips into a clip store, whole or not at all, a shard for some scenes; the result does not depend
    on `mapper`. After a stop the next one goes on with the shards that are not complete.

    Args:
        mapper: where shards are made.
        fingerprint: of all that decides the clips.
    """
    build_enhancer(replace(enhancement, device="cpu"))  # a wrong setting fails here, before any process starts
    of_scenes = scenes(generator)
    together = math.ceil(len(of_scenes) / MOST_SHARDS)
    keys = [
        tuple(key for scene in of_scenes[first : first + together] for key in scene)
        for first in range(0, len(of_scenes), together)
    ]
    shards = list(enumerate(keys))
    with kept_folder(store, fingerprint) as folder:
        missing = [shard for shard in shards if not is_written(folder, shard[0])]
        keep = partial(_keep, generator, folder, enhancement)
        with tqdm(total=sum(map(len, keys)), desc=f"generate {generator.preset.name} clips", unit="clip") as bar:
            bar.update(bar.total - sum(len(own) for _, own in missing))
            for (_, own), written in mapper(keep, missing):
                if written is None:
                    raise UserError("a worker process died, perhaps for want of memory; what is done is kept")
                bar.update(len(own))
        parts = [folder / _lumas(number) for number, _ in shards]
        pd.concat([pd.read_csv(part) for part in parts]).to_csv(
            folder / LUMAS, index=False, float_format="%.3f", lineterminator="\n"
        )
        for part in parts:
            part.unlink()
        write_settings(folder, recorded(enhancement))
        write_list(folder)


def _lumas(shard: int) -> str:
    """Where the mean lumas of the clips of a shard stand, until all are there."""
    return f"luma-{shard:05}.csv"


def _keep(generator: GeneratorSettings, folder: Path, used: Settings, shard: tuple[int, tuple[Key, ...]]) -> bool:
    """Generates, enhances, resizes and stores the clips of a shard, in a worker process."""
    number, keys = shard
    size = {"height": used.height, "width": used.width}
    enhancer = worker_enhancer(used)
    lumas = []

    def clips() -> Iterator[tuple[str, int, Iterator[Frames]]]:
        for key, frames_NHWC in generate(generator, keys):
            clip_id = f"{DATASET}/{clip_name(*key)}"
            lumas.append((clip_id, float(frames_NHWC.mean((0, 1, 2)) @ BT_601)))
            yield clip_id, len(frames_NHWC), enhance_clip(frames_NHWC, enhancer, **size)
        # before the shard is complete
        table = pd.DataFrame(lumas, columns=["clip_id", "luma"])
        table.to_csv(folder / _lumas(number), index=False, float_format="%.3f", lineterminator="\n")

    write_shard(folder, number, clips(), **size, flow=used.flow)
    return True


def table_of(generator: GeneratorSettings, store: Path, *, val: float) -> pd.DataFrame:
    """The synthetic clips as an index; clips of the last scenes are held out for validation."""
    held_out = max(1, round(generator.scenes * val))
    stored = pd.read_csv(store / LIST, dtype={"clip_id": str, "sha256": str})
    lumas = pd.read_csv(store / LUMAS, dtype={"clip_id": str}).set_index("clip_id")["luma"]
    names = stored["clip_id"].str.rpartition("/")[2].str.split("_", expand=True)
    scene = names[1].astype(int)
    part = np.where(scene > generator.scenes - held_out, "val", "train")
    return pd.DataFrame(
        {
            "clip_id": stored["clip_id"],
            "dataset": DATASET,
            "label": names[0].str.lower(),
            "scene": names[1],
            "frames": stored["frames"],
            "height": generator.height,
            "width": generator.width,
            "luma": stored["clip_id"].map(lumas),
            "sha256": stored["sha256"],
            "status": OK,
            "fold_0": part,
        }
    )


def describe(params: Params) -> dict[str, Any]:
    """What a pretraining is told: its settings."""
    nested = config.as_nested(settings_of(params))
    sections = ("data", "enhance", "sampling", "augmentation", "model", "bert", "focal", "optimizer", "train")
    pretrain = config.as_nested(params)["pretrain"]
    del nested["train"]["num_workers"]  # which decides nothing
    return {"seed": params.seed, **{section: nested[section] for section in sections}, "pretrain": pretrain}
