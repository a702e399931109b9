"""Clips a second of the recognizer's training on this processor, with and without `keep_memory`. Prints one table.

    python benchmarks/training_speed.py [ROUNDS]

The network and batch size of params.yaml, on random frames; each figure is of a process of its own, both ways in turn
(two minutes).
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from darkaction import config
from darkaction.training.fit import keep_memory, uses_bf16
from darkaction.training.optimizer import make_ranger
from darkaction.training.recipe import make_recognizer

WARM_UP, STEPS = 5, 40


def clips_per_second() -> float:
    """Of forward and backward pass and the optimiser's step."""
    params = config.load(overrides=["train.init_from=null"])
    torch.manual_seed(0)
    recognizer = make_recognizer(params, None).train()
    optimizer = make_ranger(recognizer.parameters(), lr=1e-3, weight_decay=0.0)
    batch = params.train.batch_size
    size = (batch, 3, params.sampling.num_frames, params.enhance.height, params.enhance.width)
    frames_BCTHW = torch.from_numpy(np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8))
    label_B = torch.arange(batch) % len(params.data.classes)
    bf16 = uses_bf16(params.train.precision, params.model.backbone)
    for step in range(WARM_UP + STEPS):
        if step == WARM_UP:
            started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits_BK = recognizer(frames_BCTHW)
        torch.nn.functional.cross_entropy(logits_BK.float(), label_B).backward()
        optimizer.step()
        optimizer.zero_grad()
    return STEPS * batch / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", nargs="?", type=int, default=5, help="of both (default 5)")
    parser.add_argument("--measure", choices=["kept", "returned"], help=argparse.SUPPRESS)  # in its own process
    arguments = parser.parse_args()
    if arguments.measure:
        if arguments.measure == "kept" and not keep_memory():
            sys.exit("keep_memory: not with this C library")
        print(clips_per_second())
        return
    rates: dict[str, list[float]] = {"returned": [], "kept": []}
    for _ in range(arguments.rounds):
        for how, found in rates.items():
            command = [sys.executable, __file__, "--measure", how]
            found.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    print("| free memory is | clips a second, median | lowest to highest |\n|---|---|---|")
    for how, found in rates.items():
        print(f"| {how} | {statistics.median(found):.1f} | {min(found):.1f} to {max(found):.1f} |")
    gains = [kept / returned for kept, returned in zip(rates["kept"], rates["returned"], strict=True)]
    print(f"\nkept / returned, pair by pair: {statistics.median(gains):.2f} ({min(gains):.2f} to {max(gains):.2f})")


if __name__ == "__main__":
    main()
