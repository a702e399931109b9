"""Weights on disk: safetensors, with everything needed to use them again in the file's own metadata."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor

from darkaction.core import model_folder
from darkaction.core.agreement import require_same
from darkaction.core.config import STRICT
from darkaction.core.errors import UserError
from darkaction.core.folders import write_whole
from darkaction.data.settings import SYNTHETIC as GENERATED
from darkaction.enhancement.settings import Enhance, frame_settings
from darkaction.models.build import build_recognizer
from darkaction.models.recognizer import Recognizer
from darkaction.models.settings import Bert, Model
from darkaction.training.sampling import Sampler
from darkaction.training.settings import Sampling

METADATA_KEY = "darkaction"
DIGEST_KEY = "sha256"

FORMER_WORDS = {
    '"delta_ramp":': '"delta_curriculum":',
    '"normalize_tokens": true': '"normalize": "token"',
    '"normalize_tokens": false': '"normalize": "none"',
}
"""In the cards of weights that were trained before a setting had its name of today."""

WEIGHTS = model_folder.WEIGHTS
"""In models/recognizer/fold_<k>."""

ENHANCER = "enhancer.safetensors"
"""In models/recognizer, where a network enhanced the frames that were learnt from: its weights."""

TRAINED_ON = "trained_on.json"
"""In models/recognizer: a digest of the clips and their parts that it was trained on."""

SYNTHETIC = (*GENERATED, "synthetic", "drawn")
"""Datasets without a real clip: those of src/synthesize.py and that of the pretraining, formerly called drawn."""

Span = tuple[float, float]
"""Lowest and highest value."""


def network_settings(
    *, model: Model, bert: Bert, frames: Mapping[str, Any], classes: Sequence[str], num_frames: int
) -> dict[str, Any]:
    """What a network is made for, by the names of settings.

    Args:
        frames: `frame_settings` of what it is shown.
    """
    found = {"data.classes": list(classes), "sampling.num_frames": num_frames, **frames}
    found |= {f"model.{field.name}": getattr(model, field.name) for field in dataclasses.fields(model)}
    return found | {f"bert.{name}": getattr(bert, name) for name in ("heads", "layers", "normalize")}


@checked_dataclass(frozen=True, kw_only=True, config=STRICT)
class Training:
    """What a network was trained on.

    luma is the mean over all pixels and frames of a clip, 0 to 255; sizes are of the raw frames, in pixels; frames
    counts those of a whole clip. `datasets` begins with those of the weights that the training started from; the
    rest is of the training's own clips. `digest` is of their ids and checksums: the same clips have the same.
    """

    datasets: list[str]
    digest: str
    clips: int
    scenes: int
    luma: Span
    height: Span
    width: Span
    frames: Span

    @property
    def synthetic(self) -> bool:
        """Whether no clip was real."""
        return set(self.datasets) <= set(SYNTHETIC)

    def outside(self, *, luma: float, height: int, width: int, frames: int) -> list[str]:
        """In what a clip is unlike every training clip, one phrase each; units as above."""
        phrases = []
        if not self.luma[0] <= luma <= self.luma[1]:
            phrases.append(f"mean luma {luma:.1f} of 255 (training clips {_span(self.luma, '.1f')})")
        if not (self.height[0] <= height <= self.height[1] and self.width[0] <= width <= self.width[1]):
            phrases.append(f"{width}x{height} pixels (training clips {_span(self.width)} x {_span(self.height)})")
        if not self.frames[0] <= frames <= self.frames[1]:
            phrases.append(f"{frames} frames (training clips {_span(self.frames)})")
        return phrases


@checked_dataclass(frozen=True, kw_only=True, config=STRICT)
class Validation:
    """How a network did on the validation clips of its training, and the temperature that was fitted to them, which
    turns its probabilities into those the project reports (calibration.py).

    low and high: 95 % interval of the accuracy, over scenes. The errors are expected calibration errors on the same
    clips, without the temperature and with it.
    """

    clips: int
    scenes: int
    accuracy: float
    low: float
    high: float
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    error_before: float
    error_after: float


@checked_dataclass(frozen=True, kw_only=True, config=STRICT)
class Card:
    """What a weights file says about itself.

    min_frames and max_frames: shortest and longest training clip, which two sampling strategies go by.
    training is None in files of before it was recorded; validation is None there too, and where there were no
    validation clips.
    """

    model: Model
    bert: Bert
    sampling: Sampling
    enhance: Enhance
    classes: list[str]
    min_frames: int
    max_frames: int
    training: Training | None = None
    validation: Validation | None = None

    def sampler(self) -> Sampler:
        """The sampler the network was trained with."""
        return make_sampler(self.sampling, min_frames=self.min_frames, max_frames=self.max_frames)


def _span(values: Span, form: str = ".0f") -> str:
    low, high = (f"{value:{form}}" for value in values)
    return low if low == high else f"{low} to {high}"


def check_card(card: Card, wanted: Mapping[str, Any], path: Path) -> None:
    """Refuses weights of a network other than the settings describe.

    Args:
        wanted: agreement.network_wanted of today.

    Raises:
        UserError: naming the file, the settings and both values.
    """
    enhance = card.enhance
    frames = frame_settings(
        method=enhance.method,
        gamma=enhance.gamma,
        curve_scale=enhance.curve_scale,
        height=enhance.height,
        width=enhance.width,
    )
    has = network_settings(
        model=card.model, bert=card.bert, frames=frames, classes=card.classes, num_frames=card.sampling.num_frames
    )
    require_same(has, wanted, made=path, command="python src/train.py")


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


def save(path: Path, recognizer: Recognizer, card: Card, *, half: bool = False) -> None:
    """Writes the weights and their card to `path`, whole or not at all; with `half`, matrices in 16 bits."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in recognizer.state_dict().items()}
    if half:
        state = {name: tensor.half() if tensor.ndim > 1 else tensor for name, tensor in state.items()}
    # From memory: what safetensors' own writing raises on a full disk is no OSError.
    text = json.dumps(dataclasses.asdict(card))
    write_whole(path, _in_order(serialize(state, {METADATA_KEY: text, DIGEST_KEY: _digest(state, text)})))


def _in_order(content: bytes) -> bytes:
    """A safetensors file with sorted metadata: safetensors writes them in an order of each process's own."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text + content[end:]


def _digest(state: Mapping[str, Tensor], card: str) -> str:
    """The sha256 of whatever a file of weights holds."""
    found = hashlib.sha256(card.encode())
    for name, tensor in sorted(state.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def load(path: Path) -> tuple[Recognizer, Card]:
    """The network in `path`, ready for use (eval mode), and its card.

    Raises:
        UserError: when the file is missing, damaged, or no recognizer of this project.
    """
    state = read_state(path)
    card = read_card(path)
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
    problems = misfits(recognizer.state_dict(), state)
    if problems:
        raise UserError(f"{path}: the weights do not fit the card in the same file: {'; '.join(problems)}")
    recognizer.load_state_dict(state)
    return recognizer.eval(), card


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors in a weights file, by their names.

    Raises:
        UserError: when it is missing or damaged.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such weights file")
    try:
        state: dict[str, Tensor] = load_file(path)
        metadata = _metadata(path)
    except SafetensorError as error:
        raise UserError(f"{path}: not a safetensors file, or damaged: {error}") from None
    expected = metadata.get(DIGEST_KEY)  # weights of other projects and earlier versions have none
    if expected is not None and _digest(state, metadata.get(METADATA_KEY, "")) != expected:
        raise UserError(f"{path}: damaged (its sha256 differs from the one in it)")
    return state


def read_card(path: Path) -> Card | None:
    """The card in a weights file; None where it has none.

    Raises:
        UserError: when it is of another version of the project.
    """
    metadata = _metadata(path)
    if METADATA_KEY not in metadata:
        return None
    text = metadata[METADATA_KEY]
    for former, today in FORMER_WORDS.items():
        text = text.replace(former, today)
    try:
        return TypeAdapter(Card).validate_json(text)
    except ValidationError as error:
        raise UserError(f"{path}: its card does not fit this version of the project: {error}") from None


def _metadata(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return file.metadata() or {}


def misfits(expected: dict[str, Any], given: dict[str, Any], *, most: int = 3) -> list[str]:
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
