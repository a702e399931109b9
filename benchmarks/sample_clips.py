"""Synthetic videos for the benchmarks."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from darkaction.data.video import write_video
from darkaction.synthetic.demo import DEMO
from darkaction.synthetic.generator import FPS, GeneratorSettings, generate_clip
from darkaction.synthetic.human.motion import ACTIONS

FRAMES = 141
"""Of each video: 4.7 s at 30 a second, the mean of ARID's clips. The action begins anew where it has ended."""


@contextmanager
def sample_clips(scenes: int = 1) -> Iterator[list[Path]]:
    """Dark videos of 320x240 pixels, one of each of the eleven actions and scene, in a folder that is removed at the
    end."""
    settings = GeneratorSettings(preset=DEMO, classes=ACTIONS, scenes=scenes, takes=1, height=240, width=320, seed=0)
    with TemporaryDirectory() as folder:
        made = []
        for scene in range(1, scenes + 1):
            for action in ACTIONS:
                made.append(Path(folder) / f"{action.capitalize()}_{scene}_1.mp4")
                frames_NHWC = generate_clip(settings, action, scene, 1).dark_NHWC
                whole_NHWC = frames_NHWC[np.arange(FRAMES) % len(frames_NHWC)]
                write_video(made[-1], whole_NHWC, fps=FPS, codec="mp4v")
        yield made
