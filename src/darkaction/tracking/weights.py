"""Weights and models that a run left in the store, or a file on disk, by name."""

import hashlib
from pathlib import Path

from darkaction.core import model_folder
from darkaction.core.errors import UserError, reason_of
from darkaction.core.folders import new_folder
from darkaction.core.paths import Paths
from darkaction.tracking.store import connect, tracking_uri

WEIGHTS = model_folder.WEIGHTS
"""Name of the weights file among the artifacts of a training, in the folder of its fold."""

CHECKSUM = "sha256.fold_0"
"""Tag of a training: `checksum` of the weights of its first fold, which the same code, data, settings and machine give
again."""


def weights_of(paths: Paths) -> Path:
    """The weights, of the first fold, of the model in models/recognizer."""
    return paths.read(Paths.RECOGNIZER) / "fold_0" / WEIGHTS


def checksum(path: Path) -> str:
    """SHA-256 of the weights of a fold; of an ensemble's, of the checksums of all members, a line each."""
    found = [file_checksum(member) for member in model_folder.members(path)]
    return found[0] if len(found) == 1 else hashlib.sha256("\n".join(found).encode()).hexdigest()


def file_checksum(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_weights(source: str, paths: Paths, *, fold: int, member: int = 0) -> Path:
    """The weights file that `train.init_from` names for the training of a member of a fold: a file, a folder laid out
    as models/recognizer (either relative to the project's folder), or a model as in `fetch_model`.

    Of a folder or model with weights for each fold those of this one are taken, which have not seen its test clips;
    else fold_0; `/fold_1` behind the name of a model takes just that one. The first member's are the start of those
    that have none of their own, but in a pretraining.

    Raises:
        UserError: when there is no such file, run or model.
    """
    if source.startswith(("runs:/", "models:/")):
        uri, _, wanted = source.partition("/fold_")
        folder = fetch_model(uri, paths)
        path = folder / f"fold_{wanted}" / WEIGHTS if wanted else _of_fold(folder, fold)
        path = _of_member(path, member)
        if not path.is_file():
            raise UserError(f"train.init_from: {source}: the model has no {path.parent.name}")
        return path
    path = paths.read(source)
    if source == Paths.PRETRAINING and not any(path.glob(f"fold_*/{WEIGHTS}")):
        raise UserError(
            f"train.init_from: {source} is empty; set pretrain.enabled: true and run python src/pretrain.py"
        )
    if path.is_dir():
        path = _of_member(_of_fold(path, fold), member)
        if source == Paths.PRETRAINING and member and path.parent.name != f"member_{member}":
            raise UserError(
                f"train.members: {path.parents[1]} has {len(model_folder.members(path))} pretrainings, too few; python "
                "src/pretrain.py, with the same --profile, --set and --out, makes one a member"
            )
    if not path.is_file():
        raise UserError(
            f"train.init_from: {path}: no such file. To start from fresh weights: "
            "python src/configure.py --set train.init_from=null; "
            "weights of another origin are made usable by python src/import_weights.py FILE"
        )
    return path


def _of_fold(folder: Path, fold: int) -> Path:
    """The weights for a fold, where there are some for each; else those of fold_0."""
    own = folder / f"fold_{fold}" / WEIGHTS
    return own if own.is_file() else folder / "fold_0" / WEIGHTS


def _of_member(first: Path, member: int) -> Path:
    """The weights of a member of a fold, where it has some; else the first member's."""
    found = model_folder.members(first)
    return found[member] if member < len(found) else first


def fetch_model(uri: str, paths: Paths) -> Path:
    """The folder, laid out as models/recognizer, of the model that `runs:/RUN_ID`, `models:/NAME@ALIAS` or
    `models:/NAME/VERSION` names: a copy in checkpoints/fetched.

    Raises:
        UserError: when there is none.
    """
    target = paths.write(f"{Paths.CHECKPOINTS}/fetched/{hashlib.sha256(uri.encode()).hexdigest()[:16]}")
    of_run = uri.startswith("runs:/")
    if not (of_run and target.exists()):  # the model of a run never changes, that of an alias does
        with new_folder(target) as folder:
            _download(f"{uri}/{Paths.MODEL_ARTIFACT}" if of_run else uri, uri, folder, paths)
            _model_in(folder, uri)
    return _model_in(target, uri)


def _download(source: str, uri: str, folder: Path, paths: Paths) -> None:
    store = tracking_uri(paths.root)
    try:
        connect(store)  # sets MLflow's waits
        import mlflow

        # Not as arguments: MLflow does not pass them on, and looks for models in, and makes, ./mlflow.db.
        mlflow.set_tracking_uri(store)
        mlflow.set_registry_uri(store)
        mlflow.artifacts.download_artifacts(source, dst_path=str(folder))
    except Exception as error:  # noqa: BLE001 - a store, its network or its files
        raise UserError(f"{uri}: no model there: {reason_of(error)}") from None


def _model_in(folder: Path, uri: str) -> Path:
    for path in folder.rglob(f"fold_0/{WEIGHTS}"):
        return path.parents[1]
    raise UserError(f"{uri}: holds no fold_0/{WEIGHTS}: not a model of src/train.py")
