"""A pipeline of seconds in a folder, the outputs it should have, and ways to bring it to any stage."""

import hashlib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from faults.processes import Running, start, until

STAGES: dict[str, tuple[str, ...]] = {
    "synthesize": ("data/raw/demo",),
    "prepare": ("data/index/demo",),
    "leakage": ("reports/leakage", "reports/leakage.json"),
    "train_enhancer": ("models/enhancer",),
    "enhance": ("data/clips/demo",),
    "pretrain": ("models/pretraining",),
    "train": ("models/recognizer",),
    "evaluate": (
        "reports/metrics.json",
        "reports/details.json",
        "reports/predictions.csv",
        "reports/promotion_predictions.csv",
        "reports/plots",
    ),
    "report": ("reports/report.html",),
}
"""Every stage in order, and its outputs, as in dvc.yaml."""

OF_A_DATASET = ("synthesize", "prepare", "enhance")

SETTINGS = (
    "pretrain.enabled=true",
    "train.init_from=models/pretraining",
    "train.epochs=4",
)
"""Over the profile smoke: a pretraining, and a training long enough to be stopped in the middle."""


class NotPossibleError(Exception):
    """This machine or user cannot do that fault; the message says why."""


@dataclass(frozen=True)
class Outcome:
    """What one fault did. `note` says what went wrong, or what is worth knowing."""

    survived: bool
    seconds: float  # until the outputs were there again
    note: str = ""


@dataclass
class Pipeline:
    """The pipeline with the profile smoke in `out`.

    Args:
        out: where it runs.
        reference: its outputs without a fault; never written after `make_reference`.
        spool: records on their way to MLflow.
        settings: over the profile.
        seconds: how long each stage takes undisturbed.
    """

    out: Path
    reference: Path
    spool: Path
    settings: tuple[str, ...] = SETTINGS
    seconds: dict[str, float] = field(default_factory=dict)

    def make_reference(self) -> None:
        """Runs every stage undisturbed and keeps what it made, unless an earlier run has."""
        times = self.reference.with_suffix(".json")
        if times.exists():
            self.seconds = json.loads(times.read_text())
            return
        self.out.mkdir(parents=True, exist_ok=True)
        for stage in STAGES:
            self.seconds[stage] = self.run(stage)
        shutil.copytree(self.out, self.reference)
        times.write_text(json.dumps(self.seconds))

    def start(self, stage: str, *settings: str, before: Callable[[], object] | None = None) -> Running:
        """Starts a stage with more settings."""
        dataset = ["demo"] if stage in OF_A_DATASET else []
        overrides = [word for setting in (*self.settings, *settings) for word in ("--set", setting)]

        def prepare() -> None:
            os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{self.out}/mlflow.db"
            for name in ("MLFLOW_RUN_ID", "DVC_STAGE", "DVC_EXP_NAME"):
                os.environ.pop(name, None)
            if before is not None:
                before()

        arguments = [*dataset, "--profile", "smoke", "--out", str(self.out), *overrides]
        log = self.out.with_name(f"{self.out.name}-{stage}-{time.monotonic_ns()}.log")
        return start(stage, arguments, log=log, before=prepare)

    def run(self, stage: str, *settings: str) -> float:
        """Runs a stage to its end: the seconds it took.

        Raises:
            RuntimeError: with what it printed, when it fails.
        """
        started = time.monotonic()
        running = self.start(stage, *settings)
        if running.wait():
            raise RuntimeError(f"{stage} ended with {running.code}: {running.said()[-2000:]}")
        return time.monotonic() - started

    def before(self, stage: str) -> None:
        """Brings the folder to where that stage is the next."""
        for folder in (self.out, self.spool):
            if folder.exists():
                for path in folder.iterdir():
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(self.reference, self.out, dirs_exist_ok=True)
        shutil.rmtree(self.out / "checkpoints", ignore_errors=True)
        names = list(STAGES)
        for later in names[names.index(stage) :]:
            for output in STAGES[later]:
                path = self.out / output
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def recover(self, *stages: str) -> Outcome:
        """Runs stages again, as a person would, and compares what they make with the reference."""
        started = time.monotonic()
        try:
            for stage in stages:
                self.run(stage)
        except RuntimeError as error:
            return Outcome(False, time.monotonic() - started, str(error).strip().splitlines()[-1][:200])
        seconds = time.monotonic() - started
        wrong = [name for stage in stages for name in self.differences(stage)] + self.leftovers()
        return Outcome(not wrong, seconds, f"other or left over: {', '.join(wrong[:4])}" if wrong else "")

    def judged(
        self,
        *stages: str,
        half: "list[str] | tuple[()]" = (),
        orphans: int = 0,
        unclear: bool = False,
        running: Running | None = None,
    ) -> Outcome:
        """Runs stages again after a fault; survived when they end as they should and nothing else is the matter.

        Args:
            half: outputs that the fault left half written.
            orphans: processes that it left.
            unclear: whether `running` ended otherwise than it should.
        """
        outcome = self.recover(*stages)
        faults = [outcome.note] if outcome.note else []
        faults += [f"{orphans} processes were left"] if orphans else []
        faults += [f"half written: {', '.join(half)}"] if half else []
        if unclear and running is not None:
            said = running.said().strip().splitlines()[-1:] or ["nothing"]
            how = ", with a traceback" if "Traceback" in running.said() else ""
            faults.append(f"ended with {running.code}{how}: {said[0].replace(f'{self.out}/', '')[:160]}")
        return Outcome(not faults, outcome.seconds, f"{stages[0]}: {'; '.join(faults)}" if faults else "")

    def unchanged(self, stage: str, *settings: str, before: Callable[[], object] | None = None) -> Outcome:
        """Runs a stage under a fault that must not show at all."""
        started = time.monotonic()
        running = self.start(stage, *settings, before=before)
        if running.wait():
            return self.judged(stage, unclear=True, running=running)
        wrong = self.differences(stage) + self.leftovers()
        seconds = time.monotonic() - started
        return Outcome(not wrong, seconds, f"{stage}: other or left over: {', '.join(wrong[:4])}" if wrong else "")

    @contextmanager
    def locked_store(self, running: Running) -> Iterator[None]:
        """Nobody else can use mlflow.db, from when a stage has told it its first record on."""
        until(lambda: running.poll() is not None or bool(self.waiting()), 60.0)
        running.poll_for(0.5)
        with closing(sqlite3.connect(self.out / "mlflow.db", timeout=60.0, isolation_level=None)) as store:
            store.execute("BEGIN EXCLUSIVE")
            yield

    def waiting(self) -> list[str]:
        """Runs whose records wait for MLflow's store."""
        return [str(path.relative_to(self.spool)) for path in (self.spool / "spool").glob("*")]

    def differences(self, stage: str) -> list[str]:
        """Files of its outputs that are missing, new or other than in the reference."""
        expected = digests(self.reference, STAGES[stage])
        found = digests(self.out, STAGES[stage])
        return sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))

    def leftovers(self, *, stopped: bool = False) -> list[str]:
        """Unfinished files and folders. A stage that was stopped may keep what it goes on from."""
        kinds = ("partial", "replaced", ".tmp") if stopped else ("partial", "replaced", ".tmp", "unfinished")
        return sorted(
            str(path.relative_to(self.out))
            for path in self.out.rglob("*")
            if path.name.startswith(".") and any(kind in path.name for kind in kinds)
        )

    def halves(self, stage: str) -> list[str]:
        """Outputs that are there, but not as they should be."""
        return [
            output
            for output in STAGES[stage]
            if (self.out / output).exists() and digests(self.out, [output]) != digests(self.reference, [output])
        ]


def digests(folder: Path, outputs: "tuple[str, ...] | list[str]") -> dict[str, str]:
    """{relative path: sha256} of every file in these outputs."""
    files = [
        file
        for output in outputs
        for file in ([folder / output] if (folder / output).is_file() else sorted((folder / output).rglob("*")))
        if file.is_file()
    ]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
