"""Frames a second and core of synthetic clips, stage by stage: the presets demo and pretraining.

    python benchmarks/generator_speed.py [SCENES]

Times are of the processor, not of the clock, in one process and one thread, without encoding a video. The first clip of
a scene pays for the scene. Prints one table.
"""

import argparse
import itertools
import sys
import time
from pathlib import Path

import cv2

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from darkaction.params import Params
from darkaction.synthetic.demo import DEMO
from darkaction.synthetic.domain_randomization import Pretraining
from darkaction.synthetic.generator import (
    GeneratorSettings,
    film_clip,
    generate_clip,
    render_clip,
    sample_clip_state,
    sample_scene,
)
from darkaction.synthetic.human.motion import ACTIONS, Action
from darkaction.synthetic.scene import Preset

STAGES = ("scene", "state", "render", "film", "all")


def generate_in_stages(settings: GeneratorSettings, action: Action, scene: int) -> tuple[int, list[float]]:
    """Frames of one clip, and the seconds of each stage."""
    marks = [time.process_time()]
    sample_scene(settings, scene)
    marks.append(time.process_time())
    state = sample_clip_state(settings, action, scene, 1)
    marks.append(time.process_time())
    clean_NHWC = render_clip(settings, scene, state, range(len(state.joints_NJ3)), person=True)
    marks.append(time.process_time())
    film_clip(settings, action, scene, 1, clean_NHWC)
    marks.append(time.process_time())
    return len(clean_NHWC), [after - before for before, after in itertools.pairwise(marks)]


def measure(preset: Preset, scenes: int) -> dict[str, float]:
    """Frames a second of every stage and of all."""
    settings = GeneratorSettings(
        preset=preset, classes=ACTIONS, scenes=scenes + 1, takes=1, height=120, width=160, seed=0
    )
    generate_clip(settings, ACTIONS[0], scenes + 1, 1)  # what is done once, is done
    frames, seconds = 0, [0.0] * (len(STAGES) - 1)
    for scene in range(1, scenes + 1):
        for action in ACTIONS:
            count, times = generate_in_stages(settings, action, scene)
            frames += count
            seconds = [a + b for a, b in zip(seconds, times, strict=True)]
    return dict(zip(STAGES, [frames / max(spent, 1e-9) for spent in [*seconds, sum(seconds)]], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", nargs="?", type=int, default=6, help="of all actions (default 6)")
    scenes = parser.parse_args().scenes
    cv2.setNumThreads(1)
    presets: list[Preset] = [DEMO, Pretraining(ranges=Params.load().pretrain.domain_randomization)]
    print(f"160x120, {scenes} scenes x {len(ACTIONS)} actions; frames a second and core")
    print(f"{'':12s}" + "".join(f"{stage:>9s}" for stage in STAGES))
    for preset in presets:
        rates = measure(preset, scenes)
        print(f"{preset.name:12s}" + "".join(f"{rates[stage]:9.0f}" for stage in STAGES))


if __name__ == "__main__":
    main()
