"""Clips a second of prediction, ours and a plain loop with the same weights, on synthetic videos of 320x240 pixels.

    python benchmarks/predict_speed.py [SCENES]

The plain loop is what one writes first: decode all frames, enhance them in batches of 8 with the network as it is
defined, resize, and classify one sampling draw after the other in float32. Each is measured in turns with one thread
(processor time: clips a second and core) and with all cores (clock). Prints one table, which also compares answers.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from measure import Rate, Row, cores, table, use_threads

from darkaction.core.paths import ROOT, Paths
from darkaction.data.video import read_video, write_video
from darkaction.enhancement.training_images import resize
from darkaction.enhancement.zero_dce import load_weights
from darkaction.serving.answers import Prediction
from darkaction.serving.predictor import SEED, Predictor
from darkaction.synthetic.demo import DEMO
from darkaction.synthetic.generator import FPS, GeneratorSettings, generate_clip
from darkaction.synthetic.human.motion import ACTIONS
from darkaction.training import weights
from darkaction.training.loader import to_CTHW
from darkaction.training.sampling import BLANK, generator

MODEL = ROOT / Paths.SHIPPED
ROUNDS = 3


@contextmanager
def videos(scenes: int) -> Iterator[list[Path]]:
    """One clip of each action and scene."""
    settings = GeneratorSettings(preset=DEMO, classes=ACTIONS, scenes=scenes, takes=1, height=240, width=320, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        made = []
        for scene in range(1, scenes + 1):
            for action in ACTIONS:
                made.append(Path(folder) / f"{action}_{scene}.mp4")
                frames_NHWC = generate_clip(settings, action, scene, 1).dark_NHWC
                write_video(made[-1], frames_NHWC, fps=FPS, codec="mp4v")
        yield made


def plain_loop() -> Callable[[list[Path]], list[str]]:
    """A function that names the action of each video the plain way."""
    network, card = weights.load(MODEL / "fold_0" / weights.WEIGHTS)
    zero_dce = load_weights(MODEL / weights.ENHANCER, curve_scale=card.enhance.curve_scale)
    network.eval()

    @torch.inference_mode()
    def name(video: Path) -> str:
        frames_NHWC = read_video(video)
        images = torch.from_numpy(frames_NHWC).permute(0, 3, 1, 2).float() / 255
        enhanced = torch.cat([zero_dce(images[start : start + 8])[0] for start in range(0, len(images), 8)])
        levels_NHWC = (enhanced * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()
        size = card.enhance.height, card.enhance.width
        small_NHWC = np.stack([resize(frame, *size) for frame in levels_NHWC])
        total = torch.zeros(len(card.classes))
        for draw in range(card.sampling.test_draws):
            rng = generator(seed=SEED, epoch=0, clip_id="", draw=draw)
            indices_T = card.sampler().draw_test(len(small_NHWC), rng, draw, card.sampling.test_draws)
            shown_THWC = np.where((indices_T == BLANK)[:, None, None, None], 0, small_NHWC[indices_T])
            total += network(to_CTHW(shown_THWC.astype(np.uint8))[None])[0].softmax(-1)
        return card.classes[int(total.argmax())]

    return lambda paths: [name(path) for path in paths]


def measured(scenes: int) -> list[Row]:
    """Ours and the plain loop in turns: with one thread by processor time, with all by the clock."""
    predictor = Predictor.load(MODEL)
    ways: dict[str, Callable[[list[Path]], list[str]]] = {
        "ours": lambda paths: [a.label for a in predictor.predict_each(paths) if isinstance(a, Prediction)],
        "plain": plain_loop(),
    }
    kinds = {"one core (processor time)": (1, time.process_time), f"{cores()} cores": (cores(), time.monotonic)}
    rates: dict[tuple[str, str], list[float]] = {(way, kind): [] for way in ways for kind in kinds}
    answers = {}
    with videos(scenes) as paths:
        for _ in range(ROUNDS):
            for kind, (threads, clock) in kinds.items():
                use_threads(threads)
                for way, names in ways.items():
                    started = clock()
                    answers[way] = names(paths)
                    rates[way, kind].append(len(paths) / (clock() - started))
    same = np.mean([a == b for a, b in zip(answers["ours"], answers["plain"], strict=True)])
    found = {key: Rate(median=statistics.median(r), low=min(r), high=max(r)) for key, r in rates.items()}
    return [
        Row(
            what=f"predict, {len(answers['ours'])} videos of 320x240, {kind}",
            unit="clips/s",
            ours=found["ours", kind],
            alternative="decode, enhance, classify in a plain loop, fp32",
            theirs=found["plain", kind],
            note=f"same answer for {same:.0%}",
        )
        for kind in kinds
    ]


def rows() -> list[Row]:
    """The comparisons of this page, for the table of all benchmarks."""
    return measured(scenes=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", nargs="?", type=int, default=2, help="of all eleven actions (default 2)")
    print(table(measured(parser.parse_args().scenes)))


if __name__ == "__main__":
    main()
