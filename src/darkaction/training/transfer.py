"""Starting weights: what a training takes of the weights in a file (train.init_from).

Each tensor of the backbone is loaded as it is, inflated, or keeps its initial values:

    the same name and shape         loaded
    more input channels             inflated: the flow channels get the mean of the RGB filters
    a 2-D filter for a 3-D one      inflated: repeated over time, divided by the number of time steps
    squeeze and excitation, absent  initial
    colour filters, for movement    their mean over the colours

Whatever else differs is an error: then the file holds another architecture.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from darkaction.core.errors import UserError
from darkaction.models.backbones import slowfast, videomae
from darkaction.models.backbones.squeeze_excitation import TemporalExcitation
from darkaction.models.recognizer import Recognizer
from darkaction.models.settings import MOVEMENT_CHANNELS
from darkaction.models.views import Movement
from darkaction.training.weights import Card, misfits, read_card, read_state

CLASSIFIERS = ("fc.", "classifier.", "head.")
"""How the last layers of released networks are called; they name other classes."""

BY_CLASS = ("classifier.", "fusion.", "mran.classifier.")
"""Parts of a recognizer that are made for certain classes."""

RGB = 3
"""Input channels of released weights."""


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What `start_from` took from a file.

    taken, fresh: parts of the network that came from the file, and that keep their fresh weights.
    left_out: parts of the file that were not used.
    loaded, inflated, initial: names of the backbone's tensors: as in the file, made from those in the file, not in it.
    """

    taken: list[str]
    fresh: list[str]
    left_out: list[str]
    loaded: list[str]
    inflated: list[str]
    initial: list[str]

    def report(self) -> str:
        """For a person, in one line, or two where not all tensors were in the file."""
        fresh, left_out = (", ".join(parts) or "nothing" for parts in (self.fresh, self.left_out))
        text = f"took {', '.join(self.taken)}; fresh: {fresh}; left out: {left_out}"
        if not self.inflated and not self.initial:
            return text
        tensors = len(self.loaded) + len(self.inflated) + len(self.initial)
        return (
            f"{text}\nof the backbone's {tensors} tensors {len(self.loaded)} loaded; "
            f"inflated: {summary(self.inflated)}; initial values: {summary(self.initial)}"
        )


def summary(names: Iterable[str]) -> str:
    """Names of tensors, those alike but for numbers together: `layer*.*.weight (8)`."""
    counts = Counter(re.sub(r"\d+", "*", name) for name in names)
    whole = {re.sub(r"\d+", "*", name): name for name in names}
    return ", ".join(whole[form] if count == 1 else f"{form} ({count})" for form, count in counts.items()) or "none"


def start_from(recognizer: Recognizer, path: Path, *, classes: list[str]) -> Transfer:
    """Lays the weights in `path` into `recognizer` as a start for training.

    The backbone must fit, tensor by tensor, as the module's docstring says. The temporal head and the
    multi-representation module are taken where they fit as a whole (a file may have another head or none), the
    classifier where it knows all of `classes`, of which it may know more. Released weights of a bare network, with keys
    such as `stem.0.weight`, are taken too, without its classifier.

    Args:
        classes: of the recognizer, in order.

    Raises:
        UserError: naming what does not fit, when the file holds another backbone.
    """
    state, card = read_state(path), read_card(path)
    if card is None and not any(name.startswith("backbone.") for name in state):
        state = _todays_names(recognizer.backbone, state)
        unused = {name for name in state if name.startswith(CLASSIFIERS)}
        given = {f"backbone.{name}": tensor for name, tensor in state.items() if name not in unused}
    else:
        given, unused = _for_classes(state, card, classes), set(state)
    if isinstance(recognizer.view, Movement) and (card is None or card.model.input != "movement"):
        given = {name: _without_colour(tensor) for name, tensor in given.items()}
    assert isinstance(recognizer.backbone, nn.Module)
    fitted = _fit(recognizer.backbone, _part(given, "backbone."), path)
    own = recognizer.state_dict() | {f"backbone.{name}": tensor for name, tensor in fitted.state.items()}
    taken, fresh = ["backbone"], []
    for part, _ in recognizer.named_children():
        expected, found = _part(own, f"{part}."), _part(given, f"{part}.")
        if part == "backbone" or not expected:
            continue
        if misfits(expected, found):
            fresh.append(part)
        else:
            own |= {f"{part}.{name}": tensor for name, tensor in found.items()}
            taken.append(part)
    recognizer.load_state_dict(own)
    return Transfer(
        taken=taken,
        fresh=fresh,
        left_out=sorted({name.partition(".")[0] for name in unused} - set(taken)),
        loaded=fitted.loaded,
        inflated=fitted.inflated,
        initial=fitted.initial,
    )


def _todays_names(backbone: object, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Released weights by the names that the backbone's tensors have here."""
    if isinstance(backbone, slowfast.SlowFast):
        return slowfast.from_released(state)
    return videomae.from_released(state) if isinstance(backbone, videomae.VideoMAEBackbone) else state


def _for_classes(state: dict[str, Tensor], card: Card | None, classes: list[str]) -> dict[str, Tensor]:
    """The weights of a recognizer, of its parts that are made for classes only what holds for these ones: a classifier
    has a row of weights and a bias for each."""
    if card is not None and card.classes == classes:
        return state
    kept = {name: tensor for name, tensor in state.items() if not name.startswith(BY_CLASS)}
    if card is None or not set(classes) <= set(card.classes):
        return kept
    rows = [card.classes.index(name) for name in classes]
    return kept | {name: tensor[rows] for name, tensor in state.items() if name.startswith("classifier.")}


def _without_colour(given: Tensor) -> Tensor:
    """A filter of colours as one of movement: its mean over them in each channel (Wang et al. 2016, "Temporal segment
    networks", section 3.2); any other tensor as it is."""
    if given.dim() not in (4, 5) or given.shape[1] != RGB:
        return given
    return given.mean(1, keepdim=True).expand(-1, MOVEMENT_CHANNELS, *given.shape[2:]).contiguous()


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """The state of a backbone, and the names of its tensors as in `Transfer`."""

    state: dict[str, Tensor]
    loaded: list[str]
    inflated: list[str]
    initial: list[str]


def _fit(backbone: nn.Module, given: Mapping[str, Tensor], path: Path) -> Fitted:
    """What the weights in `path` make of a backbone.

    Raises:
        UserError: when they are of another architecture, or nothing of them fits.
    """
    own = backbone.state_dict()
    added = {
        f"{place}.{name}"
        for place, module in backbone.named_modules()
        if isinstance(module, TemporalExcitation)
        for name in module.state_dict()
    }
    initial = [name for name in own if name in added and name not in given]
    pairs = {name: inflate(given[name], own[name]) for name in own if name in given}
    made = {name: tensor for name, tensor in pairs.items() if tensor is not None}
    state = {name: tensor for name, tensor in own.items() if name in initial} | {**given, **made}
    if problems := misfits(own, state):
        raise UserError(
            f"train.init_from: {path} holds another architecture than model.* describes: {'; '.join(problems)}"
        )
    loaded = [name for name in own if name not in made and name not in initial]
    return Fitted(state=state, loaded=loaded, inflated=list(made), initial=initial)


def inflate(given: Tensor, own: Tensor) -> Tensor | None:
    """A filter in the shape of the network's own, made from one with fewer dimensions or input channels; None where the
    shapes are the same or nothing can be made.

    Filters of flow are the mean of those of colour, which stay as they are: a clip without motion, whose flow is 0,
    gives the same features as before. (Wang et al. 2016, "Temporal segment networks", section 3.2.) A 2-D filter over
    time is divided by the time steps, so that a still clip gives the same as its frame. (Carreira & Zisserman 2017,
    section 3.1.)

    Args:
        given: (outputs, inputs, [time,] height, width).
        own: (outputs, inputs, [time,] height, width).
    """
    result = given
    if own.ndim == 5 and result.ndim == 4:
        steps = own.shape[2]
        result = result[:, :, None].expand(-1, -1, steps, -1, -1) / steps
    if own.ndim in (4, 5) and result.ndim == own.ndim and own.shape[1] > RGB == result.shape[1]:
        flow = result.mean(1, keepdim=True).expand(-1, own.shape[1] - RGB, *result.shape[2:])
        result = torch.cat([result, flow], dim=1)
    return result.contiguous() if result is not given and result.shape == own.shape else None


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, named without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
