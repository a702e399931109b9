"""What is exported, as this project computes it in float32."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from darkaction.core import model_folder
from darkaction.core.errors import UserError
from darkaction.data.video import Frames
from darkaction.enhancement import Enhancer, zero_dce
from darkaction.enhancement.apply import enhance_and_resize
from darkaction.enhancement.gamma import correct_gamma, gamma_table
from darkaction.evaluation.calibration import temper
from darkaction.models.recognizer import Recognizer
from darkaction.serving.export.graph import Brighten, Graph, Lookup
from darkaction.serving.predictor import SEED
from darkaction.training import weights
from darkaction.training.loader import gather, to_CTHW
from darkaction.training.sampling import BLANK, generator
from darkaction.training.weights import Card

Indices = NDArray[np.int64]
Exported = Callable[[Frames, Indices], tuple[NDArray[np.float64], Frames]]
"""frames_MHWC, indices_DT -> probabilities_K, shown_MhwC."""


@dataclass(frozen=True)
class Model:
    """What is exported: the networks with their temperatures, and the enhancement, all in float32."""

    networks: list[tuple[Recognizer, float]]
    enhance: nn.Module
    enhancer: Enhancer  # the same as the Predictor computes it on a CPU
    card: Card

    @property
    def size(self) -> tuple[int, int]:
        return self.card.enhance.height, self.card.enhance.width

    def graph(self) -> Graph:
        return Graph(self.enhance, self.networks, size=self.size).eval().requires_grad_(False)

    def show(self, frames_MHWC: Frames) -> Frames:
        """shown_MhwC, as the Predictor enhances and resizes frames, but in float32."""
        return enhance_and_resize(frames_MHWC, self.enhancer, height=self.size[0], width=self.size[1])

    @torch.inference_mode()
    def answer(self, shown_MhwC: Frames, indices_DT: Indices) -> NDArray[np.float64]:
        """probabilities_K as the Predictor computes them of shown frames, but in float32."""
        clips_DCTHW = torch.stack([to_CTHW(gather(shown_MhwC, indices_T, blank=0)) for indices_T in indices_DT])
        means = [
            temper(network(clips_DCTHW).double().softmax(-1).mean(0).numpy(), temperature)
            for network, temperature in self.networks
        ]
        mean_K: NDArray[np.float64] = np.mean(means, axis=0)
        return mean_K


def load(folder: Path) -> Model:
    """The model in `folder`, laid out as models/recognizer.

    Raises:
        UserError: when it cannot be exported.
    """
    loaded = [weights.load(path) for path in model_folder.networks(folder)]
    cards = [card for _, card in loaded]
    card = cards[0]
    if any(card.model.input == "rgb_flow" for card in cards):
        raise UserError(f"{folder}: model.input rgb_flow cannot be exported (OpenCV computes flow); rgb, movement can")
    if any(
        draws_of(other, frames).tolist() != draws_of(card, frames).tolist() for other in cards for frames in (9, 99)
    ):
        raise UserError(f"{folder}: its networks sample other frames, and a file takes one choice; export one of them")
    temperatures = [1.0 if card.validation is None else card.validation.temperature for card in cards]
    networks = [(network, temperature) for (network, _), temperature in zip(loaded, temperatures, strict=True)]
    return Model(networks, *_enhancement(card, folder), card)


def _enhancement(card: Card, folder: Path) -> tuple[nn.Module, Enhancer]:
    settings = card.enhance
    if settings.method == "none":
        return nn.Identity(), lambda frames_NHWC: frames_NHWC
    if settings.method == "gamma":
        table = gamma_table(settings.gamma)
        return Lookup(torch.from_numpy(table)), partial(correct_gamma, table)
    if settings.method == "zero_dce":
        network = zero_dce.load_weights(folder / weights.ENHANCER, curve_scale=settings.curve_scale)
        return Brighten(network), partial(zero_dce.enhance_frames, network)
    raise UserError(f"{folder}: enhance.method {settings.method} cannot be exported; none, gamma, zero_dce can")


def draws_of(card: Card, num_frames: int) -> Indices:
    """Frame numbers of every draw of a video, (D, T), BLANK for padding, as the Predictor chooses them."""
    sampler, total = card.sampler(), card.sampling.test_draws
    numbers = [generator(seed=SEED, epoch=0, clip_id="", draw=draw) for draw in range(total)]
    return np.stack([sampler.draw_test(num_frames, rng, draw, total) for draw, rng in enumerate(numbers)])


def inputs_of(card: Card, frames_NHWC: Frames) -> tuple[Frames, Indices]:
    """frames_MHWC, those that some draw shows, and indices_DT into them."""
    draws_DT = draws_of(card, len(frames_NHWC))
    wanted_M = np.unique(draws_DT[draws_DT != BLANK])
    return frames_NHWC[wanted_M], np.where(draws_DT == BLANK, BLANK, np.searchsorted(wanted_M, draws_DT))
