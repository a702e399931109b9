"""The stage `train`: trains the recognizer on the clip stores: -> models/recognizer/fold_<k>."""

import contextlib
import io
import json
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from darkaction.core.agreement import recorded_in, require_same
from darkaction.core.errors import UserError
from darkaction.core.folders import new_folder
from darkaction.core.paths import Paths
from darkaction.core.processes import is_first_process, only_one
from darkaction.data.clips import ENHANCER, SETTINGS, ClipStore
from darkaction.enhancement import LEARNT
from darkaction.jobs.identity import index_settings, pretraining_settings, sha256
from darkaction.jobs.recognizer import recipe
from darkaction.jobs.recognizer.smaller_batch import say_halved, with_smaller_batch
from darkaction.models.precision import uses_bf16
from darkaction.params import Params
from darkaction.tracking.runs import start_run
from darkaction.tracking.weights import find_weights
from darkaction.training import data, weights
from darkaction.training.checkpoints import remove_states
from darkaction.training.fit import Row, synchronizes_batchnorm

HALVED = "halved"
"""Among the states of a training, those with half the batch size."""


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
        run.set_tags({f"sha256.init.fold_{fold}": sha256(path) for fold, path in enumerate(inits) if path is not None})

        def record(prefix: str, epoch: int, row: Row) -> None:
            run.log_metrics({f"{prefix}{name}": value for name, value in row.items()}, step=epoch)

        def halved(batch_size: int) -> None:
            say_halved("train.batch_size", batch_size)
            run.set_tags({"batch_size_used": str(batch_size)})

        with new_folder(target, keep=first) as folder:
            copy_enhancer(params, paths, folder)
            checkpoints = paths.write(f"{Paths.CHECKPOINTS}/recognizer")

            def train_all(own: Params) -> None:
                for fold in folder.glob("fold_*"):  # all folds have the same batch size
                    shutil.rmtree(fold)
                states = checkpoints if own is params else checkpoints / HALVED
                train_folds(own, paths, clips, folder, inits, record=record, checkpoints=states, max_steps=max_steps)

            with_smaller_batch(train_all, params, halved)
            for states in (HALVED, *(f"fold_{fold}" for fold in range(params.split.folds))) if first else ():
                remove_states(checkpoints / states)  # of the batch that memory did not suffice for
            card = weights.load(folder / "fold_0" / weights.WEIGHTS)[1]
            (folder / "README.md").write_text(model_card(params, clips, card))
            (folder / weights.TRAINED_ON).write_text(json.dumps({"split": data.split_digest(clips)}) + "\n")
            run.set_tags(checksums(folder))
        run.log_artifact(target, Paths.MODEL_ARTIFACT)
        run.describe(
            "trained, not yet evaluated" if max_steps is None else f"unfinished model: stopped after {max_steps} steps"
        )


def starting_weights(params: Params, paths: Paths) -> tuple[Path | None, ...]:
    """The weights that train.init_from names, for each fold.

    Raises:
        UserError: when there are none.
    """
    source = params.train.init_from
    folds = range(params.split.folds)
    return tuple(None if source is None else find_weights(source, paths, fold=fold) for fold in folds)


def train_folds(
    params: Params,
    paths: Paths,
    clips: pd.DataFrame,
    folder: Path,
    inits: Sequence[Path | None],
    *,
    record: Callable[[str, int, Row], None],
    checkpoints: Path | None = None,
    max_steps: int | None = None,
) -> None:
    """Trains each fold into folder/fold_<k>, unless that was done before a stop.

    Args:
        clips: the index, of all parts.
        inits: weights to begin with, for each fold.
        record: called with `fold_<k>.` (empty where there is one fold), the epoch and its metrics.
        checkpoints: for the states to go on from; None: in `folder`.
        max_steps: see `recipe.train_fold`.
    """
    for fold in range(params.split.folds):
        target = folder / f"fold_{fold}"
        if recipe.is_trained(target):
            continue
        target.mkdir(parents=True, exist_ok=True)
        prefix = "" if params.split.folds == 1 else f"fold_{fold}."
        recipe.train_fold(
            params,
            paths,
            clips,
            fold,
            target,
            checkpoints=(checkpoints or folder / "checkpoints") / f"fold_{fold}",
            init=inits[fold],
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
        card: of the first fold.
    """
    training = clips[clips["fold_0"] == "train"]
    counts = ", ".join(f"{label} {count}" for label, count in training["label"].value_counts().sort_index().items())
    synthetic = card.training is not None and card.training.synthetic
    limits = "synthetic clips: it says nothing about real people" if synthetic else "clips of the named datasets only"
    size = f"{params.enhance.height}x{params.enhance.width}"
    found = card.validation
    validation = "no validation clips, so probabilities are not calibrated"
    if found is not None:
        validation = (
            f"{found.accuracy:.1%} [{found.low:.1%}, {found.high:.1%}] top-1 on {found.clips} validation clips of "
            f"{found.scenes} scenes; temperature {found.temperature:.2f}, expected calibration error "
            f"{found.error_before:.1%} before it, {found.error_after:.1%} after"
        )
    return f"""# Actions in the dark: {", ".join(params.data.classes)}

`{params.model.backbone}` with the head `{params.model.head}`, trained on {", ".join(params.datasets)}.
Made for research.

- Training clips (fold 0): {len(training)} ({counts}); seed {params.seed}
- Validation (fold 0): {validation}
- Input: {params.sampling.num_frames} frames of {size} by {params.sampling.strategy} sampling
- Enhancement: {recipe.enhancement_of_target(params).method}
- Known limits: {limits}; nobody has looked at how it treats different people
- Use: `python src/predict.py VIDEO --model FOLDER`, where FOLDER is the one this file is in
- All settings are in the weights' own metadata; code, data and figures are in the MLflow run
"""


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of each fold's weights, as tags: the same code, data, settings and machine give the same again."""
    paths = sorted(folder.glob(f"fold_*/{weights.WEIGHTS}"))
    return {f"sha256.{path.parent.name}": sha256(path) for path in paths}


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
