"""The proof that an exported model answers as this project does, on synthetic clips."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from darkaction.core.errors import UserError
from darkaction.data.video import read_video, write_video
from darkaction.serving.export.model import Exported, Model, inputs_of
from darkaction.serving.predictor import Predictor
from darkaction.synthetic.demo import Demo
from darkaction.synthetic.generator import FPS, GeneratorSettings, generate_clip
from darkaction.synthetic.human.motion import Action

MOST_CHANGE = 1e-4
"""Largest difference of a probability to this project's in float32, of the same shown frames."""

CLIPS: tuple[tuple[Action, int, int, int], ...] = (
    ("jump", 90, 120, 5),
    ("walk", 120, 160, 200),
    ("wave", 240, 320, 200),
)
"""Action, height, width and most frames of a clip; the first is shorter than what networks are shown."""

ROUNDS = 5


def check(exported: Exported, model: Model, predictor: Predictor, *, name: str) -> list[str]:
    """What was measured, a line each.

    Enhanced frames may differ by a level: where a value lies halfway between two, every library rounds it as it likes,
    which moves a probability by some 0.0001. So probabilities are compared of the same enhanced frames.

    Raises:
        UserError: when frames, probabilities or labels differ from this project's.
    """
    theirs, same, ours, running = [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for video in _write_clips(Path(folder)):
            frames_MHWC, indices_DT = inputs_of(model.card, read_video(video))
            answer_K, shown_MhwC = exported(frames_MHWC, indices_DT)
            own_MhwC = model.show(frames_MHWC)
            if (levels := int(np.abs(np.subtract(shown_MhwC, own_MhwC, dtype=np.int16)).max())) > 1:
                raise UserError(
                    f"{name}: not written: its enhanced frames differ by {levels} levels from this project's"
                )
            theirs.append(answer_K)
            same.append(model.answer(shown_MhwC, indices_DT))
            ours.append(model.answer(own_MhwC, indices_DT))
            running.append(predictor.predict(video).probabilities_K)
    change, whole, as_it_runs = (float(np.abs(np.subtract(theirs, other)).max()) for other in (same, ours, running))
    if not change <= MOST_CHANGE or (np.argmax(theirs, -1) != np.argmax(ours, -1)).any():
        raise UserError(
            f"{name}: not written: on synthetic clips its probabilities differ by {change:.1e} from this project's "
            f"(allowed: {MOST_CHANGE:.0e}, and the same labels)"
        )
    other, own = _seconds(
        lambda: exported(frames_MHWC, indices_DT), lambda: model.answer(model.show(frames_MHWC), indices_DT)
    )
    return [
        f"largest difference of a probability on {len(CLIPS)} synthetic clips to this project in float32: {change:.1e} "
        f"of the same enhanced frames, {whole:.1e} with its own; to predict.py as it runs here: {as_it_runs:.1e}",
        f"a clip of {CLIPS[-1][2]}x{CLIPS[-1][1]}, {len(frames_MHWC)} different frames: {other:.3f} s; this project in "
        f"float32 {own:.3f} s; ratio {other / own:.2f} ({torch.get_num_threads()} threads)",
    ]


def _write_clips(folder: Path) -> Iterator[Path]:
    """CLIPS as videos without loss."""
    for action, height, width, frames in CLIPS:
        settings = GeneratorSettings(
            preset=Demo(lit=False), classes=(action,), scenes=1, takes=1, height=height, width=width, seed=0
        )
        path = folder / f"{action}.avi"
        write_video(path, generate_clip(settings, action, 1, 1).dark_NHWC[:frames], fps=FPS, codec="FFV1")
        yield path


def _seconds(*ways: Callable[[], object]) -> list[float]:
    """Median of each, measured in turns."""
    found: list[list[float]] = [[] for _ in ways]
    for _ in range(ROUNDS):
        for way, times in zip(ways, found, strict=True):
            started = time.perf_counter()
            way()
            times.append(time.perf_counter() - started)
    return [statistics.median(times) for times in found]
