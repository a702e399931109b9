"""Room or person? How much of a model's reasons lies on the person who acts, on synthetic clips that it never saw.

    python benchmarks/heat_on_person.py                         the weights in git
    python benchmarks/heat_on_person.py models/recognizer       another model

The generator draws each clip with and without its people; where the two differ is the person with his shadow and what
he holds. Heat is Grad-CAM's (src/darkaction/models/explanation.py) for the predicted class, of clips shown whole. Even
heat would lie on the person as often as he fills the frame.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from darkaction.core.paths import ROOT, Paths
from darkaction.models.explanation import share_inside
from darkaction.params import Params
from darkaction.serving.explain import explanation_of, look
from darkaction.serving.predictor import Predictor
from darkaction.synthetic.domain_randomization import Pretraining
from darkaction.synthetic.generator import GeneratorSettings, film_clip, render_clip, sample_clip_state
from darkaction.synthetic.human.motion import Action

SEED = 9001
"""Of clips that no training saw: theirs is params.yaml's, and 1000 more for each further member."""

COVERED = 0.3
"""Share of a pixel of the network's frames from which on it belongs to the person."""


def shares(predictor: Predictor, settings: GeneratorSettings, action: Action, scene: int) -> tuple[float, float]:
    """Of one clip: the heat on the person, and the person's share of the frames."""
    state = sample_clip_state(settings, action, scene, 1)
    numbers = range(len(state.joints_NJ3))
    with_NHWC, without_NHWC = (render_clip(settings, scene, state, numbers, person=seen) for seen in (True, False))
    dark_NHWC = film_clip(settings, action, scene, 1, with_NHWC)
    seen = look(predictor, iter(dark_NHWC), len(dark_NHWC))
    height, width = seen.small_THWC.shape[1:3]
    person_NHW = (with_NHWC != without_NHWC).any(-1).astype(np.float32)
    mask_THW = np.stack(
        [cv2.resize(person_NHW[number], (width, height), interpolation=cv2.INTER_AREA) for number in seen.numbers_T]
    )
    clip_1CTHW = torch.from_numpy(seen.small_THWC.transpose(3, 0, 1, 2).copy())[None]
    with torch.inference_mode():
        each = [net(clip_1CTHW.to(place)).softmax(-1)[0].cpu() for net, place in predictor.networks_alike()]
    answer = int(torch.stack(each).mean(0).argmax())
    return share_inside(explanation_of(predictor, seen, answer).heat_THW, mask_THW >= COVERED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, default=ROOT / Paths.SHIPPED, help="folder with fold_0/")
    parser.add_argument("--scenes", type=int, default=10, help="of each action (default: 10)")
    arguments = parser.parse_args()
    params = Params.load()
    predictor = Predictor.load(arguments.model)
    settings = GeneratorSettings(
        preset=Pretraining(ranges=params.pretrain.domain_randomization),
        classes=tuple(predictor.card.classes),  # type: ignore[arg-type]  # the generator checks them
        scenes=arguments.scenes,
        takes=1,
        height=params.pretrain.height,
        width=params.pretrain.width,
        seed=SEED,
    )
    print("| Action | Heat on the person | The person fills | Times even heat |\n|---|---|---|---|")
    found = {
        action: np.array([shares(predictor, settings, action, scene) for scene in range(1, arguments.scenes + 1)])
        for action in settings.classes
    }
    for name, pairs in {**found, "all": np.concatenate(list(found.values()))}.items():
        heat, area = pairs.mean(0)
        print(f"| {name} | {heat:.0%} | {area:.0%} | {heat / area:.1f} |")


if __name__ == "__main__":
    main()
