"""The stage `train`: trains the recognizer on the clip stores: -> models/recognizer/fold_<k>[/member_<m>]."""

import contextlib
import io
import itertools
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from darkaction.core.agreement import recorded_in, require_same
from darkaction.core.config import digest
from darkaction.core.errors import UserError
from darkaction.core.folders import new_folder
from darkaction.core.model_folder import label, members, place
from darkaction.core.paths import Paths
from darkaction.core.processes import is_first_process, only_one
from darkaction.data.clips import ENHANCER, SETTINGS, ClipStore
from darkaction.enhancement import LEARNT
from darkaction.jobs.identity import (
    identity,
    index_settings,
    pretraining_settings,
    sha256,
    training_code,
    training_settings,
)
from darkaction.jobs.recognizer import recipe
from darkaction.jobs.recognizer.smaller_batch import say_halved, with_smaller_batch
from darkaction.models.precision import uses_bf16
from darkaction.params import Params
from darkaction.tracking.runs import start_run
from darkaction.tracking.weights import checksum, find_weights
from darkaction.training import data, weights
from darkaction.training.checkpoints import remove_states
from darkaction.training.fit import Row, synchronizes_batchnorm

HALVED = "halved"
"""Among the states of a training, those with half the batch size."""

Inits = Sequence[Sequence[Path | None]]
"""Weights to begin with, for each fold and member; None: fresh ones."""


def train(params: Params, paths: Paths, *, max_steps: int | None) -> None:
    """Trains each fold, into models/recognizer, whole or not at all.

    Args:
        max_steps: stop after so many optimisation steps; None: train to the end.

    Raises:
        UserError: also when another number of processes was started than train.devices and train.nodes say.
    """
    first = is_first_process(params.train.processes)
    if torch.cuda.is_available() and params.train.devices > torch.cuda.device_count():
        raise UserError(f"train.devices is {params.train.devices}; this machine has {torch.cuda.device_count()} GPUs")
    with contextlib.nullcontext() if first else contextlib.redirect_stdout(io.StringIO()):  # which speaks for all
        _train(params, paths, max_steps=max_steps, first=first)


def _train(params: Params, paths: Paths, *, max_steps: int | None, first: bool) -> None:
    clips = data.usable_clips(paths, index_settings(params))
    if params.train.init_from == Paths.PRETRAINING:
        require_pretraining(params, paths)
    inits = starting_weights(params, paths)
    print(f"computing in {'bfloat16' if uses_bf16(params.train.precision, params.model.backbone) else 'float32'}")
    if params.train.processes > 1 and not synchronizes_batchnorm(params.train.processes):
        print("BatchNorm: without GPUs its statistics are of each process' own clips")
    target = paths.write(Paths.RECOGNIZER)
    alone = only_one(paths.write(f"{Paths.CHECKPOINTS}/recognizer.lock"), task="a training")
    with (
        alone if first else contextlib.nullcontext(),  # states and run belong to one training at a time
        start_run(stage="train", params=params, paths=paths, resume=True, recorded=first) as run,
    ):
        begun = {label(fold, member): path for fold, own in enumerate(inits) for member, path in enumerate(own)}
        run.set_tags({f"sha256.init.{name}": sha256(path) for name, path in begun.items() if path is not None})

        def record(prefix: str, epoch: int, row: Row) -> None:
            run.log_metrics({f"{prefix}{name}": value for name, value in row.items()}, step=epoch)

        def halved(batch_size: int) -> None:
            say_halved("train.batch_size", batch_size)
            run.set_tags({"batch_size_used": str(batch_size)})

        with new_folder(target, keep=first) as folder:
            copy_enhancer(params, paths, folder)
            checkpoints = paths.write(f"{Paths.CHECKPOINTS}/recognizer")

            key = identity_of(params, clips, begun, folder / weights.ENHANCER, max_steps)

            def train_all(own: Params) -> Path:
                states = checkpoints if own is params else checkpoints / HALVED  # all networks have one batch size
                made = states / f"made-{key}"  # whole networks, which a stopped training does not train again
                train_folds(own, paths, clips, made, inits, record=record, checkpoints=states, max_steps=max_steps)
                return made

            made = with_smaller_batch(train_all, params, halved)
            if not first:
                return
            shutil.copytree(made, folder, dirs_exist_ok=True)
            card = weights.load(folder / "fold_0" / weights.WEIGHTS)[1]
            (folder / "README.md").write_text(model_card(params, clips, card))
            (folder / weights.TRAINED_ON).write_text(json.dumps({"split": data.split_digest(clips)}) + "\n")
            run.set_tags(checksums(folder))
        for states in checkpoints.glob("*"):
            remove_states(states)
        run.log_artifact(target, Paths.MODEL_ARTIFACT)
        run.describe(
            "trained, not yet evaluated" if max_steps is None else f"unfinished model: stopped after {max_steps} steps"
        )


def identity_of(
    params: Params, clips: pd.DataFrame, begun: Mapping[str, Path | None], enhancer: Path, max_steps: int | None
) -> str:
    """Of whatever decides the networks of all folds and members."""
    used = {
        "clips": digest(clips.astype(str).values.tolist()),
        "starting weights": {name: path and sha256(path) for name, path in begun.items()},
        "enhancer": sha256(enhancer) if enhancer.is_file() else None,
        "max_steps": max_steps,
    }
    return identity(training_settings(params) | {"seed": params.seed}, inputs=used, code=training_code())


def starting_weights(params: Params, paths: Paths) -> Inits:
    """The weights that train.init_from names, for each fold and member.

    Raises:
        UserError: when there are none.
    """
    source, folds, several = params.train.init_from, range(params.split.folds), range(params.train.members)
    if source is None:
        return [[None for _ in several] for _ in folds]
    return [[find_weights(source, paths, fold=fold, member=member) for member in several] for fold in folds]


def train_folds(
    params: Params,
    paths: Paths,
    clips: pd.DataFrame,
    folder: Path,
    inits: Inits,
    *,
    record: Callable[[str, int, Row], None],
    checkpoints: Path | None = None,
    max_steps: int | None = None,
) -> None:
    """Trains each member of each fold into folder/fold_<k>[/member_<m>], unless that was done before a stop.

    Args:
        clips: the index, of all parts.
        record: called with `fold_<k>.` (empty where there is one fold) and `member_<m>.` (empty for the first one), the
            epoch and its metrics.
        checkpoints: for the states to go on from; None: in `folder`.
        max_steps: see `recipe.train_fold`.
    """
    states = checkpoints or folder / "checkpoints"
    for fold, member in itertools.product(range(params.split.folds), range(params.train.members)):
        target = folder / place(fold, member)
        if recipe.is_trained(target):
            continue
        target.mkdir(parents=True, exist_ok=True)
        own = recipe.of_member(params, member)
        if params.train.members > 1:
            print(f"member {member}, seed {own.seed}")
        prefix = ("" if params.split.folds == 1 else f"fold_{fold}.") + (f"member_{member}." if member else "")
        recipe.train_fold(
            own,
            paths,
            clips,
            fold,
            target,
            checkpoints=states / label(fold, member),
            init=inits[fold][member],
            max_steps=max_steps,
            on_epoch=partial(record, prefix),
        )


def require_pretraining(params: Params, paths: Paths) -> None:
    """Refuses a pretraining that was made with other settings."""
    folder, command = paths.read(Paths.PRETRAINING), "python src/pretrain.py"
    recorded = recorded_in(folder / SETTINGS, command=command)
    require_same(recorded, pretraining_settings(params), made=folder, command=command)


def model_card(params: Params, clips: pd.DataFrame, card: weights.Card) -> str:
    """What a person who finds the weights should know, as Markdown.

    Args:
        clips: the index, of all parts.
        card: of the first network.
    """
    training = clips[clips["fold_0"] == "train"]
    counts = ", ".join(f"{label} {count}" for label, count in training["label"].value_counts().sort_index().items())
    synthetic = card.training is not None and card.training.synthetic
    limits = "synthetic clips: it says nothing about real people" if synthetic else "clips of the named datasets only"
    size = f"{params.enhance.height}x{params.enhance.width}"
    found = card.validation
    several = params.train.members > 1
    ensemble = f", an ensemble of {params.train.members} networks whose probabilities are averaged" if several else ""
    validation = "no validation clips, so probabilities are not calibrated"
    if found is not None:
        validation = (
            f"{found.accuracy:.1%} [{found.low:.1%}, {found.high:.1%}] top-1 on {found.clips} validation clips of "
            f"{found.scenes} scenes; temperature {found.temperature:.2f}, expected calibration error "
            f"{found.error_before:.1%} before it, {found.error_after:.1%} after"
        )
    return f"""# Actions in the dark: {", ".join(params.data.classes)}

`{params.model.backbone}` with the head `{params.model.head}`, trained on {", ".join(params.datasets)}{ensemble}.
Made for research.

- Training clips (fold 0): {len(training)} ({counts}); seed {params.seed}
- Validation (fold 0{", first network" if several else ""}): {validation}
- Input: {params.sampling.num_frames} frames of {size} by {params.sampling.strategy} sampling
- Enhancement: {recipe.enhancement_of_target(params).method}
- Known limits: {limits}; nobody has looked at how it treats different people
- Use: `python src/predict.py VIDEO --model FOLDER`, where FOLDER is the one this file is in
- All settings are in the weights' own metadata; code, data and figures are in the MLflow run
"""


def checksums(folder: Path) -> dict[str, str]:
    """`checksum` of each fold's weights, and of an ensemble's SHA-256 of each member's, as tags: the same code, data,
    settings and machine give the same again."""
    found = {}
    for fold, first in enumerate(sorted(folder.glob(f"fold_*/{weights.WEIGHTS}"))):
        found[f"sha256.fold_{fold}"] = checksum(first)
        several = members(first)
        if len(several) > 1:
            found |= {f"sha256.fold_{fold}.member_{number}": sha256(path) for number, path in enumerate(several)}
    return found


def copy_enhancer(params: Params, paths: Paths, folder: Path) -> None:
    """Puts the weights of the enhancement beside the recognizer's, so that the folder is all that prediction needs.

    Raises:
        UserError: when the enhancement was not trained, or the clips were enhanced with other weights.
    """
    if recipe.enhancement_of_target(params).method not in LEARNT:
        return
    source = paths.read(Paths.ENHANCER) / "weights.safetensors"
    store = ClipStore(paths.read(Paths.clips(params.datasets[0])))
    used = store.made_with().get(ENHANCER)
    if used is not None and source.is_file() and used != sha256(source):
        raise UserError(
            f"{store.folder}: was enhanced with other weights than {source} holds now; run python src/enhance.py "
            f"{params.datasets[0]} again"
        )
    try:
        shutil.copyfile(source, folder / weights.ENHANCER)
    except FileNotFoundError:
        raise UserError(f"{source}: no such file; python src/train_enhancer.py writes it") from None
