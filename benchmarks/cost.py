"""What the paper's settings cost on full ARID and HMDB-51: hours, memory and storage by arithmetic, on 1, 8 and 64 GPUs.

    python benchmarks/cost.py [--input-rate CLIPS]

Counts the operations of the networks of profiles/paper.yaml and multiplies. Nothing is trained. The assumptions are
printed with the table.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from darkaction.enhancement.zero_dce import ZeroDCE
from darkaction.models.build import build_recognizer
from darkaction.params import Params

PAPER = Params.load(profile="paper")
GPUS = (1, 8, 64)
PEAK = 989e12
"""Operations a second of an H100 in bf16, without sparsity (its data sheet)."""

SHARE = 0.4
"""Of the peak that convolutions reach: assumed."""

DISK = 2e9
"""Bytes a second from one NVMe disk: assumed."""

ARID, ARID_TRAINING, HMDB = 3784, 1470, 6766
"""Clips: all of ARID, the paper's training clips of its six classes, HMDB-51."""

FRAMES, HEIGHT, WIDTH = 141, 240, 320
"""Of a clip of ARID: 4.7 s at 30 a second."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage at the paper's settings."""

    name: str
    flop: float
    read: float  # bytes
    written: float  # bytes


def flop_of(network: nn.Module, shape: tuple[int, ...]) -> float:
    """Floating-point operations of one pass forward."""
    with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network.to("meta").eval()(torch.empty(shape))
    return float(counter.get_total_flops())


def clip_flop() -> float:
    """Of the recognizer, forward, one clip."""
    s, e = PAPER.sampling, PAPER.enhance
    network = build_recognizer(
        PAPER.model, PAPER.bert, num_frames=s.num_frames, height=e.height, frame_width=e.width, num_classes=6
    )
    return flop_of(network, (1, 3, s.num_frames, e.height, e.width))


def frame_flop(height: int, width: int) -> float:
    """Of Zero-DCE, forward, one image."""
    return flop_of(ZeroDCE(curve_scale=1.0), (1, 3, height, width))


def stages(clip: float) -> list[Stage]:
    """Forward and backward are counted as three times forward."""
    stored = FRAMES * PAPER.enhance.height * PAPER.enhance.width * 3
    shown = PAPER.sampling.num_frames * PAPER.enhance.height * PAPER.enhance.width * 3
    z, clips = PAPER.zero_dce, ARID + HMDB
    image = frame_flop(z.image_size, z.image_size)
    tests = 367 * PAPER.sampling.test_draws
    return [
        Stage(
            name=f"train_enhancer: {z.epochs} epochs of {z.images + z.max_extra_images} images",
            flop=3 * image * (z.images + z.max_extra_images) * z.epochs,
            read=0,
            written=0,
        ),
        Stage(
            name=f"enhance: {ARID} clips of ARID, at {WIDTH}x{HEIGHT}; {HMDB} of HMDB-51 only resized",
            flop=frame_flop(HEIGHT, WIDTH) * FRAMES * ARID,
            read=clips * FRAMES * 4e3,  # about 4 kB a frame of compressed video
            written=clips * stored,
        ),
        Stage(
            name=f"train: {PAPER.train.epochs} epochs of {ARID_TRAINING} clips",
            flop=3 * clip * ARID_TRAINING * PAPER.train.epochs,
            read=ARID_TRAINING * PAPER.train.epochs * shown,
            written=0,
        ),
        Stage(name=f"evaluate: 367 clips, {PAPER.sampling.test_draws} draws", flop=clip * tests, read=tests * shown, written=0),
        Stage(
            name="for comparison: train, 10 million clips, one epoch",
            flop=3 * clip * 10e6,
            read=10e6 * shown,
            written=10e6 * stored,
        ),
    ]


def hours(seconds: float) -> str:
    """As a person reads it."""
    return f"{seconds / 3600:.1f} h" if seconds > 3600 else f"{seconds / 60:.1f} min"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input-rate", type=float, default=350.0, help="clips/s of a loader process (input_speed)")
    rate = parser.parse_args().input_rate
    clip, speed = clip_flop(), PEAK * SHARE
    print("| Stage | PFLOP | GPU-hours | " + " | ".join(f"{n} GPU{'s' * (n > 1)}" for n in GPUS) + " | Read | Written |")
    print("|---|---|---|" + "---|" * len(GPUS) + "---|---|")
    for stage in stages(clip):
        seconds = stage.flop / speed
        times = " | ".join(hours(seconds / number) for number in GPUS)
        print(
            f"| {stage.name} | {stage.flop / 1e15:.3g} | {seconds / 3600:.2g} | {times} | "
            f"{stage.read / 1e9:.3g} GB | {stage.written / 1e9:.3g} GB |"
        )
    training = speed / (3 * clip)
    shown = PAPER.sampling.num_frames * PAPER.enhance.height * PAPER.enhance.width * 3
    print(f"\nAssumed: H100 at {SHARE:.0%} of {PEAK / 1e12:.0f} TFLOP/s (bf16), perfect scaling, {DISK / 1e9:.0f} GB/s a disk.")
    print(f"One clip: {clip / 1e9:.0f} GFLOP forward, {3 * clip / 1e12:.2g} TFLOP a training step.")
    print(f"One GPU then trains on {training:.0f} clips/s and reads {training * shown / 1e9:.2f} GB/s of stored frames.")
    print(f"It needs {training / rate:.1f} loader processes of {rate:.0f} clips/s each.")
    print(f"A disk of {DISK / 1e9:.0f} GB/s feeds {DISK / (training * shown):.1f} GPUs once the clips exceed the memory.")


if __name__ == "__main__":
    main()
