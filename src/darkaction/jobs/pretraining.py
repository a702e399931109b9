"""Pretraining on drawn actions: clips go from the generator, through the target's enhancement, straight into a clip
store, and the network of params.yaml is trained on them as on any dataset. No video file, no label of a real clip.

    generator ─ dark frames ─ enhancement ─ resize ─ clip store ─ training ─ models/pretraining

With `pretrain.backgrounds` people are drawn before real paths: pictures of a folder, or medians over time of the
target's training clips, for each fold its own.
"""

import hashlib
import multiprocessing
import shutil
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
from darkaction.core.paths import ROOT, Paths
from darkaction.data.clips import LIST, StoredClip, write_clip, write_list, write_settings
from darkaction.data.index import OK, read_index
from darkaction.data.video import BT_601, Frames, iter_frames, scan, write_picture
from darkaction.enhancement import Enhancer
from darkaction.enhancement.apply import CHUNK, Settings, build_enhancer, recorded
from darkaction.enhancement.training_images import picture_files, resize
from darkaction.jobs import recipe
from darkaction.jobs.identity import identity as identity_of
from darkaction.jobs.identity import index_settings, sha256, training_code
from darkaction.params import Params
from darkaction.synthetic.contact_sheet import contact_sheet, write_sheet
from darkaction.synthetic.drawing import DemoSettings
from darkaction.synthetic.generate import clip_path, map_clips
from darkaction.synthetic.human.motion import ACTIONS, Action
from darkaction.training import data
from darkaction.training.fit import Row

DATASET = "drawn"
"""How the drawn clips are called; they are no dataset of the pipeline."""

FRAMES_PER_SECOND = 30

LUMAS = "luma.csv"
"""Beside the list of the clip store: mean luma of each clip before it was enhanced."""

SHOWN = 6
"""Moments of an action on the contact sheet."""


def settings_of(params: Params) -> Params:
    """The settings of the training on drawn clips: those of the target's training, but for what `pretrain` says.

    Raises:
        UserError: when pretrain.classes lacks a class of data.classes, or names one that is not drawn.
    """
    wanted = params.pretrain
    classes = params.data.classes if wanted.classes is None else wanted.classes
    unknown = [name for name in classes if name not in ACTIONS]
    missing = [name for name in params.data.classes if name not in classes]
    if unknown or missing:
        problem = f"{unknown[0]} is not drawn" if unknown else f"{missing[0]} of data.classes is missing"
        raise UserError(f"pretrain.classes: {problem}; the generator draws {', '.join(ACTIONS)}")
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


def folds_of(params: Params) -> int:
    """How many pretrainings there are: one, unless backgrounds come from the training clips of each fold."""
    return params.split.folds if params.pretrain.backgrounds is True else 1


def pretrain(
    params: Params,
    paths: Paths,
    fold: int,
    work: Path,
    *,
    enhancement: Settings,
    workers: int,
    on_epoch: Callable[[int, Row], None],
) -> Path:
    """Draws clips and trains on them, unless that was done before a stop.

    Args:
        fold: whose training clips backgrounds come from.
        work: a folder of this fold of this pretraining (see `identity`), where a stopped one goes on.
        enhancement: how clips of the target are enhanced and stored.
        workers: processes that draw; 0: this one.

    Returns:
        The folder, within `work`, of weights.safetensors, history.csv and drawn.png.
    """
    made, store = work / "made", work / "clips"
    if made.exists():
        return made
    drawing = drawing_of(params, backgrounds(params, paths, fold, work / "backgrounds"))
    if not (store / LIST).exists():
        draw(drawing, store, enhancement, workers=workers)
    with new_folder(made) as folder:
        recipe.train_fold(
            settings_of(params),
            replace(paths, moved={**paths.moved, Paths.clips(DATASET): store}),
            table_of(drawing, store, val=params.pretrain.val),
            0,
            folder,
            checkpoints=work / "checkpoints",
            init=None,
            max_steps=None,
            on_epoch=on_epoch,
        )
        write_sheet(folder / "drawn.png", contact_sheet(drawing, tuple(range(1, drawing.scenes + 1)), moments=SHOWN))
    shutil.rmtree(store)
    return made


def identity(params: Params, paths: Paths, enhancement: Settings) -> str:
    """Identifies a pretraining by whatever decides its result."""
    weights = enhancement.weights
    enhancer = {"enhancer": sha256(weights) if weights.is_file() else None}
    return identity_of(describe(params, paths), inputs=enhancer, code=training_code())


def drawing_of(params: Params, pictures: tuple[Path, ...]) -> DemoSettings:
    """What the generator is asked for."""
    wanted = params.pretrain
    return DemoSettings(
        classes=tuple(settings_of(params).data.classes),  # type: ignore[arg-type]  # checked there
        scenes=wanted.scenes,
        takes=wanted.takes,
        height=wanted.height,
        width=wanted.width,
        fps=FRAMES_PER_SECOND,
        lit=False,
        seed=params.seed,
        codec="FFV1",  # no file is written
        variation=wanted.domain_randomization,
        backgrounds=pictures,
    )


# Clips


def draw(drawing: DemoSettings, store: Path, enhancement: Settings, *, workers: int) -> None:
    """Draws all clips into a clip store, whole or not at all; the result does not depend on `workers`."""
    build_enhancer(enhancement)  # a wrong setting fails here, before any process starts
    with new_folder(store) as folder:
        keep = Keep(folder=folder, drawing=drawing, enhancement=enhancement)
        kept = list(map_clips(drawing, keep, workers=workers, progress=True))
        lumas = pd.DataFrame([{"clip_id": stored.clip_id, "luma": luma} for stored, luma in kept])
        lumas.to_csv(folder / LUMAS, index=False, float_format="%.3f", lineterminator="\n")
        write_settings(folder, recorded(enhancement))
        write_list(folder, [stored for stored, _ in kept])


@dataclass(frozen=True, kw_only=True)
class Keep:
    """Enhances, resizes and stores a drawn clip, in the process that drew it. Returns its mean luma too."""

    folder: Path
    drawing: DemoSettings
    enhancement: Settings

    def __call__(self, action: Action, scene: int, take: int, frames_NHWC: Frames) -> tuple[StoredClip, float]:
        used = self.enhancement
        enhancer = _enhancer(used)
        size = {"height": used.height, "width": used.width}
        chunks = (
            np.stack([resize(frame, **size) for frame in enhancer(frames_NHWC[start : start + CHUNK])])
            for start in range(0, len(frames_NHWC), CHUNK)
        )
        clip_id = f"{DATASET}/{clip_path(self.drawing, action, scene, take).stem}"
        stored = write_clip(self.folder, clip_id, chunks, frames=len(frames_NHWC), **size, flow=used.flow)
        return stored, float(frames_NHWC.mean((0, 1, 2)) @ BT_601)


@cache
def _enhancer(used: Settings) -> Enhancer:
    """One for each process."""
    if multiprocessing.parent_process() is not None:
        torch.set_num_threads(1)  # one of several
    return build_enhancer(used)


def table_of(drawing: DemoSettings, store: Path, *, val: float) -> pd.DataFrame:
    """The drawn clips as an index; clips of the last scenes are held out for validation."""
    held_out = max(1, round(drawing.scenes * val))
    stored = pd.read_csv(store / LIST, dtype={"clip_id": str, "sha256": str})
    lumas = pd.read_csv(store / LUMAS, dtype={"clip_id": str}).set_index("clip_id")["luma"]
    names = stored["clip_id"].str.rpartition("/")[2].str.split("_", expand=True)
    scene = names[1].astype(int)
    part = np.where(scene > drawing.scenes - held_out, "val", "train")
    return pd.DataFrame(
        {
            "clip_id": stored["clip_id"],
            "dataset": DATASET,
            "label": names[0].str.lower(),
            "scene": names[1],
            "frames": stored["frames"],
            "height": drawing.height,
            "width": drawing.width,
            "luma": stored["clip_id"].map(lumas),
            "sha256": stored["sha256"],
            "status": OK,
            "fold_0": part,
        }
    )


# Places


def backgrounds(params: Params, paths: Paths, fold: int, folder: Path) -> tuple[Path, ...]:
    """Pictures of paths for drawn people to stand in: those of the folder pretrain.backgrounds, or, where it is true,
    the target's paths without their people: the median over time of each training clip of `fold`, made in `folder`.
    None where it is false.

    Raises:
        UserError: when there is no such folder, or no picture in it.
    """
    wanted = params.pretrain.backgrounds
    if isinstance(wanted, str):
        return tuple(picture_files(ROOT / wanted, key="pretrain.backgrounds"))  # absolute paths stay as they are
    if not wanted:
        return ()
    target = params.datasets[0]
    made_with = {target: index_settings(params)[target]}
    clips = data.select(data.usable_clips(paths, made_with), fold=fold, part="train")
    raw = paths.read(Paths.raw(target))
    if not folder.exists():
        with new_folder(folder) as made:
            for clip_id, path in zip(clips["clip_id"], clips["path"], strict=True):
                picture_HWC = median_frame(raw / path)
                write_picture(made / f"{clip_id.rpartition('/')[2]}.png", picture_HWC)
    return tuple(sorted(folder.glob("*.png")))


def median_frame(path: Path, *, most: int = 25) -> Frames:
    """The median of up to `most` frames, evenly spread over a video: who moves is gone. (H, W, 3) uint8."""
    count = scan(path).frames
    chosen = set(np.linspace(0, count - 1, min(most, count)).astype(int).tolist())
    frames_NHWC = np.stack([frame_HWC for k, frame_HWC in enumerate(iter_frames(path)) if k in chosen])
    median: Any = np.median(frames_NHWC, axis=0)
    return np.asarray(median.astype(np.uint8))


def describe(params: Params, paths: Paths) -> dict[str, Any]:
    """What a pretraining is told: its settings, and the pictures of paths."""
    nested = config.as_nested(settings_of(params))
    sections = ("data", "enhance", "sampling", "augmentation", "model", "bert", "focal", "optimizer", "train")
    described = {"seed": params.seed, **{section: nested[section] for section in sections}}
    described["pretrain"] = config.as_nested(params)["pretrain"]
    if isinstance(params.pretrain.backgrounds, str):
        pictures = backgrounds(params, paths, 0, paths.root)
        described["backgrounds"] = [hashlib.sha256(path.read_bytes()).hexdigest() for path in pictures]
    elif params.pretrain.backgrounds:
        table = read_index(paths.read(Paths.index(params.datasets[0])))
        described["backgrounds"] = table[["clip_id", "sha256", "fold_0"]].values.tolist()
    return described
