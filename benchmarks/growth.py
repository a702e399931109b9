"""How time and memory grow with the number of clips: python benchmarks/growth.py

Made-up clips of an index and tiny frames, where real ones would add nothing. Each step runs in a process of its own for
1,024 clips, 4,096 and so on. Prints a table: seconds, the most memory that the step added in MB, and the exponents of
both between the two largest sizes: 1 is linear, 2 quadratic, 0 flat.
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from measure import kilobytes

from darkaction.data.clips import ClipStore
from darkaction.data.index import COLUMNS, OK, read_index, read_mean_frames, summarize, write_index
from darkaction.data.leakage import measure_leakage
from darkaction.data.listing import list_clips, quarantine_duplicates
from darkaction.data.measure import HASHED_FRAMES, MEAN_FRAME
from darkaction.data.settings import Split
from darkaction.data.shards import plan_shards, write_list, write_shard
from darkaction.data.splits import assign_folds
from darkaction.training.data import few_per_class, split_digest

CLASSES = ["run", "sit", "stand", "turn", "walk", "wave"]
CLIPS_A_SCENE = 60
FRAMES, SIZE = 3, 4
"""Of a stored clip: so few and small that the clip itself costs nothing."""

LEAST_MB = 5
"""Memory of which less is not told from none."""

Step = Callable[[], object]


def made_up_index(clips: int) -> pd.DataFrame:
    """The usable clips of an index, without folds."""
    rng = np.random.default_rng(0)
    number = np.arange(clips)
    label = np.array(CLASSES, object)[number % len(CLASSES)]
    scene = (1 + number // CLIPS_A_SCENE).astype(str)
    name = [f"{kind.capitalize()}_{place}_{k}" for kind, place, k in zip(label, scene, number, strict=True)]
    table = pd.DataFrame({column: kind() for column, kind in COLUMNS.items()}, index=number).assign(
        clip_id=[f"demo/{text}" for text in name],
        dataset="demo",
        domain="target",
        path=[f"{kind.capitalize()}/{text}.mp4" for kind, text in zip(label, name, strict=True)],
        label=label,
        scene=scene,
        frames=60 + number % 90,
        sha256=[rng.bytes(32).hex() for _ in number],
        phash=[rng.bytes(8 * HASHED_FRAMES).hex() for _ in number],
        status=OK,
    )
    return table.astype(COLUMNS)


def means_of(clips: int) -> np.ndarray:
    return np.random.default_rng(1).random((clips, *MEAN_FRAME, 3)).astype(np.float16)


def split_of(strategy: str) -> Split:
    return Split(strategy=strategy, folds=1, test=0.2, val=0.1, validation="scene", official=1, promotion=0.0)


def folds_of(index: pd.DataFrame, strategy: str = "scene") -> pd.DataFrame:
    return assign_folds(index, split_of(strategy), target=True, classes=CLASSES, seed=0)


def listing(clips: int, folder: Path) -> Step:
    for kind in CLASSES:
        (folder / kind.capitalize()).mkdir()
    for path in made_up_index(clips)["path"]:
        (folder / path).touch()

    def step() -> None:
        rows = list_clips(folder, dataset="demo", classes=CLASSES)
        quarantine_duplicates(folder, [row | {"sha256": str(k)} for k, row in enumerate(rows)])

    return step


def splitting(strategy: str) -> Callable[[int, Path], Step]:
    def prepare(clips: int, folder: Path) -> Step:
        index = made_up_index(clips)
        return lambda: folds_of(index, strategy)

    return prepare


def writing_index(clips: int, folder: Path) -> Step:
    index = made_up_index(clips).assign(fold_0="train")
    means = means_of(clips)
    return lambda: write_index(
        folder, index, means, summarize(index, settings={}, strategy="scene", validation="scene")
    )


def reading_index(clips: int, folder: Path) -> Step:
    writing_index(clips, folder)()
    return lambda: read_mean_frames(folder, read_index(folder))


def write_store(clips: int, folder: Path) -> None:
    frames_NHWC = np.random.default_rng(0).integers(0, 256, (FRAMES, SIZE, SIZE, 3), np.uint8)
    ids = sorted(made_up_index(clips)["clip_id"])
    for number, part in enumerate(plan_shards([60] * clips, height=112, width=112)):  # as many as real clips need
        contents = ((ids[k], FRAMES, [frames_NHWC]) for k in part)
        write_shard(folder, number, contents, height=SIZE, width=SIZE, flow=False)
    write_list(folder)


def writing_store(clips: int, folder: Path) -> Step:
    return lambda: write_store(clips, folder)


def opening_store(clips: int, folder: Path) -> Step:
    write_store(clips, folder)
    return lambda: ClipStore(folder)


def verifying_store(clips: int, folder: Path) -> Step:
    write_store(clips, folder)
    store = ClipStore(folder)
    return store.verify


def loading_clips(clips: int, folder: Path) -> Step:
    write_store(clips, folder)
    store = ClipStore(folder)
    return lambda: [np.asarray(store.load(clip_id)[0]).sum() for clip_id in store.clip_ids()]


def choosing_clips(clips: int, folder: Path) -> Step:
    index = made_up_index(clips)
    index = index.join(folds_of(index))
    return lambda: (split_digest(index), few_per_class(index, "demo", most=clips // 20, seed=0))


def leakage(clips: int, folder: Path) -> Step:
    index, means = made_up_index(clips), means_of(clips)
    folds = folds_of(index)
    return lambda: measure_leakage(index, means, folds, near_duplicate=0.1)


STEPS: dict[str, Callable[[int, Path], Step]] = {
    "list files, find copies": listing,
    "split by scene": splitting("scene"),
    "split at random": splitting("random"),
    "write the index": writing_index,
    "read the index": reading_index,
    "write a store": writing_store,
    "open a store": opening_store,
    "verify a store": verifying_store,
    "load a frame of each clip": loading_clips,
    "choose training clips": choosing_clips,
    "near duplicates, mean-frame 1-NN": leakage,
}


def measure(name: str, clips: int) -> tuple[float, float]:
    """Seconds and MB of a step, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder, in_process() as pool:
        return pool.apply(measured, (name, clips, Path(folder)))


@contextmanager
def in_process() -> Iterator[Any]:
    with multiprocessing.get_context("fork").Pool(1) as pool:
        yield pool


def measured(name: str, clips: int, folder: Path) -> tuple[float, float]:
    step = STEPS[name](clips, folder)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = kilobytes("VmRSS")
    started = time.perf_counter()
    kept = step()
    seconds = time.perf_counter() - started
    del kept
    return seconds, (kilobytes("VmHWM") - before) / 1024


def exponent(sizes: list[int], values: list[float]) -> float:
    """The slope of the straight line through the logarithms of the last two."""
    return float(np.log(values[-1] / values[-2]) / np.log(sizes[-1] / sizes[-2]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=65536, metavar="N", help="clips of the largest size (65536)")
    most = parser.parse_args().most
    sizes = [size for size in (1024, 4096, 16384, 65536) if size <= most]
    counts = " | ".join(f"{size // 1024} k" for size in sizes)
    print(f"| Step | seconds: {counts} | exponent | MB: {counts} | exponent |")
    print("|---" * (2 * len(sizes) + 3) + "|")
    for name in STEPS:
        seconds, memory = zip(*(measure(name, size) for size in sizes), strict=True)
        cells = [
            *(f"{value:.2f}" for value in seconds),
            f"{exponent(sizes, list(seconds)):.1f}",
            *(f"{value:.0f}" for value in memory),
            f"{exponent(sizes, list(memory)):.1f}" if memory[-1] >= LEAST_MB else "flat",
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
