"""Clips a second of a training step and of evaluation, ours and plain PyTorch with the same weights and optimizer.

    python benchmarks/step_speed.py

Plain: the network as torchvision writes it, 3-D convolutions in torch's own order of dimensions, without further
settings; in float32, and in bfloat16 through autocast where the processor has it. Ours is what the project does for the
same precision. Networks: the demo's at 16 frames of 48x48, and R(2+1)D-34 with BERT at 16 frames of 112x112; the time
of the latter grows in proportion to the frames, 64 in the paper.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from measure import Row, clock_of, cores, in_turns, matmul_rate, no_arguments, table

from darkaction.core.processes import keep_freed_memory
from darkaction.models.backbones.r2plus1d import TemporalConv
from darkaction.models.build import build_recognizer
from darkaction.models.precision import uses_bf16
from darkaction.models.recognizer import Recognizer, channels_last
from darkaction.params import Params
from darkaction.training.focal import FocalLoss
from darkaction.training.module import make_ranger

FRAMES = 16
CLASSES = 6


def network(params: Params, *, size: int, plain: bool) -> Recognizer:
    """With the same weights each time."""
    torch.manual_seed(0)
    made = build_recognizer(
        params.model, params.bert, num_frames=FRAMES, height=size, frame_width=size, num_classes=CLASSES
    )
    if not plain:
        channels_last(made)
        return made
    for module in made.modules():
        if isinstance(module, TemporalConv):
            module.__class__ = nn.Conv3d
    return made


def training(recognizer: Recognizer, clip_BCTHW: torch.Tensor, *, bf16: bool) -> Callable[[], int]:
    """One step of the optimizer."""
    recognizer.train()
    optimizer = make_ranger(recognizer.parameters(), lr=1e-3, weight_decay=1e-4)
    focal = FocalLoss(gamma=2.0, alpha_K=None)
    label_B = torch.arange(len(clip_BCTHW)) % CLASSES

    def step() -> int:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits_BK = recognizer(clip_BCTHW)
        focal(logits_BK.float(), label_B).backward()
        torch.nn.utils.clip_grad_norm_(recognizer.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return len(clip_BCTHW)

    return step


def evaluation(recognizer: Recognizer, clip_BCTHW: torch.Tensor, *, bf16: bool) -> Callable[[], int]:
    """One batch."""
    recognizer.eval()

    def evaluate() -> int:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            recognizer(clip_BCTHW)
        return len(clip_BCTHW)

    return evaluate


Way = Callable[..., Callable[[], int]]


def rows_of(name: str, params: Params, way: Way, *, size: int, batch: int, threads: int, rounds: int) -> list[Row]:
    """Ours in each precision against plain PyTorch in it, and the one that is chosen against plain float32."""
    clip_BCTHW = torch.randint(0, 256, (batch, 3, FRAMES, size, size), dtype=torch.uint8)
    chosen = uses_bf16("auto", params.model.backbone)
    precisions = [False, True] if chosen else [False]
    ways = {
        f"{kind} {'bf16' if bf16 else 'fp32'}": way(
            network(params, size=size, plain=kind == "plain"), clip_BCTHW, bf16=bf16
        )
        for bf16 in precisions
        for kind in ("ours", "plain")
    }
    with FlopCounterMode(display=False) as counter:
        way(network(params, size=size, plain=True), clip_BCTHW, bf16=False)()
    flop = counter.get_total_flops() / batch
    rates = in_turns(ways, threads=threads, rounds=rounds, clock=clock_of(threads))
    rows = []
    for ours, plain in [("fp32", "fp32"), *([("bf16", "bf16"), ("bf16", "fp32")] if chosen else [])]:
        peak = matmul_rate(torch.bfloat16 if ours == "bf16" else torch.float32, threads=threads)
        rows.append(
            Row(
                what=f"{name}, {flop / 1e9:.3g} GFLOP a clip, {ours}, {threads} thread{'s' * (threads > 1)}",
                unit="clips/s",
                ours=rates[f"ours {ours}"],
                alternative=f"plain PyTorch, {plain}",
                theirs=rates[f"plain {plain}"],
                limit=rates[f"ours {ours}"].median * flop / peak,
            )
        )
    return rows


def rows() -> list[Row]:
    """The demo's network with one thread and with all, and the paper's."""
    keep_freed_memory()
    demo, paper = Params.load(), Params.load(profile="paper")
    found = []
    for threads in dict.fromkeys((1, cores())):
        found += rows_of("demo, training", demo, training, size=48, batch=8, threads=threads, rounds=7)
        found += rows_of("demo, evaluation", demo, evaluation, size=48, batch=32, threads=threads, rounds=5)
    found += rows_of("R(2+1)D-34, training", paper, training, size=112, batch=1, threads=cores(), rounds=2)
    return found + rows_of("R(2+1)D-34, evaluation", paper, evaluation, size=112, batch=1, threads=cores(), rounds=2)


def main() -> None:
    no_arguments(__doc__)
    print(table(rows()))
    print("\nThe limit: a product of two matrices of 2048x2048 in the same precision and with the same threads.")


if __name__ == "__main__":
    main()
