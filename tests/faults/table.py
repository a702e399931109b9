"""The faults by name, and the table of what became of them."""

import json
import platform
import random
import statistics
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from faults import damage, disks, kills, same, stores
from faults.pipeline import Outcome, Pipeline

Do = Callable[[Pipeline, random.Random, int], Outcome]


@dataclass(frozen=True)
class Fault:
    """A row: what is done, by which function, how often."""

    title: str
    do: Do
    times: int


FAULTS = {
    "kill": Fault("a stage is killed (SIGKILL) at a random moment", kills.kill, 60),
    "stop": Fault("a stage is stopped (SIGTERM) at a random moment", kills.stop, 9),
    "worker": Fault("a worker process of a stage is killed", kills.worker, 5),
    "twice": Fault("a stage is started twice at once", kills.twice, 9),
    "full": Fault("the disk is full", disks.full, 9),
    "read_only": Fault("the output folder is read-only", disks.read_only, 9),
    "no_hard_links": Fault("the file system has no hard links", disks.no_hard_links, 3),
    "clock": Fault("the clock goes back by a day", kills.clock, 4),
    "locked": Fault("mlflow.db is locked by another process", stores.locked, 3),
    "away": Fault("MLflow's server is away", stores.away, 1),
    "diverge": Fault("the loss is no number", kills.diverge, 1),
    "checkpoint": Fault("the state of a stopped training is damaged", damage.checkpoint, 9),
    "clip": Fault("a stored clip is damaged", damage.clip, 4),
    "index": Fault("the index is cut off", damage.index, 3),
    "spool": Fault("a record on its way to MLflow is damaged", damage.spool, 4),
    "processes": Fault("other numbers of loader workers and processes", same.processes, 7),
}
"""Done to stages, each in a process forked from this one."""

COMMANDS = {
    "search": ("a search is killed (tune.py)", 2),
    "comparison": ("a comparison is killed (reproduce_tables.py)", 2),
    "repro": ("`dvc repro` is killed", 2),
}
"""Done to commands that start processes of their own, see launchers.py."""


@dataclass(frozen=True)
class Row:
    """What became of one fault. `reason`: why it could not be done."""

    name: str
    title: str
    outcomes: tuple[Outcome, ...]
    reason: str = ""
    commit: str = ""

    @property
    def survived(self) -> int:
        return sum(outcome.survived for outcome in self.outcomes)

    def cells(self) -> list[str]:
        """Fault, times, survived, median and worst seconds."""
        if not self.outcomes:
            return [self.title, "0", f"not run: {self.reason}", "", ""]
        seconds = [outcome.seconds for outcome in self.outcomes]
        times = [f"{statistics.median(seconds):.1f}", f"{max(seconds):.1f}"] if any(seconds) else ["-", "-"]
        return [self.title, str(len(self.outcomes)), str(self.survived), *times]

    def notes(self) -> list[str]:
        """What went wrong, each once."""
        return list(dict.fromkeys(outcome.note for outcome in self.outcomes if outcome.note))


def table(rows: "list[Row]") -> str:
    """As Markdown."""
    head = ["Fault", "Times", "Survived", "Recovered in s (median)", "(worst)"]
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * 5, *(row.cells() for row in rows))]
    return "\n".join(lines)


def recorded(file: Path) -> "list[Row]":
    """What earlier runs found."""
    rows = json.loads(file.read_text()) if file.exists() else []
    return [Row(**{**row, "outcomes": tuple(Outcome(**outcome) for outcome in row["outcomes"])}) for row in rows]


def record(row: Row, file: Path) -> "list[Row]":
    """Puts a row among the recorded ones, in place of an older one, in the order of the table."""
    rows = {old.name: old for old in recorded(file)} | {row.name: row}
    ordered = [rows[name] for name in (*FAULTS, *COMMANDS) if name in rows]
    file.write_text(json.dumps([asdict(row) for row in ordered], indent=1) + "\n")
    return ordered


def report(rows: "list[Row]", *, seed: int) -> str:
    """The page reports/faults.md."""
    notes = [f"- {row.title}: {note}" for row in rows for note in row.notes()]
    wrong = "\n".join(notes) or "Nothing."
    return f"""# Faults

`make faults` does these things to the pipeline with the profile smoke. A fault is survived when it leaves nothing half
written and no process, an error is one line, and the same commands, run again, end in the same bytes as without it
(weights, predictions, index, clips, metrics, pages). A search that goes on samples other settings: there, each trial
counts once and the first has the same score. The seconds are those of the commands that run again.

{table(rows)}

## What went wrong

{wrong}

## What was run

`make faults` with seed {seed} on {machine()}. {_commits(rows)}
"""


def _commits(rows: "list[Row]") -> str:
    commits: dict[str, list[str]] = {}
    for row in rows:
        commits.setdefault(row.commit, []).append(row.title)
    missing = [fault.title for name, fault in FAULTS.items() if name not in {row.name for row in rows}]
    missing += [title for name, (title, _) in COMMANDS.items() if name not in {row.name for row in rows}]
    if missing:
        commits["none (not run)"] = missing
    if len(commits) == 1:
        return f"Commit {next(iter(commits))}."
    return "By row: " + "; ".join(f"commit {commit}: {', '.join(titles)}" for commit, titles in commits.items()) + "."


def commit(root: Path) -> str:
    """Of the code that was tested."""
    describe = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(describe, cwd=root, capture_output=True, text=True).stdout.strip()


def machine() -> str:
    """The processor, as far as the system names it."""
    names = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return f"{platform.system()} {platform.machine()}, {len(names)} cores ({names[0] if names else 'unknown'})"
