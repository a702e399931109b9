"""A few of the faults of `make faults`, and damaged videos as of `make fuzz`: the short forms of both."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from darkaction.core.errors import UserError
from darkaction.core.parallel import Processes
from darkaction.core.paths import ROOT
from darkaction.synthetic import dataset
from darkaction.synthetic.demo import DEMO
from darkaction.synthetic.generator import GeneratorSettings
from darkaction.tracking.relocation import relocate
from faults import fuzz
from faults.mutations import MUTATIONS, mutate
from faults.pipeline import Outcome, Pipeline
from faults.processes import until
from faults.table import Row, table

FILES = 99

POOL = """
import time
from darkaction.core.parallel import Processes

def wait(seconds):
    time.sleep(seconds)
    return seconds

if __name__ == "__main__":
    results = Processes(1)(wait, [0, 60])
    print(next(results), flush=True)
    next(results)
"""


FAULTS = """
import json, random, sys
from pathlib import Path

from faults import damage, disks, kills
from faults.pipeline import STAGES, Pipeline
from faults.processes import preimport

preimport()
folder = Path(sys.argv[1])
seconds = dict.fromkeys(STAGES, 1.5)
pipeline = Pipeline(folder / "out", folder / "reference", folder / "no_spool", settings=(), seconds=seconds)
number = list(STAGES).index
done = {
    "kill train": kills.kill(pipeline, random.Random(1), number("train")),
    "kill evaluate": kills.kill(pipeline, random.Random(1), number("evaluate")),
    "diverge": kills.diverge(pipeline, random.Random(0), 0),
    "no_hard_links": disks.no_hard_links(pipeline, random.Random(0), 1),
    "index": damage.index(pipeline, random.Random(0), 2),
}
print(json.dumps({name: outcome.note for name, outcome in done.items()}))
"""
"""In a process of its own: stages are forked from it, and the threads that other tests have used would be lost."""


@pytest.fixture(scope="module")
def folder(smoke_out: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pipeline of the other tests, which is the undisturbed one, twice: `out` and `reference`."""
    folder = tmp_path_factory.mktemp("faults")
    shutil.copytree(smoke_out, folder / "out")
    relocate(folder / "out/mlflow.db")
    shutil.copytree(folder / "out", folder / "reference")
    return folder


# Faults


def test_some_faults_are_survived(folder: Path) -> None:
    """Each ends as it should, and the same commands then in the same bytes."""
    # As many threads as the pipeline of the other tests had.
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"}
    command = [sys.executable, "-c", FAULTS, str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-4000:]
    notes = json.loads(done.stdout.splitlines()[-1])
    assert len(notes) == 5 and not any(notes.values()), notes


def test_the_harness_sees_another_result(folder: Path) -> None:
    pipeline = Pipeline(folder / "out", folder / "reference", folder / "no_spool")
    pipeline.before("report")
    (pipeline.out / "models/recognizer/README.md").write_text("other")
    (pipeline.out / "models/.recognizer.partial-1-1").mkdir()
    assert pipeline.differences("train") == ["models/recognizer/README.md"]
    assert pipeline.halves("train") == ["models/recognizer"]
    assert pipeline.leftovers() == ["models/.recognizer.partial-1-1"]
    assert pipeline.halves("report") == []
    pipeline.before("train")
    assert pipeline.differences("evaluate") and not pipeline.leftovers()


@pytest.mark.slow
def test_the_medium_form(tmp_path: Path) -> None:
    """Every kind of fault that takes seconds, once or a few times, in a copy of the project."""
    names = ("kill", "stop", "worker", "full", "twice", "clock", "locked", "checkpoint", "clip", "spool", "processes")
    only = [word for name in names for word in ("--only", name)]
    record = tmp_path / "faults.json"
    command = [sys.executable, "-m", "faults", "--times", "1", "--seed", "1", "--record", str(record), *only]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert len(done.stdout.splitlines()) == 2 + len(names)
    assert "Nothing." in record.with_suffix(".md").read_text()


def test_the_table_hides_nothing() -> None:
    done = Row("kill", "killed", (Outcome(True, 1.0), Outcome(False, 4.0, "train: other"), Outcome(True, 2.0)))
    printed = table([done, Row("full", "full", (), "no mount")])
    assert "| killed | 3 | 2 | 2.0 | 4.0 |" in printed
    assert "| full | 0 | not run: no mount |" in printed


# Worker processes


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    (tmp_path / "pool.py").write_text(POOL)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen(
        [sys.executable, "pool.py"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "(0, 0)\n"
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    until(lambda: not any(member.is_running() for member in family), 20.0)
    assert family and not any(member.is_running() for member in family)


def die(*clip: object) -> None:
    """What a worker does with a clip here."""
    os._exit(9)


def test_a_generator_whose_worker_dies_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classes = ("run", "sit")
    generator = GeneratorSettings(preset=DEMO, classes=classes, scenes=1, takes=1, height=48, width=64, seed=0)
    monkeypatch.setattr(dataset, "_write_clips", die)
    with pytest.raises(UserError, match="a worker process died"):
        dataset.write_clips(generator, tmp_path, codec="FFV1", mapper=Processes(1), progress=False)


# Damaged videos


def test_damaged_videos_are_refused_or_accepted_and_nothing_else(tmp_path: Path) -> None:
    results = fuzz.fuzz(tmp_path, files=FILES, seed=1, workers=0)
    counts = {outcome: sum(result.outcome == outcome for result in results) for outcome in fuzz.OUTCOMES}
    assert sum(counts[outcome] for outcome in fuzz.OUTCOMES[3:]) == 0, counts
    assert counts["refused"] > FILES / 2
    assert counts["accepted, wrong"] <= 2  # of 2200 files ten were
    assert max(result.judged.seconds for result in results) < 20
    assert "| all | 99 |" in fuzz.table(results, "mutation")


def test_a_worker_that_dies_of_a_video_is_counted() -> None:
    crashed = fuzz.Result("a.mp4", "zero", fuzz.Measured(reason="crashes the decoder"), fuzz.Measured(luma=50.0))
    assert crashed.outcome == "crashed"
    dark = fuzz.Result("a.mp4", "zero", fuzz.Judged(luma=40.0), fuzz.Measured(luma=50.0))
    assert dark.outcome == "accepted, wrong"
    assert fuzz.Result("a.mp4", "zero", fuzz.Judged(luma=46.0), fuzz.Measured(luma=50.0)).outcome == "accepted"
    assert fuzz.Result("a.mp4", "zero", fuzz.Judged(error="ValueError: x"), crashed.whole).outcome == "another error"


@pytest.mark.parametrize("number", range(len(MUTATIONS)))
def test_damage_is_the_same_each_time(number: int) -> None:
    original = (ROOT / "tests/odd_videos/whole.avi").read_bytes()
    damaged = mutate(original, number, 0)
    assert damaged == mutate(original, number, 0)
    assert damaged[0] != original
