"""Weights on disk: safetensors, with everything needed to use them again in the file's own metadata."""

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor

from darkaction.config import STRICT, Bert, Enhance, Model, Sampling
from darkaction.errors import UserError
from darkaction.models.build import build_recognizer
from darkaction.models.recognizer import Recognizer
from darkaction.sampling import Sampler

METADATA_KEY = "darkaction"

WEIGHTS = "weights.safetensors"
"""In models/recognizer/fold_<k>."""

ENHANCER = "enhancer.safetensors"
"""In models/recognizer, where a network enhanced the frames that were learnt from: its weights."""

CLASSIFIERS = ("fc.", "classifier.", "head.")
"""How the last layers of released networks are called; they name other classes."""

BY_CLASS = ("classifier.", "fusion.", "mran.classifier.")
"""Parts of a recognizer that are made for certain classes."""


@checked_dataclass(frozen=True, kw_only=True, config=STRICT)
class Card:
    """What a weights file says about itself.

    min_frames and max_frames: shortest and longest training clip, which two sampling strategies go by.
    """

    model: Model
    bert: Bert
    sampling: Sampling
    enhance: Enhance
    classes: list[str]
    min_frames: int
    max_frames: int

    def sampler(self) -> Sampler:
        """The sampler the network was trained with."""
        return make_sampler(self.sampling, min_frames=self.min_frames, max_frames=self.max_frames)


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What `start_from` took from a file, which parts of the network keep their fresh weights, and which of the file
    were left out."""

    taken: list[str]
    fresh: list[str]
    left_out: list[str]


def make_sampler(sampling: Sampling, *, min_frames: int, max_frames: int) -> Sampler:
    """The sampler of the section `sampling`."""
    return Sampler(
        strategy=sampling.strategy,
        num_frames=sampling.num_frames,
        delta_min=sampling.delta_min,
        delta_max=sampling.delta_max,
        max_rate=sampling.max_rate,
        min_frames=min_frames,
        max_frames=max_frames,
    )


def save(path: Path, recognizer: Recognizer, card: Card) -> None:
    """Writes the weights and their card to `path`, whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in recognizer.state_dict().items()}
    try:
        # From memory: what safetensors' own writing raises on a full disk is no OSError.
        partial.write_bytes(serialize(state, {METADATA_KEY: json.dumps(dataclasses.asdict(card))}))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: Path) -> tuple[Recognizer, Card]:
    """The network in `path`, ready for use (eval mode), and its card.

    Raises:
        UserError: when the file is missing, damaged, or no recognizer of this project.
    """
    state = _read(path)
    card = _read_card(path)
    if card is None:
        raise UserError(f"{path}: weights without a card, so not of a recognizer that src/train.py made")
    recognizer = build_recognizer(
        card.model,
        card.bert,
        num_frames=card.sampling.num_frames,
        height=card.enhance.height,
        frame_width=card.enhance.width,
        num_classes=len(card.classes),
    )
    problems = _misfits(recognizer.state_dict(), state)
    if problems:
        raise UserError(f"{path}: the weights do not fit the card in the same file: {'; '.join(problems)}")
    recognizer.load_state_dict(state)
    return recognizer.eval(), card


def start_from(recognizer: Recognizer, path: Path, *, classes: list[str], fresh_head: bool) -> Transfer:
    """Lays the weights in `path` into `recognizer` as a start for training.

    The backbone must fit in every key and shape. The temporal head and the multi-representation module are taken where
    they fit as a whole (a file may have another head or none), the classifier where it knows all of `classes`, of
    which it may know more. Released weights of a bare network, with keys such as `stem.0.weight`, are taken too,
    without its classifier.

    Args:
        classes: of the recognizer, in order.
        fresh_head: take the backbone alone.

    Raises:
        UserError: naming what does not fit, when the file holds another backbone.
    """
    state = _read(path)
    card = _read_card(path)
    own = recognizer.state_dict()
    if card is None and not any(name.startswith("backbone.") for name in state):
        state = {f"backbone.{name}": tensor for name, tensor in state.items() if not name.startswith(CLASSIFIERS)}
    elif card is None or card.classes != classes:
        known = card is not None and set(classes) <= set(card.classes)
        chosen = _rows_of(state, [card.classes.index(name) for name in classes]) if card and known else {}
        state = {name: tensor for name, tensor in state.items() if not name.startswith(BY_CLASS)} | chosen
    if fresh_head:
        state = {name: tensor for name, tensor in state.items() if name.startswith("backbone.")}
    taken, fresh = [], []
    for part, _ in recognizer.named_children():
        expected = {name: tensor for name, tensor in own.items() if name.startswith(f"{part}.")}
        given = {name: tensor for name, tensor in state.items() if name.startswith(f"{part}.")}
        problems = _misfits(expected, given)
        if part == "backbone" and problems:
            raise UserError(
                f"train.init_from: {path} holds another architecture than model.* describes: {'; '.join(problems)}"
            )
        if problems:
            fresh.append(part)
        elif expected:
            own.update(given)
            taken.append(part)
    recognizer.load_state_dict(own)
    return Transfer(taken=taken, fresh=fresh, left_out=_left_out(path, taken))


def _rows_of(state: dict[str, Tensor], numbers: list[int]) -> dict[str, Tensor]:
    """The classifier for some of its classes: each has a row of weights and a bias."""
    return {name: tensor[numbers] for name, tensor in state.items() if name.startswith("classifier.")}


def _left_out(path: Path, taken: list[str]) -> list[str]:
    """The parts of a file, by the first word of their keys, that were not taken."""
    with safe_open(path, framework="pt") as file:
        parts = {name.partition(".")[0] for name in file.keys()}  # noqa: SIM118 - not a mapping
    if "backbone" in parts:
        return sorted(parts - set(taken))
    return sorted(part for part in parts if f"{part}.".startswith(CLASSIFIERS))


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise UserError(f"{path}: no such weights file")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path}: not a safetensors file, or damaged: {error}") from None


def _read_card(path: Path) -> Card | None:
    """The card in a weights file; None where it has none."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
    if METADATA_KEY not in metadata:
        return None
    try:
        return TypeAdapter(Card).validate_json(metadata[METADATA_KEY])
    except ValidationError as error:
        raise UserError(f"{path}: its card does not fit this version of the project: {error}") from None


def _misfits(expected: dict[str, Any], given: dict[str, Any], *, most: int = 3) -> list[str]:
    """Up to `most` sentences on how two state dicts differ in keys and shapes."""
    missing = [f"{name} is missing" for name in expected if name not in given]
    extra = [f"{name} is not expected" for name in given if name not in expected]
    shapes = [
        f"{name} is {tuple(given[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in given and given[name].shape != tensor.shape
    ]
    problems = [*shapes, *missing, *extra]
    return problems[:most] + ([f"and {len(problems) - most} more"] if len(problems) > most else [])
