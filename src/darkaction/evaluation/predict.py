"""Predictions of a trained recognizer: the softmax of several sampling draws, to be averaged (section 4.2)."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from darkaction.models.recognizer import channels_last
from darkaction.training.loader import Clip, TestClips, lost_worker_is_said, test_loader
from darkaction.training.sampling import Sampler


def predict(
    recognizer: nn.Module,
    clips: list[Clip],
    *,
    sampler: Sampler,
    seed: int,
    num_draws: int,
    batch_size: int,
    workers: int,
    bf16: bool,
    shuffle_frames: bool = False,
) -> NDArray[np.float64]:
    """probabilities_DNK of D draws, N clips, K classes; the draws are fixed by `seed`.

    Args:
        bf16: compute in bfloat16 where autocast allows it.
        shuffle_frames: show each clip's frames in random order, to learn what the order is worth.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    recognizer = recognizer.to(device).eval()
    channels_last(recognizer)
    draws = []
    bar = tqdm(total=num_draws * len(clips), unit="clip", desc="predict", mininterval=1)
    with bar as progress, lost_worker_is_said():
        for draw in range(num_draws):
            test = TestClips(
                clips, sampler=sampler, seed=seed, draw=draw, num_draws=num_draws, shuffle_frames=shuffle_frames
            )
            batches = []
            for clip_BCTHW, _ in test_loader(test, batch_size=batch_size, workers=workers):
                with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                    logits_BK = recognizer(clip_BCTHW.to(device, non_blocking=True))
                batches.append(logits_BK.double().softmax(-1).cpu().numpy())
                progress.update(len(clip_BCTHW))
            draws.append(np.concatenate(batches))
    return np.stack(draws)
