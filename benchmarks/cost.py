"""What the paper's settings cost on full ARID and HMDB-51 by arithmetic: time, memory, storage on 1, 8 and 64 GPUs.

    python benchmarks/cost.py [--input-rate N] [--decode-rate N]

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

SHARE, ZERO_DCE_SHARE = 0.4, 0.1
"""Of the peak that the recognizer and Zero-DCE, with its 32 channels, reach: assumed, not measured."""

DISK = 2e9
"""Bytes a second from one NVMe disk: assumed."""

CORES = 16
"""Processor cores of each GPU, which decode: assumed."""

OPTIMIZER_BYTES = 4 * (1 + 1 + 3)
"""Of each parameter: fp32 weight, gradient, and Ranger's two means and slow weight."""

ARID, ARID_TRAINING, HMDB = 3784, 1470, 6766
"""Clips: all of ARID, the paper's training clips of its six classes, HMDB-51."""

FRAMES, HEIGHT, WIDTH = 141, 240, 320
"""Of a clip of ARID: 4.7 s at 30 a second."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage at the paper's settings."""

    name: str
    flop: float
    share: float  # of PEAK
    decoded: int  # clips that are decoded from video
    read: float  # bytes
    written: float  # bytes


def flop_of(network: nn.Module, shape: tuple[int, ...]) -> float:
    """Floating-point operations of one pass forward."""
    with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network.to("meta").eval()(torch.empty(shape))
    return float(counter.get_total_flops())


CLIP = (1, 3, PAPER.sampling.num_frames, PAPER.enhance.height, PAPER.enhance.width)


def recognizer() -> nn.Module:
    """The paper's, without weights."""
    with torch.device("meta"):
        return build_recognizer(
            PAPER.model, PAPER.bert, num_frames=CLIP[2], height=CLIP[3], frame_width=CLIP[4], num_classes=6
        )


def kept_bytes(network: nn.Module, shape: tuple[int, ...]) -> float:
    """Memory of what a training step in bf16 keeps for the way back, without the parameters."""
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    network.to("meta", torch.bfloat16).train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(torch.empty(shape, device="meta", dtype=torch.bfloat16))
    parameters = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    return float(sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in parameters))


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
            share=ZERO_DCE_SHARE,
            decoded=0,
            read=0,
            written=0,
        ),
        Stage(
            name=f"enhance: {ARID} clips of ARID, at {WIDTH}x{HEIGHT}; {HMDB} of HMDB-51 only resized",
            flop=frame_flop(HEIGHT, WIDTH) * FRAMES * ARID,
            share=ZERO_DCE_SHARE,
            decoded=clips,
            read=clips * FRAMES * 4e3,  # about 4 kB a frame of compressed video
            written=clips * stored,
        ),
        Stage(
            name=f"train: {PAPER.train.epochs} epochs of {ARID_TRAINING} clips",
            flop=3 * clip * ARID_TRAINING * PAPER.train.epochs,
            share=SHARE,
            decoded=0,
            read=ARID_TRAINING * PAPER.train.epochs * shown,
            written=0,
        ),
        Stage(
            name=f"evaluate: 367 clips, {PAPER.sampling.test_draws} draws",
            flop=clip * tests,
            share=SHARE,
            decoded=0,
            read=tests * shown,
            written=0,
        ),
        Stage(
            name="enhance: 10 million clips like ARID's",
            flop=frame_flop(HEIGHT, WIDTH) * FRAMES * 10e6,
            share=ZERO_DCE_SHARE,
            decoded=10**7,
            read=10e6 * FRAMES * 4e3,
            written=10e6 * stored,
        ),
        Stage(
            name="train: 10 million clips, one epoch",
            flop=3 * clip * 10e6,
            share=SHARE,
            decoded=0,
            read=10e6 * shown,
            written=0,
        ),
    ]


def hours(seconds: float) -> str:
    """As a person reads it."""
    return f"{seconds / 3600:.1f} h" if seconds > 3600 else f"{seconds / 60:.1f} min"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input-rate", type=float, default=350.0, help="clips/s of a loader process: input_speed")
    parser.add_argument("--decode-rate", type=float, default=75.0, help="clips/s a core decodes: store_speed")
    arguments = parser.parse_args()
    network = recognizer()
    parameters = sum(parameter.numel() for parameter in network.parameters())
    clip = flop_of(network, CLIP)
    kept = kept_bytes(recognizer(), (2, *CLIP[1:])) / 2
    print(
        "| Stage | PFLOP | GPU-hours | " + " | ".join(f"{n} GPU{'s' * (n > 1)}" for n in GPUS) + " | Read | Written |"
    )
    print("|---|---|---|" + "---|" * len(GPUS) + "---|---|")
    for stage in stages(clip):
        # Decoding and enhancement run side by side, so the slower one counts.
        decoding = stage.decoded / (arguments.decode_rate * CORES)
        seconds = max(stage.flop / (PEAK * stage.share), decoding)
        times = " | ".join(hours(seconds / number) for number in GPUS)
        print(
            f"| {stage.name} | {stage.flop / 1e15:.3g} | {seconds / 3600:.2g} | {times} | "
            f"{stage.read / 1e9:,.0f} GB | {stage.written / 1e9:,.0f} GB |"
        )
    training = PEAK * SHARE / (3 * clip)
    fed = training * float(torch.Size(CLIP).numel())
    print(
        f"\nAssumed: H100s at {SHARE:.0%} of {PEAK / 1e12:.0f} TFLOP/s (bf16) for the recognizer and "
        f"{ZERO_DCE_SHARE:.0%} for Zero-DCE, {CORES} cores each\n"
        f"that decode {arguments.decode_rate:g} clips/s, perfect scaling, {DISK / 1e9:g} GB/s a disk."
    )
    print(f"One clip is {clip / 1e9:.0f} GFLOP forward, {3 * clip / 1e12:.2g} TFLOP in training.")
    print(
        f"Memory of a training: {parameters * OPTIMIZER_BYTES / 1e9:.1f} GB for weights and optimizer, "
        f"{kept / 1e9:.1f} GB for each clip of a batch in bf16."
    )
    print(
        f"A GPU trains on {training:.0f} clips/s, which are {fed / 1e9:.2f} GB/s of frames and "
        f"{training / arguments.input_rate:.1f} loader processes of {arguments.input_rate:g} clips/s."
    )
    print(f"When the clips exceed the memory, a disk feeds {DISK / fed:.1f} GPUs.")


if __name__ == "__main__":
    main()
