"""Thousands of damaged videos through `measure` and `predict`: make fuzz FUZZ="--files N".

Nothing may crash, hang or take memory without bound. A file is refused with its reason, or accepted. An accepted one
is wrong when its mean luma is more than 10 % off that of the whole file.
"""

import argparse
import collections
import re
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np

from darkaction.core.parallel import Processes
from darkaction.core.processes import usable_processors
from darkaction.data.measure import Measured, measure, measure_all
from darkaction.data.settings import VideoLimits
from darkaction.data.video import VideoError
from darkaction.params import Params
from faults.mutations import MUTATIONS, mutate, write_originals
from faults.table import commit, machine
from peak_memory import peak_memory

ROOT = Path(__file__).resolve().parents[2]

MODEL = ROOT / "models/synthetic"

OFF = 0.1
"""Share of the luma by which an accepted file may differ from the whole one."""

LONGEST = 60
"""Seconds after which a file counts as one that hangs."""


@dataclass(frozen=True, kw_only=True)
class Judged(Measured):
    """What became of one file. `error` is empty unless something else than a VideoError came."""

    answer: str = ""  # of predict: its reason to refuse; empty where it answers
    error: str = ""
    seconds: float = 0.0
    megabytes: float = 0.0  # the most that its process has had so far


def judge(limits: VideoLimits, path: Path) -> Judged:
    """Measures a file and predicts its action."""
    predictor = _predictor(limits)
    started, error, answer = time.monotonic(), "", ""
    measured = Measured()
    try:
        measured = measure(path, limits)
        predictor.predict(path)
    except VideoError as refused:
        answer = refused.reason
    except Exception as other:  # noqa: BLE001 - that is what is looked for
        error = f"{type(other).__name__}: {other}"
    return Judged(
        **vars(measured),
        answer=answer,
        error=error,
        seconds=time.monotonic() - started,
        megabytes=peak_memory() / 2**20,
    )


def judge_or_end(limits: VideoLimits, path: Path) -> Judged:
    """Judges a file in a worker process, which ends when that takes too long."""
    _predictor(limits)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(LONGEST)
    judged = judge(limits, path)
    signal.alarm(0)
    return judged


@cache
def _predictor(limits: VideoLimits):  # type: ignore[no-untyped-def]
    import torch

    from darkaction.serving.predictor import Predictor

    torch.set_num_threads(1)
    return Predictor.load(MODEL, limits)


@dataclass(frozen=True)
class Result:
    """A damaged file: of which original, how, and what became of it."""

    original: str
    mutation: str
    judged: Measured
    whole: Measured

    @property
    def outcome(self) -> str:
        """One of OUTCOMES."""
        if self.judged.reason == "crashes the decoder" or not isinstance(self.judged, Judged):
            return "crashed"
        if self.judged.error:
            return "another error"
        if bool(self.judged.reason) != bool(self.judged.answer):
            return "measure and predict differ"
        if self.judged.reason:
            return "refused"
        off = abs(self.judged.luma - self.whole.luma) > OFF * self.whole.luma
        return "accepted, wrong" if off else "accepted"

    @property
    def other_frames(self) -> bool:
        """Whether an accepted file has another number of frames than the whole one."""
        return self.outcome.startswith("accepted") and self.judged.frames != self.whole.frames

    @property
    def other_picture(self) -> bool:
        """Whether the mean frame of an accepted file is off, on average over pixels, by more than OFF of the luma."""
        if not self.outcome.startswith("accepted") or self.judged.mean_HWC is None or self.whole.mean_HWC is None:
            return False
        difference_HWC = np.abs(self.judged.mean_HWC.astype(float) - self.whole.mean_HWC.astype(float))
        return bool(difference_HWC.mean() > OFF * self.whole.luma)


OUTCOMES = ("refused", "accepted", "accepted, wrong", "measure and predict differ", "another error", "crashed")


def fuzz(folder: Path, *, files: int, seed: int, workers: int) -> list[Result]:
    """Makes damaged files of every container in turn, and judges them in processes whose death is survived, or (with
    no workers) in this one."""
    limits = Params.load().video
    originals = write_originals(folder)
    whole = {path: measure(path, limits) for path in originals}
    made = {}
    for number in range(files):
        source = originals[number // len(MUTATIONS) % len(originals)]
        content, mutation = mutate(source.read_bytes(), number, seed)
        path = folder / f"{number:05d}{source.suffix}"
        path.write_bytes(content)
        made[path] = source, mutation
    found: dict[Path, Measured] = {}
    if workers == 0:
        found |= {path: judge(limits, path) for path in made}
    else:
        found |= measure_all(list(made), mapper=Processes(workers), measure_clip=partial(judge_or_end, limits))
    return [Result(source.name, mutation, found[path], whole[source]) for path, (source, mutation) in made.items()]


def table(results: list[Result], key: str) -> str:
    """Files of each outcome, as Markdown, by `original` or `mutation`."""
    counts: dict[str, collections.Counter[str]] = {}
    for result in results:
        counts.setdefault(getattr(result, key), collections.Counter())[result.outcome] += 1
    counts["all"] = collections.Counter(result.outcome for result in results)
    rows = [[name, str(sum(found.values())), *(str(found[o]) for o in OUTCOMES)] for name, found in counts.items()]
    lines = [[key, "files", *OUTCOMES], ["---"] * (2 + len(OUTCOMES)), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def report(results: list[Result], *, seed: int) -> str:
    """The page reports/fuzzing.md."""
    judged = [result.judged for result in results if isinstance(result.judged, Judged)]
    reasons = collections.Counter(_kind(result.judged.reason) for result in results if result.judged.reason)
    listed = "\n".join(f"- {count}: {reason}" for reason, count in reasons.most_common(12))
    errors = sorted({found.error for found in judged if found.error})
    return f"""# Fuzzing

`make fuzz` damages videos of five containers in nine ways and gives each file to `measure` (which is what `prepare`
does) and to `predict`. Refused: with a reason, by both. Accepted, wrong: its mean luma is more than 10 % off.

{table(results, "mutation")}

{table(results, "original")}

- Accepted with another number of frames: {sum(result.other_frames for result in results)}.
- Accepted with another mean frame, by more than 10 % of its luma: {sum(result.other_picture for result in results)}.
- Longest file: {max(found.seconds for found in judged):.1f} s. Largest process, torch and model included: \
{max(found.megabytes for found in judged):.0f} MB.
- Other errors than VideoError: {"; ".join(errors) or "none"}.

OpenCV says neither what the decoder reports nor which frames are damaged. FFmpeg's own log, which can be had only from
the private libraries of OpenCV's wheel, has errors for about half of the accepted, wrong files; so it is not asked.

Reasons to refuse:

{listed}

`make fuzz` with seed {seed}, commit {commit(ROOT)}, on {machine()}.
"""


def _kind(reason: str) -> str:
    """A reason without its numbers."""
    return re.sub(r"(?<![\w.-])\d+", "N", reason)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", metavar="N", type=int, default=2200, help="damaged files (default 2200)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the damage (default 0)")
    parser.add_argument("--report", metavar="FILE", type=Path, help="write the page there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        results = fuzz(Path(folder), files=arguments.files, seed=arguments.seed, workers=usable_processors())
    print(table(results, "mutation"))
    if arguments.report is not None:
        arguments.report.write_text(report(results, seed=arguments.seed))
    if any(result.outcome in OUTCOMES[3:] for result in results):
        sys.exit("something else happened than a file that is refused or accepted")


if __name__ == "__main__":
    main()
