"""Does faults to the pipeline and writes the table: make faults FAULTS="--only NAME --times N"."""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="NAME", action="append", help="this fault alone; may be given several times")
    parser.add_argument("--times", metavar="N", type=int, help="do each fault so often")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the random moments (default 0)")
    parser.add_argument(
        "--record", metavar="FILE", type=Path, help="add the rows to this JSON file, and write the page beside it"
    )
    parser.add_argument("--work", metavar="DIR", type=Path, help="work there and keep it: the next run begins sooner")
    arguments = parser.parse_args()
    work = (arguments.work and arguments.work.resolve()) or Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        rows = run(work, only=arguments.only, times=arguments.times, seed=arguments.seed, record=arguments.record)
    finally:
        os.chdir("/")
        if arguments.work is None:
            shutil.rmtree(work, ignore_errors=True)
    from faults.table import table

    print(table(rows))
    if any(row.survived < len(row.outcomes) for row in rows):
        sys.exit("not every fault was survived")


def run(work: Path, *, only: "list[str] | None", times: int | None, seed: int, record: Path | None) -> "list":
    """Copies the project into `work`, runs it once undisturbed and does each fault."""
    record = record and record.resolve()
    import programs
    from faults.table import commit

    tested = commit(ROOT)
    project = work / "project"
    if not project.exists():
        programs.copy_project(project)
    os.chdir(project)
    sys.path.insert(0, str(project / "src"))

    from faults import launchers, processes
    from faults.pipeline import NotPossibleError, Pipeline
    from faults.table import COMMANDS, FAULTS, Row, report
    from faults.table import record as put

    names = only or [*FAULTS, *COMMANDS]
    unknown = [name for name in names if name not in {**FAULTS, **COMMANDS}]
    if unknown:
        sys.exit(f"no fault is named {unknown[0]}; there are {', '.join([*FAULTS, *COMMANDS])}")
    pipeline = Pipeline(work / "out", work / "reference", project / "checkpoints")
    projects = launchers.Projects(work / "projects")
    if any(name in FAULTS for name in names):
        processes.preimport()
        pipeline.make_reference()
    rows = []
    for name in names:
        title, count = (FAULTS[name].title, FAULTS[name].times) if name in FAULTS else COMMANDS[name]
        rng, outcomes, reason = random.Random(f"{seed} {name}"), [], ""
        try:
            for number in range(times or count):
                began = time.monotonic()
                do = FAULTS[name].do(pipeline, rng, number) if name in FAULTS else projects.kill(name, rng)
                outcomes.append(do)
                said = "survived" if do.survived else f"NOT survived: {do.note}"
                print(f"{name} {number + 1}: {said} ({time.monotonic() - began:.1f} s)", file=sys.stderr, flush=True)
        except NotPossibleError as error:
            reason = str(error)
        rows.append(Row(name, title, tuple(outcomes), reason, tested))
        if record is not None:
            record.with_suffix(".md").write_text(report(put(rows[-1], record), seed=seed))
    return rows


if __name__ == "__main__":
    main()
