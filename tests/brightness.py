"""A model with known answers: `up` for bright frames, `down` for dark ones, by the share of either in a window."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from darkaction.data.video import write_video
from darkaction.serving.predictor import Predictor
from darkaction.training import weights
from tiny_models import make_model


class Brightness(nn.Module):
    """Stands for a Recognizer."""

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        level_BT = clip_BCTHW.float().mean((1, 3, 4))
        bright_B = (level_BT > 140).sum(1) - ((level_BT > 40) & (level_BT < 140)).sum(1).float()  # the rest is blank
        return torch.stack([-bright_B, bright_B], 1)


def make_predictor(folder: Path, *, min_frames: int = 30, max_frames: int = 90) -> Predictor:
    """Trained, it says, on clips of 1 to 3 seconds: windows of 2 s, one every second."""
    _, card = weights.load(make_model(folder, "enhance.method=none") / "fold_0" / weights.WEIGHTS)
    card = weights.Card(**{**vars(card), "min_frames": min_frames, "max_frames": max_frames})
    return Predictor([(Brightness(), card)], lambda frames_NHWC: frames_NHWC, torch.device("cpu"))  # type: ignore[list-item]


def write_parts(path: Path, parts: list[tuple[str, float]], *, fps: float = 30, height: int = 48) -> Path:
    """A video of parts, each of an answer and its seconds."""
    width = height * 4 // 3
    frames = (
        np.full((height, width, 3), {"down": 80, "up": 200}[answer], np.uint8)
        for answer, seconds in parts
        for _ in range(round(seconds * fps))
    )
    write_video(path, frames, fps=fps, codec="mp4v")
    return path
