"""Tables of finished cells: Markdown, CSV and a figure each, with intervals, paired tests and the paper's numbers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from darkaction.evaluation import plots
from darkaction.evaluation.statistics import Comparison, Interval, compare, seeds_interval
from darkaction.experiments.plan import Row, Table
from darkaction.experiments.record import Cell, decode

ORDER_RESAMPLES = 1000
"""Of scenes, behind the interval of Kendall's tau."""


@dataclass(frozen=True, kw_only=True)
class Exam:
    """The test clips of a dataset, sorted by id."""

    label_N: NDArray[np.int64]
    scene_N: NDArray[np.str_]
    classes: list[str]


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """How intervals are made; see params.yaml `evaluate`."""

    bootstrap_samples: int
    confidence: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A row with the cells there are of it, one a seed."""

    row: Row
    cells: tuple[Cell, ...]
    chosen: str  # what a sweep chose; empty without one
    code: str  # of today

    @property
    def is_current(self) -> bool:
        """Whether all of it was measured with today's code."""
        return all(cell.code == self.code for cell in self.cells)


def right(cell: Cell, exam: Exam) -> NDArray[np.bool_]:
    """Which test clips a cell named rightly."""
    return np.asarray(decode(cell.predicted) == exam.label_N)


def interval(cells: Sequence[Cell], exam: Exam, how: Statistics) -> Interval:
    """Mean accuracy over the seeds, with an interval for other seeds and scenes."""
    return seeds_interval([right(cell, exam) for cell in cells], [exam.scene_N] * len(cells), **vars(how))


def difference(cells: Sequence[Cell], others: Sequence[Cell], exam: Exam, how: Statistics) -> Comparison | None:
    """Accuracy of the cells less that of the others with the same seeds, paired clip by clip; None without such."""
    pairs = [(a, b) for a in cells for b in others if a.seed == b.seed]
    if not pairs:
        return None
    return compare(
        np.concatenate([right(a, exam) for a, _ in pairs]),
        np.concatenate([right(b, exam) for _, b in pairs]),
        np.tile(exam.scene_N, len(pairs)),
        **vars(how),
    )


def as_frame(table: Table, rows: Sequence[Finished], exam: Exam, how: Statistics) -> pd.DataFrame:
    """One line a row, numbers whole; those of rows without a cell are missing."""
    by_key = {finished.row.key: finished for finished in rows}
    return pd.DataFrame([_line(finished, by_key[finished.row.against], exam, how) for finished in rows])


def _line(finished: Finished, other: Finished, exam: Exam, how: Statistics) -> dict[str, Any]:
    row, cells = finished.row, finished.cells
    line: dict[str, Any] = {
        "key": row.key,
        "row": row.name,
        "chosen": finished.chosen,
        "published": row.published,
        "seeds": len(cells),
        "current_code": finished.is_current,
    }
    if not cells:
        return line
    own = interval(cells, exam, how)
    line |= {"accuracy": own.mean, "low": own.low, "high": own.high, "n": own.n, "scenes": own.scenes}
    if other is not finished and (found := difference(cells, other.cells, exam, how)):
        line["against"] = other.row.name
        line |= {"difference": found.difference, "difference_low": found.low, "difference_high": found.high}
        line |= {"p_value": found.p_value}
    means = ("parameters", "gflop", "clip_seconds", "frame_seconds", "train_seconds")
    return line | {name: float(np.mean([getattr(cell, name) for cell in cells])) for name in means}


def order(rows: Sequence[Finished], exam: Exam, how: Statistics) -> tuple[float, float, float, int] | None:
    """Kendall's tau between the paper's order of the rows and ours, its interval over scenes, and the number of rows;
    None for fewer than three that both have."""
    both = [finished for finished in rows if finished.cells and finished.row.published is not None]
    if len(both) < 3:
        return None
    published = [finished.row.published for finished in both]
    right_RN = np.stack([np.mean([right(cell, exam) for cell in finished.cells], axis=0) for finished in both])
    names, number_N = np.unique(exam.scene_N, return_inverse=True)
    right_RG = np.stack([np.bincount(number_N, weights=row, minlength=len(names)) for row in right_RN])
    count_G = np.bincount(number_N, minlength=len(names))
    rng = np.random.default_rng(how.seed)
    weight_SG = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=ORDER_RESAMPLES)
    accuracy_SR = (weight_SG @ right_RG.T) / (weight_SG @ count_G)[:, None]
    taus = [_tau(published, row) for row in accuracy_SR]
    tail = (1 - how.confidence) / 2
    low, high = np.quantile(taus, [tail, 1 - tail])
    return _tau(published, right_RN.mean(1)), float(low), float(high), len(both)


def _tau(a: Sequence[float | None], b: NDArray[np.floating]) -> float:
    value = float(stats.kendalltau(a, b).statistic)
    return 0.0 if math.isnan(value) else value  # all rows alike: no order at all


def confusions(table: Table, rows: Sequence[Finished], exam: Exam, how: Statistics) -> list[str]:
    """For the pairs of classes that the table asks for: how often one is taken for the other, row by row."""
    lines = []
    for pair in table.confusions:
        numbers = [exam.classes.index(name) for name in pair]
        concerned_N = np.isin(exam.label_N, numbers)
        for finished in rows:
            if not finished.cells or finished.row.key not in table.confused:
                continue
            swapped = [
                np.isin(decode(cell.predicted), numbers)[concerned_N] & ~right(cell, exam)[concerned_N]
                for cell in finished.cells
            ]
            found = seeds_interval(swapped, [exam.scene_N[concerned_N]] * len(swapped), **vars(how))
            lines.append(
                f"- {pair[0]} and {pair[1]} taken for each other by {finished.row.name}: "
                f"{_percent(found.mean, found.low, found.high)} of {found.n} predictions"
            )
    return lines


def as_markdown(
    table: Table, rows: Sequence[Finished], exam: Exam, how: Statistics, *, heading: str, failures: Mapping[str, str]
) -> str:
    """The table to read.

    Args:
        heading: what the numbers are of: dataset, profile, command.
        failures: why a row has no cell, by its key.
    """
    frame = as_frame(table, rows, exam, how)
    same = all(row.against == table.reference.key for row in table.rows)
    columns = [
        "",
        f"accuracy, {how.confidence:.0%} interval",
        "seeds",
        "the paper, on ARID",
        f"difference to {table.reference.name}" if same else "difference",
        "p",
        "parameters",
        "GFLOP a clip",
        "ms a clip",
        "ms a frame enhanced",
    ]
    left_out = [] if any(row.published is not None for row in table.rows) else [columns.index("the paper, on ARID")]
    cells = [columns, ["---"] * len(columns)]
    cells += [_markdown_cells(record, failures, name_other=not same) for record in frame.to_dict("records")]
    lines = [f"## {_title(table)}", "", heading, ""]
    lines += [f"| {' | '.join(c for number, c in enumerate(line) if number not in left_out)} |" for line in cells]
    lines += ["", *_remarks(table, rows, exam, how)]
    if not frame["current_code"].all():
        lines.append("† measured with an earlier version of the code.")
    return "\n".join(lines).rstrip() + "\n"


def _title(table: Table) -> str:
    if table.key.isdigit():
        return f"Table {table.key}: {table.title}"
    return f"Figure 1: {table.title}" if table.key == "f1" else table.title


def _markdown_cells(line: Mapping[Any, Any], failures: Mapping[str, str], *, name_other: bool) -> list[str]:
    name = str(line["row"]) + (f" ({line['chosen']})" if line["chosen"] else "")
    name += "" if line["current_code"] else " †"
    published = "" if pd.isna(line["published"]) else f"{line['published']:.2f} %"
    if not line["seeds"]:
        why = failures.get(str(line["key"]))
        return [name, f"not run{f': {why}' if why else ''}", "0", published, *[""] * 6]
    cells = [name, _percent(line["accuracy"], line["low"], line["high"]), str(line["seeds"]), published]
    if pd.isna(line.get("difference", math.nan)):
        cells += ["", ""]
    else:
        points = (100 * line[key] for key in ("difference", "difference_low", "difference_high"))
        other = f" to {line['against']}" if name_other else ""
        cells += ["{:+.1f} [{:+.1f}, {:+.1f}]".format(*points) + other, _p_value(line["p_value"])]
    cells += [
        f"{line['parameters'] / 1e6:.2f} M",
        f"{line['gflop']:.2f}",
        f"{1000 * line['clip_seconds']:.0f}",
        f"{1000 * line['frame_seconds']:.1f}",
    ]
    return cells


def _remarks(table: Table, rows: Sequence[Finished], exam: Exam, how: Statistics) -> list[str]:
    lines = [table.note, ""] if table.note else []
    lines += [*found, ""] if (found := confusions(table, rows, exam, how)) else []
    if tau := order(rows, exam, how):
        value, low, high, count = tau
        lines.append(
            f"Does the paper's order hold? Kendall's tau over {count} rows is {value:+.2f} [{low:+.2f}, {high:+.2f}] "
            "(1: the same order, -1: the opposite)."
        )
    return lines


def draw(table: Table, rows: Sequence[Finished], exam: Exam, how: Statistics, *, subtitle: str, path: Path) -> None:
    """The table as a picture: ours with intervals, the paper's numbers beside them."""
    frame = as_frame(table, rows, exam, how)
    plots.comparison(
        frame.reindex(columns=["row", "accuracy", "low", "high", "published", "key"]),
        reference=table.reference.key,
        chance=1 / len(exam.classes),
        confidence=how.confidence,
        title=f"{_title(table)}\n{subtitle}",
        path=path,
    )


def draw_curves(
    table: Table, rows: Sequence[Finished], exam: Exam, how: Statistics, *, subtitle: str, path: Path
) -> None:
    """Accuracy against the number of real clips of a class learnt from, for a table with `curves`."""
    by_key = {finished.row.key: finished for finished in rows}
    curves: dict[str, list[tuple[int | None, Interval]]] = {}
    for name, keys in table.curves.items():
        done = [by_key[key] for key in keys if by_key[key].cells]
        points = [(each.row.fallback.train.shots_per_class, interval(each.cells, exam, how)) for each in done]
        if points:
            curves[name] = points
    if curves:
        plots.curves(
            curves,
            chance=1 / len(exam.classes),
            confidence=how.confidence,
            xlabel="real clips of each class that were learnt from",
            title=f"{_title(table)}\n{subtitle}",
            path=path,
        )


def _p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _percent(value: float, low: float, high: float) -> str:
    return f"{value:.1%} [{low:.1%}, {high:.1%}]"
