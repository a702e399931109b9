"""Zero-DCE in frames a second of one core, ours and the network as it is defined, with the weights in git.

    python benchmarks/zero_dce_speed.py

Ours enhances uint8 frames into uint8 frames, on synthetic dark clips. Beside it, in the same turns, stand what one
writes with torch: batches of one and eight, channels last, torch.compile, bfloat16 by autocast, and onnxruntime where
it is installed (with onnx). Each row compares with the fastest of them in float32, at curve_scale 1. The limit is the
machine's matrix product in the precision that ours has. Notes give the distance to curve_scale 1 in float32.
"""

import argparse
import io
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from measure import Rate, Row, in_turns, matmul_rate, table, use_threads

from darkaction.core.paths import ROOT, Paths
from darkaction.core.processor import computes_bf16
from darkaction.data.video import Frames
from darkaction.enhancement.zero_dce import ZeroDCE, enhance_frames, load_weights, prepare
from darkaction.synthetic.demo import DEMO
from darkaction.synthetic.generator import GeneratorSettings, generate_clip
from darkaction.training.weights import ENHANCER

WEIGHTS = ROOT / Paths.SHIPPED / ENHANCER
SIZES = ((240, 320), (480, 640))
SCALES = (1.0, 0.5, 0.25, 0.15)
FRAMES = 8
ROUNDS = 3

FLOP = 2 * 79_200
"""Of the network for every pixel: products and sums of seven convolutions."""

Way = Callable[[], int]


def dark_frames(height: int, width: int) -> Frames:
    """frames_NHWC of one clip."""
    settings = GeneratorSettings(preset=DEMO, classes=("walk",), scenes=1, takes=1, height=height, width=width, seed=0)
    return np.asarray(generate_clip(settings, "walk", 1, 1).dark_NHWC[:FRAMES])


def loop(network: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]], frames: Frames, *, batch: int) -> Way:
    """The plain loop over frames: to floats, through the network, to levels."""

    @torch.inference_mode()
    def way() -> int:
        for start in range(0, len(frames), batch):
            image = torch.from_numpy(frames[start : start + batch]).permute(0, 3, 1, 2).float() / 255
            (network(image)[0] * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()
        return len(frames)

    return way


class Plain(torch.nn.Module):
    """The network as one writes it first, and as its authors published it."""

    def __init__(self, network: ZeroDCE) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(getattr(network, f"e_conv{i}") for i in range(1, 8))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        relu, c = torch.relu, self.layers
        x1 = relu(c[0](image))
        x2 = relu(c[1](x1))
        x3 = relu(c[2](x2))
        x4 = relu(c[3](x3))
        x5 = relu(c[4](torch.cat([x3, x4], 1)))
        x6 = relu(c[5](torch.cat([x2, x5], 1)))
        maps = torch.tanh(c[6](torch.cat([x1, x6], 1)))
        for curve in maps.split(3, dim=1):
            image = image + curve * (image * image - image)
        return image, maps


def alternatives(frames: Frames) -> dict[str, Way]:
    """Ways in float32 by their names, all at curve_scale 1."""
    plain = Plain(load_weights(WEIGHTS, curve_scale=1.0)).eval()
    last = Plain(load_weights(WEIGHTS, curve_scale=1.0)).eval().to(memory_format=torch.channels_last)
    few = frames[:2]
    ways = {
        "batches of 1": loop(plain, few, batch=1),
        "channels last": loop(last, few, batch=1),
        "torch.compile": loop(torch.compile(last), few, batch=1),
    }
    if frames[0].size < 2**19:  # eight larger ones would take this benchmark's whole time
        ways["batches of 8"] = loop(plain, frames, batch=8)
    if find_spec("onnxruntime") and find_spec("onnx"):
        ways["onnxruntime"] = loop(onnx_network(plain, few), few, batch=1)
    return ways


def onnx_network(plain: Plain, frames: Frames) -> Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """The network in onnxruntime, with one thread."""
    import onnxruntime

    file = io.BytesIO()
    example = torch.zeros(1, 3, *frames.shape[1:3])
    torch.onnx.export(plain, (example,), file, input_names=["image"], dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])

    def run(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        enhanced, maps = session.run(None, {"image": image.contiguous().numpy()})
        return torch.from_numpy(enhanced), torch.from_numpy(maps)

    return run


def autocast(frames: Frames) -> Way:
    plain = Plain(load_weights(WEIGHTS, curve_scale=1.0)).eval().to(memory_format=torch.channels_last)
    way = loop(plain, frames, batch=1)

    def halved() -> int:
        with torch.autocast("cpu", torch.bfloat16):
            return way()

    return halved


def distance(found: Frames, expected: Frames) -> str:
    """Peak signal-to-noise ratio and mean difference of uint8 frames."""
    difference = found.astype(float) - expected
    return f"PSNR {10 * np.log10(255**2 / np.mean(difference**2)):.1f} dB, mean {np.abs(difference).mean():.2f} levels"


def rows_of(height: int, width: int, limit: float) -> list[Row]:
    """One row for each curve_scale, against the fastest in float32, and one against autocast."""
    frames = dark_frames(height, width)
    fp32 = load_weights(WEIGHTS, curve_scale=1.0).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    exact = enhance_frames(fp32, frames)
    networks = {scale: prepare(load_weights(WEIGHTS, curve_scale=scale), "cpu") for scale in SCALES}

    def ours(scale: float) -> Way:
        some = frames if scale < 1 else frames[:2]
        return lambda: len(enhance_frames(networks[scale], some))

    ways = {str(scale): ours(scale) for scale in SCALES} | alternatives(frames)
    bf16 = computes_bf16("cpu")
    if bf16:
        ways["autocast"] = autocast(frames[:2])
    rates = in_turns(ways, threads=1, rounds=ROUNDS)
    others = {name: rate for name, rate in rates.items() if name not in {"autocast", *map(str, SCALES)}}
    best = max(others, key=lambda name: others[name].median)
    found = []
    for scale, network in networks.items():
        achieved = rates[str(scale)].median * FLOP * np.prod(network.small_size(height, width)) / limit
        note = distance(enhance_frames(network, frames), exact)
        what = f"Zero-DCE {width}x{height}, curve_scale {scale:g}, 1 thread"
        found.append(row(what, rates[str(scale)], f"plain fp32: {best}", others[best], float(achieved), note))
    if bf16:
        note = "all fp32: " + ", ".join(f"{name} {rate.median:.2g}" for name, rate in others.items())
        what = f"the same, curve_scale 1, {width}x{height}"
        found.append(row(what, rates["1.0"], "plain, channels last, autocast to bf16", rates["autocast"], None, note))
    return found


def row(what: str, ours: Rate, alternative: str, theirs: Rate, limit: float | None, note: str) -> Row:
    return Row(what=what, unit="frames/s", ours=ours, alternative=alternative, theirs=theirs, limit=limit, note=note)


def rows() -> list[Row]:
    """The comparisons of this page, for the table of all benchmarks."""
    use_threads(1)
    limit = matmul_rate(torch.bfloat16 if computes_bf16("cpu") else torch.float32, threads=1)
    return [row for size in SIZES for row in rows_of(*size, limit)]


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(table(rows()))
    if not find_spec("onnxruntime") or not find_spec("onnx"):
        print("\nnot measured: onnxruntime, which is not installed (with onnx)")


if __name__ == "__main__":
    main()
