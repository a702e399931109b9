"""Clips a second and core from videos of 320x240 to the clip store: decoding, Zero-DCE, resizing, writing.

    python benchmarks/store_speed.py

The alternative is a loop of stock tools: OpenCV or PyAV, the network in float32 on batches of eight frames, OpenCV,
np.save.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from measure import Rate, Row, clock_of, in_turns, no_arguments, table
from sample_clips import FRAMES, sample_clips

from darkaction.core.paths import ROOT, Paths
from darkaction.data.shards import write_shard
from darkaction.data.video import iter_frames
from darkaction.enhancement.apply import enhance_clip
from darkaction.enhancement.zero_dce import enhance_frames, load_weights, prepare
from darkaction.training import weights

SIZE = (112, 112)
WEIGHTS = ROOT / Paths.SHIPPED / weights.ENHANCER
CURVE_SCALE = 0.15  # as in params.yaml

Frame = NDArray[np.uint8]
Decoder = Callable[[Path], Iterable[Frame]]


def opencv(video: Path) -> Iterator[Frame]:
    """All frames, RGB."""
    capture = cv2.VideoCapture(str(video))
    while True:
        there, frame_HWC = capture.read()
        if not there:
            return
        yield np.asarray(cv2.cvtColor(frame_HWC, cv2.COLOR_BGR2RGB), np.uint8)


def pyav(video: Path) -> Iterator[Frame]:
    """All frames, RGB."""
    import av

    with av.open(str(video)) as container:
        container.streams.video[0].thread_count = 1
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


@torch.inference_mode()
def plain(network: torch.nn.Module, video: Path, target: Path) -> None:
    """Decode all, enhance in batches of 8, resize, save."""
    frames_NHWC = np.stack(list(opencv(video)))
    made = []
    for start in range(0, len(frames_NHWC), 8):
        images = torch.from_numpy(frames_NHWC[start : start + 8]).permute(0, 3, 1, 2).float() / 255
        levels_NHWC = (network(images)[0] * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()
        made += [cv2.resize(frame, SIZE[::-1], interpolation=cv2.INTER_AREA) for frame in levels_NHWC]
    np.save(target, np.stack(made))


def rows() -> list[Row]:
    """Decoding alone, then the whole chain."""
    with sample_clips() as videos, torch.inference_mode():
        folder = videos[0].parent
        decoders: dict[str, Decoder] = {"ours": iter_frames, "OpenCV in a loop": opencv}
        if find_spec("av"):
            decoders["PyAV in a loop"] = pyav

        def decode(decoder: Decoder) -> int:
            return len([0 for video in videos for _ in decoder(video)]) // FRAMES

        decoding = in_turns(
            {name: partial(decode, decoder) for name, decoder in decoders.items()}, threads=1, clock=clock_of(1)
        )
        network = load_weights(WEIGHTS, curve_scale=CURVE_SCALE)
        laid_out = load_weights(WEIGHTS, curve_scale=CURVE_SCALE)
        prepare(laid_out, "cpu")
        size = {"height": SIZE[0], "width": SIZE[1]}

        def ours() -> int:
            enhancer = partial(enhance_frames, laid_out)
            clips = [
                (f"demo/{video.stem}", FRAMES, enhance_clip(iter_frames(video), enhancer, **size))
                for video in videos[:4]
            ]
            write_shard(folder, 0, clips, **size, flow=False)
            return 4

        def loop() -> int:
            for video in videos[:4]:
                plain(network, video, folder / "plain.npy")
            return 4

        chain = in_turns({"ours": ours, "a loop of stock tools": loop}, threads=1, rounds=3, clock=clock_of(1))
    what = f"{FRAMES} frames of 320x240, one core"
    return [
        *_against(decoding, what=f"decoding, {what}", note="ours also checks the number of frames"),
        *_against(chain, what=f"video to stored clip, {what}", note=f"curves at {CURVE_SCALE} of the size"),
    ]


def _against(rates: dict[str, Rate], *, what: str, note: str) -> list[Row]:
    return [
        Row(what=what, unit="clips/s", ours=rates["ours"], alternative=name, theirs=rate, note=note)
        for name, rate in rates.items()
        if name != "ours"
    ]


def main() -> None:
    no_arguments(__doc__)
    print(table(rows()))
    if not find_spec("av"):
        print("\nPyAV is not installed: see benchmarks/requirements.txt.")


if __name__ == "__main__":
    main()
