"""Trains the recognizer on the clip stores: -> models/recognizer/fold_<k>.

Start of training, in this order: the state of a stopped training of the same settings and clips (checkpoints/), the
weights of train.init_from, fresh weights.
"""

import dataclasses
import hashlib
import shutil
from pathlib import Path

import cv2
import pandas as pd
import pytorch_lightning as pl

from darkaction import cli, layout, tracking
from darkaction.augmentation import Augmenter
from darkaction.config import Enhance, Params
from darkaction.errors import UserError
from darkaction.folders import new_folder
from darkaction.layout import Layout
from darkaction.models.build import build_recognizer
from darkaction.models.recognizer import Recognizer
from darkaction.provenance import code_digest
from darkaction.tracking import Run
from darkaction.training import data, weights
from darkaction.training.fit import Batches, Row, fingerprint_of, fit, uses_bf16
from darkaction.training.focal import FocalLoss, class_weights
from darkaction.training.loader import Clip, TestClips, TrainingClips, test_loader, training_loader
from darkaction.training.module import RecognizerModule


def main() -> None:
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--max-steps", type=int, metavar="N", help="stop after N optimisation steps (with --out)")
    arguments = parser.parse_args()
    params, places = cli.settings(arguments)
    if arguments.max_steps is not None and arguments.out is None:
        raise UserError("--max-steps makes an unfinished model: say with --out DIR where it goes")
    clips = data.usable_clips(places, params.datasets)
    init = None if params.train.init_from is None else tracking.find_weights(params.train.init_from, places)
    print(f"computing in {'bfloat16' if uses_bf16(params.train.precision) else 'float32'}")
    target = places.write(layout.RECOGNIZER)
    with tracking.start_run(stage="train", params=params, layout=places, resume=True) as run:
        with new_folder(target) as folder:
            copy_enhancer(params, places, folder)
            for fold in range(params.split.folds):
                (folder / f"fold_{fold}").mkdir()
                train_fold(params, places, clips, fold, init, arguments.max_steps, folder / f"fold_{fold}", run)
            (folder / "README.md").write_text(model_card(params, clips))
        run.log_artifact(target, layout.MODEL_ARTIFACT)
        run.set_tags(checksums(target))


def train_fold(
    params: Params,
    places: Layout,
    clips: pd.DataFrame,
    fold: int,
    init: Path | None,
    max_steps: int | None,
    folder: Path,
    run: Run,
) -> None:
    """Trains on the training clips of `fold` and writes weights.safetensors and history.csv."""
    pl.seed_everything(params.seed, verbose=False)
    cv2.setNumThreads(1)
    rows = data.select(clips, fold=fold, part="train")
    training = data.open_clips(rows, places, params.data.classes, params.enhance)
    validation_rows = data.select(clips, fold=fold, part="val")
    validation = data.open_clips(validation_rows, places, params.data.classes, params.enhance)
    recognizer = make_recognizer(params, init)
    card = make_card(params, rows)
    prefix = "" if params.split.folds == 1 else f"fold_{fold}."

    def on_epoch(epoch: int, row: Row) -> None:
        run.log_metrics({f"{prefix}{name}": value for name, value in row.items()}, step=epoch)

    print(f"fold {fold}: {len(training)} training clips, {len(validation)} validation clips")
    history = fit(
        module(params, recognizer, training),
        *loaders(params, card, training, validation),
        epochs=params.train.epochs,
        max_steps=max_steps,
        precision=params.train.precision,
        devices=params.train.devices,
        grad_clip=params.optimizer.grad_clip,
        keep=params.train.keep,
        checkpoints=places.write(f"{layout.CHECKPOINTS}/recognizer/fold_{fold}"),
        fingerprint=fingerprint(params, rows, validation_rows, init),
        on_epoch=on_epoch,
    )
    weights.save(folder / weights.WEIGHTS, recognizer, card)
    pd.DataFrame(history).to_csv(folder / "history.csv", index=False, float_format="%.6g")


def make_recognizer(params: Params, init: Path | None) -> Recognizer:
    """The network that training begins with: fresh, or with what it can take of the weights in `init`."""
    recognizer = build_recognizer(
        params.model,
        params.bert,
        num_frames=params.sampling.num_frames,
        num_classes=len(params.data.classes),
    )
    if init is not None:
        transfer = weights.start_from(recognizer, init, classes=params.data.classes)
        fresh = ", ".join(transfer.fresh) or "none"
        print(f"{params.train.init_from}: took {', '.join(transfer.taken)}; fresh: {fresh}")
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


def model_card(params: Params, clips: pd.DataFrame) -> str:
    """What a person who finds the weights should know, as Markdown."""
    target = params.datasets[0]
    training = clips[clips["fold_0"] == "train"]
    counts = ", ".join(f"{label} {count}" for label, count in training["label"].value_counts().sort_index().items())
    drawn = target in ("demo", "demo_lit")
    limits = "drawn figures: it says nothing about real people" if drawn else "clips of the named dataset only"
    size = f"{params.enhance.height}x{params.enhance.width}"
    return f"""# Actions in the dark: {", ".join(params.data.classes)}

R(2+1)D with the head `{params.model.head}`, trained on {", ".join(params.datasets)}. Made for research.

- Training clips (fold 0): {len(training)} ({counts}); seed {params.seed}
- Input: {params.sampling.num_frames} frames of {size} by {params.sampling.strategy} sampling
- Enhancement: {enhancement_of_target(params).method}
- Known limits: {limits}; nobody has looked at how it treats different people
- Use: `python src/predict.py VIDEO --model FOLDER`, where FOLDER is the one this file is in
- All settings are in the weights' own metadata; code, data and figures are in the MLflow run
"""


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of each fold's weights, as tags: the same code, data, settings and machine give the same again."""
    paths = sorted(folder.glob(f"fold_*/{weights.WEIGHTS}"))
    return {f"sha256.{path.parent.name}": hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def copy_enhancer(params: Params, places: Layout, folder: Path) -> None:
    """Puts the weights of Zero-DCE beside the recognizer's, so that the folder is all that prediction needs.

    Raises:
        UserError: when the enhancement was not trained.
    """
    if enhancement_of_target(params).method != "zero_dce":
        return
    source = places.read(layout.ENHANCER) / "weights.safetensors"
    try:
        shutil.copyfile(source, folder / weights.ENHANCER)
    except FileNotFoundError:
        raise UserError(f"{source}: no such file; python src/train_enhancer.py writes it") from None


def enhancement_of_target(params: Params) -> Enhance:
    """How clips of the target are enhanced, which is how clips to predict are."""
    enhanced = params.enhance.apply[params.datasets[0]]
    return params.enhance if enhanced else dataclasses.replace(params.enhance, method="none")


def loaders(
    params: Params, card: weights.Card, training: list[Clip], validation: list[Clip]
) -> tuple[Batches, Batches | None]:
    """Batches of training clips and, where there are validation clips, of one test-like draw of each."""
    training_clips = TrainingClips(
        training,
        sampler=card.sampler(),
        augmenter=Augmenter(
            flip=params.augmentation.flip,
            rotation=params.augmentation.rotation,
            translation=params.augmentation.translation,
        ),
        seed=params.seed,
        epochs=params.train.epochs,
        delta_ramp=params.sampling.delta_ramp,
    )
    batches = training_loader(training_clips, batch_size=params.train.batch_size, workers=params.train.workers)
    if not validation:
        return batches, None
    validation_clips = TestClips(validation, sampler=card.sampler(), seed=params.seed, draw=0, num_draws=1)
    return batches, test_loader(validation_clips, batch_size=params.evaluate.batch_size, workers=params.train.workers)


def module(params: Params, recognizer: Recognizer, training: list[Clip]) -> RecognizerModule:
    """The recognizer with its loss and optimiser."""
    labels = [clip.label for clip in training]
    alpha_K = class_weights(params.focal.alpha, labels=labels, num_classes=len(params.data.classes))
    return RecognizerModule(
        recognizer,
        FocalLoss(gamma=params.focal.gamma, alpha_K=alpha_K),
        max_lr=params.optimizer.max_lr,
        weight_decay=params.optimizer.weight_decay,
        warmup=params.optimizer.warmup,
        seed=params.seed,
    )


def fingerprint(params: Params, training: pd.DataFrame, validation: pd.DataFrame, init: Path | None) -> str:
    """Whatever decides the result of a training: a stopped one goes on only where all of it is the same."""
    settings = dataclasses.asdict(params)  # type: ignore[call-overload]
    parts = ("seed", "data", "enhance", "sampling", "augmentation", "model", "bert", "focal", "optimizer", "train")
    clips = [table[["clip_id", "sha256"]].values.tolist() for table in (training, validation)]
    return fingerprint_of(
        {part: settings[part] for part in parts}, settings["zero_dce"], clips, str(init), code_digest()
    )


if __name__ == "__main__":
    cli.run(main)
