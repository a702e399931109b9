"""What the heads of BERT look at. A attention heads, S = T' + 1 keys: CLS, then the T' tokens in time."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from darkaction.core.paths import Paths
from darkaction.models.build import ClipSize, num_tokens
from darkaction.models.heads.bert import Bert, cls_attention
from darkaction.models.recognizer import BertHead, Recognizer, channels_last
from darkaction.params import Params
from darkaction.report import figures
from darkaction.training import data, weights
from darkaction.training.loader import Clip, TestClips, test_loader
from darkaction.training.sampling import Sampler

CLIPS_PER_CLASS = 8
"""Test clips whose attention is averaged."""


def transformer(recognizer: Recognizer) -> Bert | None:
    """The network's BERT; None for a head without attention."""
    return recognizer.head.bert if isinstance(recognizer.head, BertHead) else None


def attention_by_class(
    recognizer: Recognizer, clips: Sequence[Clip], *, sampler: Sampler, classes: Sequence[str], batch_size: int
) -> dict[str, NDArray[np.float64]]:
    """Mean over the clips of a class of what the CLS query of the last block gives to each key: {class: weights_AS}.

    Args:
        recognizer: a network with a BERT head.
        clips: of any class; a class without a clip is left out.
        sampler: which frames it is shown; one that takes each clip whole, without blank frames, makes the place of a
            token a time in the action.
        classes: by class number.
        batch_size: clips at once.
    """
    bert = transformer(recognizer)
    assert bert is not None, "no attention in this head"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    recognizer = recognizer.to(device).eval()
    channels_last(recognizer)
    shown = TestClips(list(clips), sampler=sampler, seed=0, draw=0, num_draws=1)
    with torch.inference_mode(), cls_attention(bert) as batches:
        for clip_BCTHW, _ in test_loader(shown, batch_size=batch_size, workers=0):
            recognizer(clip_BCTHW.to(device))
    weights_NAS = torch.cat(batches).double().cpu().numpy()
    label_N = np.array([clip.label for clip in clips])
    return {name: weights_NAS[label_N == k].mean(0) for k, name in enumerate(classes) if (label_N == k).any()}


def attention(
    network: Recognizer, card: weights.Card, test: pd.DataFrame, params: Params, paths: Paths
) -> dict[str, Any] | None:
    """A chart a class of what the heads look at, and what is needed to read them; None for a network without attention.

    Clips are shown whole (length-adjusted sampling, which is delta sampling with a delta of 0), so that the place of a
    token is a time in the action.
    """
    if transformer(network) is None:
        return None
    chosen = test.sort_values("clip_id").groupby("label").head(CLIPS_PER_CLASS)
    found = attention_by_class(
        network,
        data.open_clips(chosen, paths, params.data.classes, params.enhance, flow=card.model.input == "rgb_flow"),
        sampler=dataclasses.replace(card.sampler(), strategy="length_adjusted"),
        classes=params.data.classes,
        batch_size=params.evaluate.batch_size,
    )
    strongest = max(float(weights_AS.max()) for weights_AS in found.values())
    shape = ClipSize(num_frames=card.sampling.num_frames, height=card.enhance.height, width=card.enhance.width)
    return {
        "charts": [figures.attention(name, weights_AS, strongest=strongest) for name, weights_AS in found.items()],
        "heads": card.bert.heads,
        "layers": card.bert.layers,
        "steps": num_tokens(card.model, shape),
        "clips": CLIPS_PER_CLASS,
        "strongest": strongest,
    }
