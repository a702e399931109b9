"""Measures all that has a table, one after the other, and writes benchmarks/RESULTS.md.

    python benchmarks/bench.py [--only input_speed]        after dvc repro; let nothing else run

With --only the other sections of RESULTS.md stay as they are. So does every section of it that no benchmark writes.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import cv2
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from darkaction.core.folders import write_whole

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "RESULTS.md"

SECTIONS: dict[str, tuple[str, list[str]]] = {
    "limits": ("The machine's limits", []),
    "input_speed": ("Training input", []),
    "step_speed": ("Training step and evaluation", []),
    "store_speed": ("From video to clip store", []),
    "zero_dce_speed": ("Zero-DCE", []),
    "predict_speed": ("Prediction", ["1"]),
    "index_speed": ("Index", []),
    "generator_speed": ("Generator", ["2"]),
    "start_speed": ("Start of programs", []),
    "tracking_overhead": ("Recording with MLflow", []),
}
"""Module: title in RESULTS.md, arguments."""

INSTRUCTIONS = ("avx2", "avx512_f", "avx512_bf16", "amx_bf16")
"""That decide how fast a network is, where the processor has them."""

HEAD = """# Benchmark results

`make bench` writes this page, `make bench BENCH="--only input_speed"` one section of it.

Each row was measured in turns: ours, the alternative, ours, ... A cell has the median of the rounds and their range. A
ratio above 1 says that ours is faster. "Share of the limit" compares ours with a matrix product or a memory copy in the
same run. `benchmarks/search_speed.py` and `benchmarks/serving_load.py` take longer and are not here.
"""


def sections(text: str) -> dict[str, str]:
    """Title: text, of each part that begins with `## `."""
    parts = text.split("\n## ")[1:]
    return {title: body.strip() for title, _, body in (part.partition("\n") for part in parts)}


def machine() -> str:
    """Processor, versions, commit and load, in a line."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    capabilities = torch.cpu.get_capabilities()
    sets = [name for name in INSTRUCTIONS if capabilities.get(name) is True]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True).stdout
    return (
        f"{names[0].partition(':')[2].strip() if names else platform.machine()}, "
        f"{len(os.sched_getaffinity(0))} cores, {' '.join(sets)}; Python {platform.python_version()}, "
        f"torch {torch.__version__}, OpenCV {cv2.__version__}; commit {commit.strip()}; "
        f"load average {os.getloadavg()[0]:.1f} before"
    )


def measured(name: str, arguments: list[str]) -> str:
    """The section of one benchmark, in a process of its own."""
    before, started = machine(), time.monotonic()
    command = [sys.executable, str(HERE / f"{name}.py"), *arguments]
    done = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True, check=False)
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    if done.returncode:
        return f"Not measured: {lines[-1] if lines else f'exit code {done.returncode}'}"
    text = "\n".join(lines)
    if not text.startswith("|"):
        text = f"```\n{text}\n```"
    words = " ".join(["python", f"benchmarks/{name}.py", *arguments])
    return f"{text}\n\n`{words}`, {time.monotonic() - started:.0f} s. {before}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(SECTIONS), help="one benchmark")
    only = parser.parse_args().only
    found = sections(RESULTS.read_text() if RESULTS.exists() else "")
    for name in [only] if only else SECTIONS:
        title, arguments = SECTIONS[name]
        if (HERE / f"{name}.py").exists():
            print(f"{title} ...", flush=True)
            found[title] = measured(name, arguments)
            print(found[title] + "\n", flush=True)
    titles = [title for title, _ in SECTIONS.values()]
    ordered = [title for title in titles if title in found] + [title for title in found if title not in titles]
    write_whole(RESULTS, HEAD + "".join(f"\n## {title}\n\n{found[title]}\n" for title in ordered))


if __name__ == "__main__":
    main()
