"""Trains the recognizer on the clip stores: -> models/recognizer/fold_<k>.

Start of training, in this order: the state of a stopped training of the same settings and clips (checkpoints/), the
weights of train.init_from, fresh weights.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from darkaction.core import cli
from darkaction.core.agreement import recorded_in, require_same
from darkaction.core.errors import UserError
from darkaction.core.folders import new_folder
from darkaction.core.paths import Paths
from darkaction.data.clips import ENHANCER, SETTINGS, ClipStore
from darkaction.enhancement import LEARNT
from darkaction.jobs import recipe
from darkaction.jobs.identity import index_settings, pretraining_settings
from darkaction.params import Params, settings_of
from darkaction.tracking.runs import Run, is_first_process, start_run
from darkaction.tracking.weights import find_weights
from darkaction.training import data, weights
from darkaction.training.fit import Row, uses_bf16


def main() -> None:
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--max-steps", type=int, metavar="N", help="stop after N optimisation steps (with --out)")
    arguments = parser.parse_args()
    params, paths = settings_of(arguments)
    if arguments.max_steps is not None and arguments.out is None:
        raise UserError("--max-steps makes an unfinished model: say with --out DIR where it goes")
    clips = data.usable_clips(paths, index_settings(params))
    source = params.train.init_from
    if source == Paths.PRETRAINING:
        require_pretraining(params, paths)
    folds = range(params.split.folds)
    inits = [None if source is None else find_weights(source, paths, fold=fold) for fold in folds]
    print(f"computing in {'bfloat16' if uses_bf16(params.train.precision, params.model.backbone) else 'float32'}")
    target = paths.write(Paths.RECOGNIZER)
    with start_run(stage="train", params=params, paths=paths, resume=True) as run:
        run.set_tags({f"sha256.init.fold_{fold}": sha256(path) for fold, path in enumerate(inits) if path is not None})
        with new_folder(target, keep=is_first_process()) as folder:
            copy_enhancer(params, paths, folder)
            for fold in folds:
                (folder / f"fold_{fold}").mkdir()
                prefix = "" if params.split.folds == 1 else f"fold_{fold}."
                recipe.train_fold(
                    params,
                    paths,
                    clips,
                    fold,
                    folder / f"fold_{fold}",
                    checkpoints=paths.write(f"{Paths.CHECKPOINTS}/recognizer/fold_{fold}"),
                    init=inits[fold],
                    max_steps=arguments.max_steps,
                    on_epoch=epoch_recorder(run, prefix),
                )
            card = weights.load(folder / "fold_0" / weights.WEIGHTS)[1]
            (folder / "README.md").write_text(model_card(params, clips, card))
            (folder / weights.TRAINED_ON).write_text(json.dumps({"split": data.split_digest(clips)}) + "\n")
            run.set_tags(checksums(folder))
        run.log_artifact(target, Paths.MODEL_ARTIFACT)
        steps = arguments.max_steps
        run.describe(
            "trained, not yet evaluated" if steps is None else f"unfinished model: stopped after {steps} steps"
        )


def require_pretraining(params: Params, paths: Paths) -> None:
    """Refuses a pretraining that was made with other settings."""
    folder, command = paths.read(Paths.PRETRAINING), "python src/pretrain.py"
    recorded = recorded_in(folder / SETTINGS, command=command)
    require_same(recorded, pretraining_settings(params), made=folder, command=command)


def epoch_recorder(run: Run, prefix: str) -> Callable[[int, Row], None]:
    """What records the figures of each epoch."""

    def record(epoch: int, row: Row) -> None:
        run.log_metrics({f"{prefix}{name}": value for name, value in row.items()}, step=epoch)

    return record


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


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


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


if __name__ == "__main__":
    cli.run(main)
