"""A training of seconds: a small recognizer learns which way a bar moves."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from darkaction.enhancement.settings import Enhance
from darkaction.models.build import build_recognizer
from darkaction.models.settings import Bert, Model
from darkaction.training import weights
from darkaction.training.augmentation import Augmenter
from darkaction.training.fit import Hardware, Row, fit
from darkaction.training.focal import FocalLoss
from darkaction.training.loader import Clip, TestClips, TrainingClips, training_loader, validation_loader
from darkaction.training.module import RecognizerModule
from darkaction.training.settings import Sampling

MODEL = Model(
    backbone="r2plus1d", head="bert", input="rgb", layers=[1, 1, 1, 1], widths=[4, 4, 8, 16],
    temporal_strides=[1, 1, 2, 1], width=0.25, depth=0.34, slowfast_ratio=4, se_reduction=4, mran=False, bn_eps=1e-3,
    bn_momentum=0.1,
)  # fmt: skip
BERT = Bert(heads=4, layers=1, dropout=0.1, head_dropout=0.1, mask=0.2, normalize="token", init="mean")
SAMPLING = Sampling(
    strategy="delta", num_frames=8, delta_min=0.0, delta_max=1.0, max_rate=8.0, delta_curriculum=0.5, test_draws=2
)
ENHANCE = Enhance(method="none", gamma=2.2, apply={"demo": True}, curve_scale=1.0, height=16, width=16, flow=False)
CARD = weights.Card(
    model=MODEL, bert=BERT, sampling=SAMPLING, enhance=ENHANCE, classes=["down", "up"], min_frames=20, max_frames=30
)
NO_AUGMENTATION = Augmenter(flip=0.0, rotation=0.0, translation=0.0)


class MovingBars:
    """A bright bar that moves down (class 0) or up (class 1): only the order of frames tells which."""

    def load(self, clip_id: str) -> np.ndarray:
        number = int(clip_id)
        frames = np.zeros((20 + number % 10, 16, 16, 3), np.uint8)
        for n in range(len(frames)):
            row = (n * 14) // len(frames)
            frames[n, row : row + 3] = 200
        return frames[::-1] if number % 2 else frames


CLIPS = [Clip(clip_id=str(number), label=number % 2, source=MovingBars(), flow=False) for number in range(24)]


def training_clips(epochs: int = 4, augmenter: Augmenter = NO_AUGMENTATION) -> TrainingClips:
    return TrainingClips(
        CLIPS, sampler=CARD.sampler(), augmenter=augmenter, seed=0, epochs=epochs, delta_curriculum=0.5
    )


def new_module(bert: Bert = BERT, *, freeze_batchnorm: bool = False) -> RecognizerModule:
    torch.manual_seed(0)
    recognizer = build_recognizer(MODEL, bert, num_frames=8, height=16, frame_width=16, num_classes=2)
    return RecognizerModule(
        recognizer,
        FocalLoss(gamma=2.0, alpha_K=None),
        max_lr=0.01,
        weight_decay=1e-4,
        warmup=0.25,
        seed=0,
        freeze_batchnorm=freeze_batchnorm,
    )


def run_fit(
    folder: Path,
    *,
    epochs: int,
    on_epoch: Callable[[int, Row], None] = lambda epoch, row: None,
    module: RecognizerModule | None = None,
    keep: str = "last",
    patience: int | None = None,
    workers: int = 0,
    batch_size: int = 8,
    devices: int = 1,
    validated: int = len(CLIPS),
    bf16: bool = False,
) -> tuple[RecognizerModule, list[Row]]:
    """Trains on all clips and validates on the first so many; the module and its history."""
    module = module or new_module()
    shown = TestClips(CLIPS[:validated], sampler=CARD.sampler(), seed=0, draw=0, num_draws=1)
    history = fit(
        module,
        training_loader(training_clips(epochs), batch_size=batch_size, workers=workers, processes=devices),
        validation_loader(shown, batch_size=8, workers=0),
        epochs=epochs, max_steps=None, grad_clip=1.0,
        hardware=Hardware(bf16=bf16, devices=devices, nodes=1, deterministic=True),
        keep=keep, patience=patience, checkpoints=folder, fingerprint={"seed": 0}, on_epoch=on_epoch,
    )  # fmt: skip
    return module, history
