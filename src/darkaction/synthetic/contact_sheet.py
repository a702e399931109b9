"""Contact sheet of synthetic clips: a row of moments of each action in full light and, below, as filmed."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from darkaction.core.errors import UserError
from darkaction.data.video import write_picture
from darkaction.synthetic.generator import GeneratorSettings, generate_clip
from darkaction.synthetic.human.motion import Action
from darkaction.synthetic.world.textures import Image

_LABEL = 74  # pixels for the action's name
_GAP = 4


def brightened(frames_NHWC: Image) -> Image:
    """Dark frames so that they can be looked at: stretched from their darkest to their brightest, then gamma 1.6."""
    low, high = (float(np.percentile(frames_NHWC, percent)) for percent in (0.5, 99.0))
    table = np.clip((np.arange(256) - low) / max(high - low, 8.0), 0, 1) ** (1 / 1.6) * 215
    return np.asarray(table.astype(np.uint8)[frames_NHWC], np.uint8)


def _row(settings: GeneratorSettings, action: Action, scene: int, moments: int) -> Image:
    clip = generate_clip(settings, action, scene, 1)
    timing = clip.state.performance.timing
    picks = np.linspace(timing.start, timing.stop - 1, moments).astype(int)
    strips = [np.concatenate(list(frames), 1) for frames in (clip.clean_NHWC[picks], brightened(clip.dark_NHWC)[picks])]
    pictures = np.concatenate(strips, 0)
    label = np.full((pictures.shape[0], _LABEL, 3), 255, np.uint8)
    cv2.putText(label, action, (6, pictures.shape[0] // 2), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (20, 20, 20), 1, cv2.LINE_AA)
    gap = np.full((_GAP, pictures.shape[1] + _LABEL, 3), 255, np.uint8)
    return np.concatenate([np.concatenate([label, pictures], 1), gap], 0)


def contact_sheet(settings: GeneratorSettings, scenes: tuple[int, ...], *, moments: int) -> Image:
    """One row of `moments` pictures for every class; `scenes` are taken in turn (H, W, 3)."""
    needed = replace(settings, scenes=max(scenes))
    rows = [_row(needed, action, scenes[n % len(scenes)], moments) for n, action in enumerate(settings.classes)]
    return np.concatenate(rows, 0)


def write_sheet(path: Path, sheet_HWC: Image) -> None:
    """Save a sheet as a picture."""
    try:
        write_picture(path, sheet_HWC)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
