"""The states of a training that a stopped one goes on from: checked when they are read, the last two are kept."""

import hashlib
import io
import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor

from darkaction.core.folders import sync_folder, write_whole

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"

FINGERPRINT = "fingerprint.json"
"""What decided the training whose states lie beside it."""

DAMAGED = ".damaged"
"""Behind the name of a state that was set aside."""

DIGEST = hashlib.sha256().digest_size


class CheckedIO(TorchCheckpointIO):
    """Writes a state with its sha256 behind it, where torch.load does not look; the one before becomes PREVIOUS."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        torch.save(checkpoint, content)
        content.write(hashlib.sha256(content.getvalue()).digest())
        new = path.with_name(f"new-{path.name}")
        write_whole(new, content.getbuffer())
        if path.exists():
            os.replace(path, path.with_name(PREVIOUS))
        os.replace(new, path)
        sync_folder(path.parent)


class BestWeights(Callback):
    """Keeps the weights of the epoch with the highest validation accuracy, the first of equal ones; they are part of
    the state."""

    def __init__(self) -> None:
        self.accuracy = -1.0
        self.weights: dict[str, Tensor] = {}

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        accuracy = float(trainer.callback_metrics["val_accuracy"])
        if accuracy > self.accuracy:
            self.accuracy = accuracy
            self.weights = {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        return {"accuracy": self.accuracy, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.accuracy, self.weights = state_dict["accuracy"], state_dict["weights"]


def saver(folder: Path) -> ModelCheckpoint:
    """What saves the state of each epoch."""
    return ModelCheckpoint(
        dirpath=folder, filename=Path(LAST).stem, enable_version_counter=False, save_on_train_epoch_end=True
    )


def resumable(folder: Path, fingerprint: Mapping[str, Any], *, first: bool = True) -> Path | None:
    """The newest state to go on from, if there is a whole one of the same training. Of what is not used, a line on
    standard error says why: a damaged state is set aside, a state of another training is removed.

    Args:
        fingerprint: whatever decides the result of the training.
        first: false in all processes of a distributed training but one: they only look, and at whatever moment find
            what the first one leaves.
    """
    changed = _changed(folder / FINGERPRINT, fingerprint)
    states = [folder / name for name in (LAST, PREVIOUS) if (folder / name).exists()]
    if not changed:
        for path in states:
            if is_whole(path):
                return path
            if first:
                os.replace(path, path.with_name(path.name + DAMAGED))
                _say(f"{path}: damaged (its sha256 differs), set aside as {path.name}{DAMAGED}")
    if first:
        if states:
            reason = f"of another training, now with other {', '.join(changed)}" if changed else "damaged"
            _say(f"{folder}: its states are {reason}; the training begins anew")
        remove_states(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / FINGERPRINT, json.dumps(fingerprint))
    return None


def remove_states(folder: Path) -> None:
    """Removes a folder of states; what was set aside stays."""
    for path in folder.glob("*"):
        if path.suffix != DAMAGED:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if folder.exists() and not any(folder.iterdir()):
        folder.rmdir()


def _changed(path: Path, fingerprint: Mapping[str, Any]) -> list[str]:
    """Names of what differs from the recorded fingerprint."""
    try:
        recorded = json.loads(path.read_bytes())
        names = sorted({*recorded, *fingerprint})
        return [name for name in names if recorded.get(name) != json.loads(json.dumps(fingerprint.get(name)))]
    except (OSError, ValueError, TypeError):
        return ["settings (their record is missing or damaged)"]


def is_whole(path: Path) -> bool:
    """Whether a state is as it was written."""
    try:
        content = memoryview(path.read_bytes())
    except FileNotFoundError:
        return False
    return hashlib.sha256(content[:-DIGEST]).digest() == content[-DIGEST:]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
