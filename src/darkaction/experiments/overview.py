"""All tables on one page: a line a method, the paper's number, and what each dataset and profile on record gave."""

from pathlib import Path

import pandas as pd

from darkaction.core.folders import write_whole
from darkaction.experiments.plan_file import PlanFile


def write_overview(plan: PlanFile, page: Path) -> None:
    """The page of the tables of a file, from the table_<key>.csv in the folders beside it, one for each dataset and
    profile. Without any, none is written.
    """
    measured = {
        place.name: found for place in sorted(page.parent.iterdir()) if place.is_dir() and (found := _read(place, plan))
    }
    lines = [
        "# All tables",
        "",
        "Accuracy with its interval, by dataset and profile; each folder has its tables with tests of the differences. "
        "† measured with an earlier version of the code. The paper's numbers are of ARID, with networks of 34 layers.",
        "",
        f"| Table | Method | The paper | {' | '.join(measured)} |",
        f"|---|---|---|{'---|' * len(measured)}",
    ]
    for key, table in plan.tables.items():
        for name, method in table.methods.items():
            published = "" if method.published is None else f"{method.published:.2f} %"
            cells = [found.get((key, name), "not run") for found in measured.values()]
            lines.append(f"| {key} | {method.name} | {published} | {' | '.join(cells)} |")
    if measured:
        write_whole(page, "\n".join(lines) + "\n")


def _read(place: Path, plan: PlanFile) -> dict[tuple[str, str], str]:
    """(key of a table, of a method) -> its accuracy, of a folder of tables."""
    found = {}
    for key in plan.tables:
        if not (path := place / f"table_{key}.csv").exists():
            continue
        for line in pd.read_csv(path, dtype={"key": str}).to_dict("records"):
            if line["seeds"]:
                text = f"{line['accuracy']:.1%} [{line['low']:.1%}, {line['high']:.1%}]"
                found[key, str(line["key"])] = text + ("" if line["current_code"] else " †")
    return found
