"""Time of `prepare`'s index per clip against a plain loop that decodes and hashes the files on as many processes.

    python benchmarks/index_speed.py [FOLDER]        FOLDER: class folders of clips (default: data/raw/demo)

Prints one table: seconds, ratio, and the largest memory of a worker for all clips and for a tenth of them.
"""

import hashlib
import multiprocessing
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from measure import kilobytes

from darkaction.core.processes import usable_processors
from darkaction.data.measure import measure

ROUNDS = 3


def plain(path: Path) -> int:
    """What a minimal script does: decode every frame, hash the file."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    frames = 0
    while capture.read()[0]:
        frames += 1
    hashlib.sha256(path.read_bytes())
    return frames


def indexed(path: Path) -> int:
    """What the index does."""
    return measure(path).frames


def peak_memory(_: int) -> float:
    """Largest memory this process had, in MB."""
    return kilobytes("VmHWM") / 1024


def run(work: Callable[[Path], int], paths: list[Path], workers: int) -> tuple[float, float]:
    """Seconds for all paths once the workers are there, and the largest memory of a worker in MB."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        list(pool.map(work, paths[:workers] * 2))
        started = time.perf_counter()
        list(pool.map(work, paths))
        seconds = time.perf_counter() - started
        return seconds, max(pool.map(peak_memory, range(4 * workers)))


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "data/raw/demo")
    paths = sorted(path for path in folder.glob("*/*") if path.suffix in (".mp4", ".avi"))
    workers = usable_processors()
    if not paths:
        sys.exit(f"{folder}: no clips; give a folder of class folders")
    best = {"plain loop": (float("inf"), 0.0), "index": (float("inf"), 0.0)}
    for _ in range(ROUNDS):  # in turn, so that other load hits both
        for name, work in (("plain loop", plain), ("index", indexed)):
            best[name] = min(best[name], run(work, paths, workers))
    tenth = run(indexed, paths[:: max(1, len(paths) // (len(paths) // 10 or 1))], workers)[1]
    print(f"{len(paths)} clips of {folder}, {workers} processes, best of {ROUNDS} rounds")
    print(f"{'':<12} {'ms/clip':>8} {'ratio':>6} {'MB/worker':>10}")
    for name, (seconds, memory) in best.items():
        ratio = seconds / best["plain loop"][0]
        print(f"{name:<12} {1000 * seconds / len(paths):8.1f} {ratio:6.2f} {memory:10.0f}")
    print(f"memory of a worker of the index that saw a tenth of the clips: {tenth:.0f} MB")


if __name__ == "__main__":
    main()
