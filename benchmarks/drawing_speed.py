"""Frames a second and core of the drawn clips, stage by stage: the demo's rooms against varied scenes.

    python benchmarks/drawing_speed.py [SCENES]

Times are of the processor, not of the clock, in one process and one thread, without encoding a video. The first clip of
a scene pays for the scene. Prints one table.
"""

import argparse
import sys
import time
from pathlib import Path

import cv2

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import itertools

from darkaction.params import Params
from darkaction.synthetic import scene_sampler
from darkaction.synthetic.generate import DemoSettings, draw_clip, paint_clip, stage_clip
from darkaction.synthetic.human.motion import ACTIONS, Action
from darkaction.synthetic.settings import DomainRandomization
from darkaction.synthetic.world import rooms

STAGES = ("scene", "stage", "paint", "film", "all")


def settings(variation: DomainRandomization | None, scenes: int) -> DemoSettings:
    return DemoSettings(
        classes=ACTIONS, scenes=scenes, takes=1, height=120, width=160, fps=30, lit=False, seed=0, codec="mp4v",
        variation=variation, backgrounds=(),
    )  # fmt: skip


def draw_in_stages(what: DemoSettings, action: Action, scene: int) -> tuple[int, list[float]]:
    """Frames of one clip, and the seconds of each stage."""
    marks = [time.process_time()]
    if what.variation is not None:
        scene_sampler.make_varied_scene(what, what.variation, scene)
    else:
        rooms.make_scene(what, scene)
    marks.append(time.process_time())
    staged = stage_clip(what, action, scene, 1)
    marks.append(time.process_time())
    clean_NHWC = paint_clip(what, scene, staged, range(len(staged.joints_NJ3)), person=True)
    marks.append(time.process_time())
    if what.variation is not None:
        scene_sampler.film_varied(what, what.variation, action, scene, 1, clean_NHWC)
    else:
        rooms.expose_demo(what, action, scene, 1, clean_NHWC)
    marks.append(time.process_time())
    return len(clean_NHWC), [after - before for before, after in itertools.pairwise(marks)]


def measure(variation: DomainRandomization | None, scenes: int) -> dict[str, float]:
    """Frames a second of every stage and of all."""
    what = settings(variation, scenes + 1)
    draw_clip(what, ACTIONS[0], scenes + 1, 1)  # what is done once, is done
    frames, seconds = 0, [0.0] * (len(STAGES) - 1)
    for scene in range(1, scenes + 1):
        for action in ACTIONS:
            count, times = draw_in_stages(what, action, scene)
            frames += count
            seconds = [a + b for a, b in zip(seconds, times, strict=True)]
    return dict(zip(STAGES, [frames / max(spent, 1e-9) for spent in [*seconds, sum(seconds)]], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", nargs="?", type=int, default=6, help="of all actions (default 6)")
    scenes = parser.parse_args().scenes
    cv2.setNumThreads(1)
    results = {"demo": measure(None, scenes), "varied": measure(Params.load().pretrain.domain_randomization, scenes)}
    print(f"160x120, {scenes} scenes x {len(ACTIONS)} actions; frames a second and core")
    print(f"{'':8s}" + "".join(f"{stage:>9s}" for stage in STAGES))
    for name, rates in results.items():
        print(f"{name:8s}" + "".join(f"{rates[stage]:9.0f}" for stage in STAGES))


if __name__ == "__main__":
    main()
