"""Pretraining on synthetic clips: they go from the generator, through the target's enhancement, straight into a clip
store, and the network of params.yaml is trained on them as on any dataset. No video file, no label of a real clip.

    generator ─ dark frames ─ enhancement ─ resize ─ clip store ─ training ─ models/pretraining
"""

import multiprocessing
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from darkaction.core import config
from darkaction.core.errors import UserError
from darkaction.core.folders import new_folder
from darkaction.core.paths import Paths
from darkaction.data.clips import LIST, ClipStore, StoredClip, write_clip, write_list, write_settings
from darkaction.data.index import OK
from darkaction.data.video import BT_601, Frames
from darkaction.enhancement import Enhancer
from darkaction.enhancement.apply import Settings, build_enhancer, enhance_clip, recorded
from darkaction.jobs.identity import identity as identity_of
from darkaction.jobs.identity import sha256, training_code
from darkaction.jobs.recognizer import recipe
from darkaction.params import Params
from darkaction.synthetic.contact_sheet import contact_sheet, write_sheet
from darkaction.synthetic.dataset import clip_name, map_clips
from darkaction.synthetic.domain_randomization import Pretraining
from darkaction.synthetic.generator import GeneratorSettings
from darkaction.synthetic.human.motion import ACTIONS, Action
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
            "init_from": None,
            "shots_per_class": None,
            "devices": 1,
            "checkpoint": "last",
        },
    }
    return config.build(Params, whole, origin="the settings of pretrain")


def pretrain(
    params: Params,
    paths: Paths,
    work: Path,
    *,
    enhancement: Settings,
    workers: int,
    on_epoch: Callable[[int, Row], None],
) -> Path:
    """Generates clips and trains on them, unless that was done before a stop.

    Args:
        work: a folder of this pretraining (see `identity`), where a stopped one goes on.
        enhancement: how clips of the target are enhanced and stored.
        workers: processes that generate clips; 0: this one.

    Returns:
        The folder, within `work`, of weights.safetensors, history.csv and clips.png.
    """
    made, store = work / "made", work / "clips"
    if recipe.is_trained(made):
        return made
    generator = generator_settings(params)
    if not _is_whole(store):
        generate_store(generator, store, enhancement, workers=workers)
    with new_folder(made) as folder:
        recipe.train_fold(
            settings_of(params),
            replace(paths, moved={**paths.moved, Paths.clips(DATASET): store}),
            table_of(generator, store, val=params.pretrain.val),
            0,
            folder,
            checkpoints=work / "checkpoints",
            init=None,
            max_steps=None,
            on_epoch=on_epoch,
        )
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


def generate_store(generator: GeneratorSettings, store: Path, enhancement: Settings, *, workers: int) -> None:
    """Generates all clips into a clip store, whole or not at all; the result does not depend on `workers`."""
    build_enhancer(enhancement)  # a wrong setting fails here, before any process starts
    with new_folder(store) as folder:
        keep = Keep(folder=folder, enhancement=enhancement)
        kept = list(map_clips(generator, keep, workers=workers, progress=True))
        lumas = pd.DataFrame([{"clip_id": stored.clip_id, "luma": luma} for stored, luma in kept])
        lumas.to_csv(folder / LUMAS, index=False, float_format="%.3f", lineterminator="\n")
        write_settings(folder, recorded(enhancement))
        write_list(folder, [stored for stored, _ in kept])


@dataclass(frozen=True, kw_only=True)
class Keep:
    """Enhances, resizes and stores a synthetic clip, in the process that made it. Returns its mean luma too."""

    folder: Path
    enhancement: Settings

    def __call__(self, action: Action, scene: int, take: int, frames_NHWC: Frames) -> tuple[StoredClip, float]:
        used = self.enhancement
        size = {"height": used.height, "width": used.width}
        chunks = enhance_clip(frames_NHWC, _enhancer(used), **size)
        clip_id = f"{DATASET}/{clip_name(action, scene, take)}"
        stored = write_clip(self.folder, clip_id, chunks, frames=len(frames_NHWC), **size, flow=used.flow)
        return stored, float(frames_NHWC.mean((0, 1, 2)) @ BT_601)


@cache
def _enhancer(used: Settings) -> Enhancer:
    """One for each process."""
    if multiprocessing.parent_process() is not None:
        torch.set_num_threads(1)  # one of several
    return build_enhancer(used)


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
