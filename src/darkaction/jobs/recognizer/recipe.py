"""From settings to a trained recognizer: the network, its batches, loss and optimiser as params.yaml describes them."""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytorch_lightning as pl

from darkaction.core.config import digest
from darkaction.core.errors import UserError
from darkaction.core.folders import write_whole
from darkaction.core.paths import Paths
from darkaction.core.processes import is_first_process, keep_freed_memory
from darkaction.enhancement.settings import Enhance
from darkaction.evaluation import metrics
from darkaction.evaluation.calibration import fit_temperature, temper
from darkaction.evaluation.predict import predict
from darkaction.evaluation.statistics import accuracy_interval
from darkaction.jobs.identity import sha256, training_code, training_settings
from darkaction.models.build import build_recognizer
from darkaction.models.precision import uses_bf16
from darkaction.models.recognizer import Recognizer
from darkaction.params import Params
from darkaction.training import data, weights
from darkaction.training.adaptation import AdaptationModule
from darkaction.training.augmentation import Augmenter
from darkaction.training.fit import Batches, Hardware, Row, fit
from darkaction.training.focal import FocalLoss, class_weights
from darkaction.training.loader import Clip, TestClips, TrainingClips, training_loader, validation_loader
from darkaction.training.module import RecognizerModule
from darkaction.training.transfer import start_from

DETERMINISTIC = ("r2plus1d", "se_r2plus1d", "efficientnet", "swin3d")
"""Backbones whose every operation gives the same result each time on GPUs; the others pool in 3-D, and
videomae was not tried there."""


SEEDS_APART = 1000
"""Between the seeds of two members: more than a comparison has seeds."""

CARD_RESAMPLES, CARD_CONFIDENCE = 2000, 0.95
"""Of the interval on a card. Not those of `evaluate`, which are of reports: a change there must not train again."""


def train_fold(
    params: Params,
    paths: Paths,
    clips: pd.DataFrame,
    fold: int,
    folder: Path,
    *,
    checkpoints: Path,
    init: Path | None,
    max_steps: int | None,
    on_epoch: Callable[[int, Row], None],
) -> None:
    """Trains on the training clips of `fold` and writes weights.safetensors and history.csv to `folder`.

    Without training clips (train.shots_per_class 0, one dataset) the weights are those of `init`, history.csv is empty.

    Args:
        clips: the index, of all parts.
        checkpoints: folder for the state to go on from after a stop.
        init: weights to begin with; None: fresh ones.
        max_steps: stop after so many optimisation steps; None: train to the end.
        on_epoch: called with the epoch and its metrics. What it raises ends the training.
    """
    pl.seed_everything(params.seed, verbose=False)
    cv2.setNumThreads(1)
    keep_freed_memory()
    every_row = data.training_rows(clips, params.datasets, fold=fold, shots=params.train.shots_per_class)
    data.require_every_class(every_row, params.data.classes, fold=fold)
    card = make_card(params, every_row)
    rows = shots(params, every_row)
    validation_rows = data.select(clips, fold=fold, part="val")
    training, validation = (open_clips(params, paths, part) for part in (rows, validation_rows))
    recognizer = make_recognizer(params, init)
    before = None if init is None else weights.read_card(init)
    if rows.empty:
        if before is not None:
            card = dataclasses.replace(card, training=before.training, validation=before.validation)
        write_fold(params, folder, recognizer, card, [])
        return
    print(f"fold {fold}: {len(training)} training clips, {len(validation)} validation clips")
    data.say_imbalance(rows, params.focal.alpha, fold=fold)
    history = fit(
        module(params, recognizer, training),
        *loaders(params, card, training, validation, source_clips(params, rows)),
        epochs=params.train.epochs,
        max_steps=max_steps,
        hardware=hardware(params),
        grad_clip=params.optimizer.grad_clip,
        keep=params.train.checkpoint,
        patience=params.train.early_stopping,
        checkpoints=checkpoints,
        fingerprint=fingerprint(params, rows, validation_rows, init),
        on_epoch=on_epoch,
    )
    found = validate(params, recognizer, card, validation, validation_rows)
    card = dataclasses.replace(card, training=trained_on(rows, before), validation=found)
    write_fold(params, folder, recognizer, card, history)


def of_member(params: Params, number: int) -> Params:
    """The settings of one member of an ensemble: those of a training of its own with another seed, for the first one
    `seed` itself. Weights, sampling, augmentation, shots, and a pretraining's clips, differ; the split does not."""
    seed = params.seed + SEEDS_APART * number
    return dataclasses.replace(params, seed=seed, train=dataclasses.replace(params.train, members=1))


def hardware(params: Params) -> Hardware:
    """What the training computes on."""
    return Hardware(
        bf16=uses_bf16(params.train.precision, params.model.backbone),
        devices=params.train.devices,
        nodes=params.train.nodes,
        deterministic=params.train.deterministic and (params.model.backbone in DETERMINISTIC or "warn"),
    )


def shots(params: Params, rows: pd.DataFrame) -> pd.DataFrame:
    """The training clips that are learnt from: of the target at most train.shots_per_class of each class."""
    most = params.train.shots_per_class
    return rows if most is None else data.few_per_class(rows, params.datasets[0], most=most, seed=params.seed)


def open_clips(params: Params, paths: Paths, rows: pd.DataFrame) -> list[Clip]:
    """`data.open_clips` with the settings of `params`."""
    flow = params.model.input == "rgb_flow"
    return data.open_clips(rows, paths, params.data.classes, params.enhance, flow=flow)


def write_fold(params: Params, folder: Path, recognizer: Recognizer, card: weights.Card, history: list[Row]) -> None:
    """Writes history.csv, which has a line an epoch, and then weights.safetensors; of several processes the first."""
    if not is_first_process(params.train.processes):
        return
    table = pd.DataFrame(history, columns=None if history else ["epoch"])
    write_whole(folder / "history.csv", table.to_csv(index=False, float_format="%.6g"))
    weights.save(folder / weights.WEIGHTS, recognizer, card)


def is_trained(folder: Path) -> bool:
    """Whether `write_fold` has done its work there before a stop. Damaged weights, which a line says, do not count."""
    path = folder / weights.WEIGHTS
    try:
        return path.exists() and bool(weights.read_state(path))
    except UserError as error:
        print(f"{error}; trained again", file=sys.stderr, flush=True)
        return False


def make_recognizer(params: Params, init: Path | None) -> Recognizer:
    """The network that training begins with: fresh, or with what it can take of the weights in `init`."""
    recognizer = build_recognizer(
        params.model,
        params.bert,
        num_frames=params.sampling.num_frames,
        height=params.enhance.height,
        frame_width=params.enhance.width,
        num_classes=len(params.data.classes),
    )
    if init is not None:
        taken = start_from(recognizer, init, classes=params.data.classes)
        nothing_learnt = params.train.shots_per_class == 0 and len(params.datasets) == 1
        if nothing_learnt and (taken.fresh or taken.initial):
            raise UserError(
                f"train.shots_per_class is 0, but {init} does not bring all of the network: "
                f"{', '.join([*taken.fresh, *taken.initial])} would keep random weights"
            )
        print(f"{params.train.init_from}: {taken.report()}")
    return recognizer


def make_card(params: Params, training: pd.DataFrame) -> weights.Card:
    """What the weights will say about themselves."""
    return weights.Card(
        model=params.model,
        bert=params.bert,
        sampling=params.sampling,
        enhance=enhancement_of_target(params),
        classes=params.data.classes,
        min_frames=int(training["frames"].min()),
        max_frames=int(training["frames"].max()),
    )


def trained_on(rows: pd.DataFrame, before: weights.Card | None) -> weights.Training:
    """What the card says of the training clips.

    Args:
        rows: the training clips, as in the index.
        before: the card of the weights that the training starts from; None: there are none, or they have no card.
    """
    earlier = None if before is None else before.training
    names = [*(earlier.datasets if earlier else []), *map(str, rows["dataset"].unique())]
    spans = {name: (float(rows[name].min()), float(rows[name].max())) for name in ("luma", "height", "width", "frames")}
    return weights.Training(
        datasets=list(dict.fromkeys(names)),
        digest=digest(sorted(rows[["clip_id", "sha256"]].values.tolist()))[:16],
        clips=len(rows),
        scenes=len(rows[["dataset", "scene"]].drop_duplicates()),
        **spans,
    )


def validate(
    params: Params, recognizer: Recognizer, card: weights.Card, clips: list[Clip], rows: pd.DataFrame
) -> weights.Validation | None:
    """Accuracy on the validation clips, and the temperature of the probabilities fitted to them; None where there are
    none.

    Args:
        clips: the validation clips.
        rows: the same, as in the index.
    """
    if not clips:
        return None
    probabilities_DNK = predict(
        recognizer,
        clips,
        sampler=card.sampler(),
        seed=params.seed,
        num_draws=params.sampling.test_draws,
        batch_size=params.evaluate.batch_size,
        workers=params.train.num_workers,
        bf16=uses_bf16(params.train.precision, params.model.backbone),
    )
    averaged_NK = metrics.average_draws(probabilities_DNK)
    label_N = np.array([clip.label for clip in clips])
    temperature = round(fit_temperature(averaged_NK, label_N), 4)
    interval = accuracy_interval(
        averaged_NK.argmax(-1) == label_N,
        (rows["dataset"] + "/" + rows["scene"]).to_numpy(dtype=str),
        bootstrap_samples=CARD_RESAMPLES,
        confidence=CARD_CONFIDENCE,
        seed=params.seed,
    )
    before, after = (
        metrics.calibration_error(metrics.reliability(probabilities_NK, label_N, bins=metrics.RELIABILITY_BINS))
        for probabilities_NK in (averaged_NK, temper(averaged_NK, temperature))
    )
    return weights.Validation(
        clips=interval.n,
        scenes=interval.scenes,
        accuracy=round(interval.mean, 6),
        low=round(interval.low, 6),
        high=round(interval.high, 6),
        temperature=temperature,
        error_before=round(before, 6),
        error_after=round(after, 6),
    )


def enhancement_of_target(params: Params) -> Enhance:
    """How clips of the target are enhanced, which is how clips to predict are."""
    enhanced = params.enhance.apply[params.datasets[0]]
    return params.enhance if enhanced else dataclasses.replace(params.enhance, method="none")


def source_clips(params: Params, training: pd.DataFrame) -> list[int] | None:
    """Numbers of the training clips that are not of the target, for a training that keeps the two apart; else None.

    Raises:
        UserError: when a batch cannot hold clips of both.
    """
    if not params.model.mran:
        return None
    numbers = np.flatnonzero(training["dataset"] != params.datasets[0]).tolist()
    half = params.train.batch_size // 2
    uneven = params.train.batch_size % (2 * params.train.processes)
    if uneven or min(len(numbers), len(training) - len(numbers)) < half or half < 1:
        raise UserError(
            f"model.mran takes batches of as many clips of the target as of the others, in each process: "
            f"train.batch_size is {params.train.batch_size}, there are {len(training) - len(numbers)} training clips "
            f"of {params.datasets[0]} and {len(numbers)} of {', '.join(params.datasets[1:])}"
        )
    return numbers


def loaders(
    params: Params,
    card: weights.Card,
    training: list[Clip],
    validation: list[Clip],
    source: list[int] | None,
) -> tuple[Batches, Batches | None]:
    """Batches of training clips, and of one test-like draw of each validation clip where there are any; see
    `source_clips`."""
    training_clips = TrainingClips(
        training,
        sampler=card.sampler(),
        augmenter=Augmenter(**vars(params.augmentation)),
        seed=params.seed,
        epochs=params.train.epochs,
        delta_curriculum=params.sampling.delta_curriculum,
    )
    batches = training_loader(
        training_clips,
        batch_size=params.train.batch_size,
        workers=params.train.num_workers,
        source=source,
        processes=params.train.processes,
    )
    if not validation:
        return batches, None
    validation_clips = TestClips(validation, sampler=card.sampler(), seed=params.seed, draw=0, num_draws=1)
    return batches, validation_loader(
        validation_clips, batch_size=params.evaluate.batch_size, workers=params.train.num_workers
    )


def module(params: Params, recognizer: Recognizer, training: list[Clip]) -> RecognizerModule:
    """The recognizer with its loss and optimiser."""
    labels = [clip.label for clip in training]
    alpha_K = class_weights(params.focal.alpha, labels=labels, num_classes=len(params.data.classes))
    common: dict[str, Any] = {
        "recognizer": recognizer,
        "loss": FocalLoss(gamma=params.focal.gamma, alpha_K=alpha_K),
        "max_lr": params.optimizer.max_lr,
        "weight_decay": params.optimizer.weight_decay,
        "warmup": params.optimizer.warmup,
        "seed": params.seed,
        "freeze_batchnorm": params.train.freeze_batchnorm and params.train.init_from is not None,
    }
    if not params.model.mran:
        return RecognizerModule(**common)
    return AdaptationModule(
        **common,
        target_labels=params.mran.target_labels is True,
        weight=params.mran.weight,
        epochs=params.train.epochs,
    )


def fingerprint(params: Params, training: pd.DataFrame, validation: pd.DataFrame, init: Path | None) -> dict[str, Any]:
    """Whatever decides the result of a training: a stopped one goes on only where all of it is the same."""
    clips = {
        f"{part} clips": digest(rows[["clip_id", "sha256"]].values.tolist())
        for part, rows in (("training", training), ("validation", validation))
    }
    starting = {"starting weights": None if init is None else sha256(init)}
    return training_settings(params) | {"seed": params.seed} | clips | starting | {"code": training_code()}
