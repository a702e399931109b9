"""Where and when the answers to some test clips come from, on the frames themselves."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch

from darkaction.core.errors import UserError
from darkaction.core.paths import Paths
from darkaction.data.video import Frames
from darkaction.models.explanation import Explanation, explain, overlay
from darkaction.models.recognizer import Recognizer, channels_last
from darkaction.params import Params
from darkaction.report import pictures
from darkaction.report.inputs import records
from darkaction.training import data, weights
from darkaction.training.loader import Clip, TestClips

FRAMES = 8
"""Of the T frames of a clip, at equal distances."""

WIDTH, QUALITY = 144, 78
"""Pixels and JPEG quality of each."""


@dataclass(frozen=True, kw_only=True)
class HeatFrame:
    """A frame under its heat, and its share of BERT's attention relative to the greatest of the clip, from 0 to 1."""

    picture: str
    attention: float | None


@dataclass(frozen=True, kw_only=True)
class HeatRow:
    """One clip."""

    clip_id: str
    label: str
    predicted: str
    probability: float
    frames: list[HeatFrame]


def heat(network: Recognizer, card: weights.Card, test: pd.DataFrame, params: Params, paths: Paths) -> list[HeatRow]:
    """A row for the first test clip of each class, shown whole as for `attention`; none for a network whose last
    features have no places."""
    chosen = test.sort_values("clip_id").groupby("label").head(1)
    clips = data.open_clips(chosen, paths, params.data.classes, params.enhance, flow=card.model.input == "rgb_flow")
    try:
        return [_row(network, card, clip, row) for clip, row in zip(clips, records(chosen), strict=True)]
    except UserError:
        return []


def _row(network: Recognizer, card: weights.Card, clip: Clip, row: dict[str, Any]) -> HeatRow:
    network = network.cpu().eval()
    channels_last(network)
    whole = dataclasses.replace(card.sampler(), strategy="length_adjusted")
    clip_CTHW, _ = TestClips([clip], sampler=whole, seed=0, draw=0, num_draws=1)[0]
    with torch.inference_mode():
        probabilities_K = network(clip_CTHW[None]).softmax(-1)[0]
    answer = int(probabilities_K.argmax())
    [found] = explain(network, clip_CTHW[None], torch.tensor([answer]))
    frames_THWC = clip_CTHW[:3].permute(1, 2, 3, 0).numpy()
    places = np.unique(np.linspace(0, len(frames_THWC) - 1, FRAMES).round().astype(int))
    return HeatRow(
        clip_id=row["clip_id"],
        label=row["label"],
        predicted=card.classes[answer],
        probability=float(probabilities_K[answer]),
        frames=[_frame(frames_THWC[place], found, place) for place in places],
    )


def _frame(frame_HWC: Frames, found: Explanation, place: int) -> HeatFrame:
    height, width = frame_HWC.shape[:2]
    size = (WIDTH, round(height * WIDTH / width))
    large_HWC = np.asarray(cv2.resize(frame_HWC, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    attention_T = found.attention_T
    return HeatFrame(
        picture=pictures.jpeg(overlay(large_HWC, found.heat_THW[place]), width=WIDTH, quality=QUALITY),
        attention=None if attention_T is None else float(attention_T[place] / attention_T.max()),
    )
