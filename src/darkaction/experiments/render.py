"""Tables of finished runs: Markdown, CSV and a figure each, with intervals, paired tests and the paper's numbers."""

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
from darkaction.evaluation.comparison import ENOUGH_SEEDS, Comparison, compare, holm
from darkaction.evaluation.statistics import Interval, scene_counts, seeds_interval
from darkaction.experiments.plan import Method, Table
from darkaction.experiments.record import Run, decode

ORDER_RESAMPLES = 1000
"""Of seeds and scenes, behind the interval of Kendall's tau."""

FIVE_POINTS = 0.05
"""A difference in accuracy that is worth knowing; each table says how many scenes would show it."""


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
    """A method with the runs there are of it, one a seed."""

    method: Method
    runs: tuple[Run, ...]
    chosen: str  # what a sweep chose; empty without one
    code: str  # of today

    @property
    def is_current(self) -> bool:
        """Whether all of it was measured with today's code."""
        return all(run.code == self.code for run in self.runs)


def right(run: Run, exam: Exam) -> NDArray[np.bool_]:
    """Which test clips a run classified correctly."""
    return np.asarray(decode(run.predicted) == exam.label_N)


def interval(runs: Sequence[Run], exam: Exam, how: Statistics) -> Interval:
    """Mean accuracy over the seeds, with an interval for other seeds and scenes."""
    return seeds_interval([right(run, exam) for run in runs], [exam.scene_N] * len(runs), **vars(how))


def difference(runs: Sequence[Run], others: Sequence[Run], exam: Exam, how: Statistics) -> Comparison | None:
    """Accuracy of the runs less that of the others with the same seeds, on the same clips; None without such."""
    pairs = [(a, b) for a in runs for b in others if a.seed == b.seed]
    if not pairs:
        return None
    return compare(
        [right(a, exam) for a, _ in pairs],
        [right(b, exam) for _, b in pairs],
        exam.scene_N,
        confidence=how.confidence,
    )


def as_frame(table: Table, methods: Sequence[Finished], exam: Exam, how: Statistics) -> pd.DataFrame:
    """One line a method, numbers whole; those of methods without a run are missing. p_value is of a comparison alone,
    p_holm of it as one of the table's comparisons."""
    by_key = {finished.method.key: finished for finished in methods}
    frame = pd.DataFrame([_line(finished, by_key[finished.method.against], exam, how) for finished in methods])
    if "p_value" in frame:
        compared = frame["p_value"].notna()
        frame.loc[compared, "p_holm"] = holm(frame.loc[compared, "p_value"].tolist())
    return frame


def _line(finished: Finished, other: Finished, exam: Exam, how: Statistics) -> dict[str, Any]:
    method, runs = finished.method, finished.runs
    line: dict[str, Any] = {
        "key": method.key,
        "method": method.name,
        "chosen": finished.chosen,
        "published": method.published,
        "seeds": len(runs),
        "current_code": finished.is_current,
    }
    if not runs:
        return line
    own = interval(runs, exam, how)
    line |= {"accuracy": own.mean, "low": own.low, "high": own.high, "n": own.n, "scenes": own.scenes}
    if other is not finished and (found := difference(runs, other.runs, exam, how)):
        line["against"] = other.method.name
        line |= {"difference": found.difference, "difference_low": found.low, "difference_high": found.high}
        line |= {"p_value": found.p_value, "compared_seeds": found.seeds}
        line |= {"scenes_for_5_points": found.scenes_needed(FIVE_POINTS, confidence=how.confidence)}
    means = ("parameters", "gflop", "clip_seconds", "frame_seconds", "train_seconds")
    return line | {name: float(np.mean([getattr(run, name) for run in runs])) for name in means}


def order(methods: Sequence[Finished], exam: Exam, how: Statistics) -> tuple[float, float, float, int] | None:
    """Kendall's tau between the paper's order of the methods and ours, its interval over seeds and scenes, and how
    many methods there are; None for fewer than three that both have."""
    both = [finished for finished in methods if finished.runs and finished.method.published is not None]
    if len(both) < 3:
        return None
    published = [finished.method.published for finished in both]
    rng = np.random.default_rng(how.seed)
    scenes = len(np.unique(exam.scene_N))
    weight_RG = rng.multinomial(scenes, np.full(scenes, 1 / scenes), size=ORDER_RESAMPLES)
    means, resampled = [], []
    for finished in both:
        right_SG, count_SG = scene_counts(
            [right(run, exam) for run in finished.runs], [exam.scene_N] * len(finished.runs)
        )
        seeds = len(right_SG)
        weight_RS = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=ORDER_RESAMPLES)
        means.append(right_SG.sum() / count_SG.sum())
        resampled.append(((weight_RS @ right_SG) * weight_RG).sum(1) / ((weight_RS @ count_SG) * weight_RG).sum(1))
    taus = [_tau(published, accuracy_M) for accuracy_M in np.stack(resampled, axis=1)]
    tail = (1 - how.confidence) / 2
    low, high = np.quantile(taus, [tail, 1 - tail])
    return _tau(published, np.array(means)), float(low), float(high), len(both)


def _tau(a: Sequence[float | None], b: NDArray[np.floating]) -> float:
    value = float(stats.kendalltau(a, b).statistic)
    return 0.0 if math.isnan(value) else value  # all methods alike: no order at all


def confusions(table: Table, methods: Sequence[Finished], exam: Exam, how: Statistics) -> list[str]:
    """For the pairs of classes that the table asks for: how often one is taken for the other, method by method."""
    lines = []
    for pair in table.confusions:
        numbers = [exam.classes.index(name) for name in pair]
        concerned_N = np.isin(exam.label_N, numbers)
        for finished in methods:
            if not finished.runs or finished.method.key not in table.confused:
                continue
            swapped = [
                np.isin(decode(run.predicted), numbers)[concerned_N] & ~right(run, exam)[concerned_N]
                for run in finished.runs
            ]
            found = seeds_interval(swapped, [exam.scene_N[concerned_N]] * len(swapped), **vars(how))
            lines.append(
                f"- {pair[0]} and {pair[1]} taken for each other by {finished.method.name}: "
                f"{_percent(found.mean, found.low, found.high)} of {found.n} predictions"
            )
    return lines


def as_markdown(
    table: Table, methods: Sequence[Finished], exam: Exam, how: Statistics, *, heading: str, failures: Mapping[str, str]
) -> str:
    """The table to read.

    Args:
        heading: what the numbers are of: dataset, profile, command.
        failures: why a method has no run, by its key.
    """
    frame = as_frame(table, methods, exam, how)
    same = all(method.against == table.reference.key for method in table.methods)
    columns = [
        "",
        f"accuracy, {how.confidence:.0%} interval",
        "seeds",
        "the paper, on ARID",
        f"difference to {table.reference.name}" if same else "difference",
        "p (Holm)",
        "parameters",
        "GFLOP a clip",
        "ms a clip",
        "ms a frame enhanced",
    ]
    left_out = (
        [] if any(method.published is not None for method in table.methods) else [columns.index("the paper, on ARID")]
    )
    body = [columns, ["---"] * len(columns)]
    body += [_markdown_line(record, failures, name_other=not same) for record in frame.to_dict("records")]
    lines = [f"## {_title(table)}", "", heading, ""]
    lines += [f"| {' | '.join(c for number, c in enumerate(line) if number not in left_out)} |" for line in body]
    lines += ["", *_remarks(table, methods, exam, how, frame)]
    if not frame["current_code"].all():
        lines.append("† measured with an earlier version of the code.")
    return "\n".join(lines).rstrip() + "\n"


def _title(table: Table) -> str:
    if table.key.isdigit():
        return f"Table {table.key}: {table.title}"
    return f"Figure 1: {table.title}" if table.key == "f1" else table.title


def _markdown_line(line: Mapping[Any, Any], failures: Mapping[str, str], *, name_other: bool) -> list[str]:
    name = str(line["method"]) + (f" ({line['chosen']})" if line["chosen"] else "")
    name += "" if line["current_code"] else " †"
    published = "" if pd.isna(line["published"]) else f"{line['published']:.2f} %"
    if not line["seeds"]:
        why = failures.get(str(line["key"]))
        return [name, f"not run{f': {why}' if why else ''}", "0", published, *[""] * 6]
    texts = [name, _percent(line["accuracy"], line["low"], line["high"]), str(line["seeds"]), published]
    if pd.isna(line.get("difference", math.nan)):
        texts += ["", ""]
    else:
        points = (100 * line[key] for key in ("difference", "difference_low", "difference_high"))
        other = f" to {line['against']}" if name_other else ""
        texts += ["{:+.1f} [{:+.1f}, {:+.1f}]".format(*points) + other, _p_value(line["p_holm"])]
    texts += [
        f"{line['parameters'] / 1e6:.2f} M",
        f"{line['gflop']:.2f}",
        f"{1000 * line['clip_seconds']:.0f}",
        f"{1000 * line['frame_seconds']:.1f}",
    ]
    return texts


def _remarks(table: Table, methods: Sequence[Finished], exam: Exam, how: Statistics, frame: pd.DataFrame) -> list[str]:
    lines = [table.note, ""] if table.note else []
    lines += [about, ""] if (about := _about_differences(frame)) else []
    lines += [*found, ""] if (found := confusions(table, methods, exam, how)) else []
    if tau := order(methods, exam, how):
        value, low, high, count = tau
        lines.append(
            f"Does the paper's order hold? Kendall's tau over {count} methods is {value:+.2f} "
            f"[{low:+.2f}, {high:+.2f}] (1: the same order, -1: the opposite)."
        )
    return lines


def _about_differences(frame: pd.DataFrame) -> str:
    """What the differences and p-values of a table hold for, and what they could show; empty without any."""
    if "p_value" not in frame:
        return ""
    compared = frame[frame["p_value"].notna()]
    seeds = sorted({int(number) for number in compared["compared_seeds"]})
    text = (
        f"Differences: each interval is of one comparison; the p-values are Holm's for the {len(compared)} comparisons "
        "of this table. "
    )
    if seeds[-1] == 1:
        text += "Each method was trained once, so both hold given these trainings: other seeds may differ more. "
    else:
        text += "Both are for other scenes and other seeds. "
        if seeds[0] < ENOUGH_SEEDS:
            text += f"{seeds[0]} seeds are few: {ENOUGH_SEEDS} or more tell other trainings better. "
    needed = compared["scenes_for_5_points"]
    if (known := needed.dropna()).empty:
        return text + "No number of scenes would show 5 points: the trainings differ too much, so more seeds would."
    unknown = f"; in {needed.isna().sum()} of them only more seeds would" if needed.isna().any() else ""
    return text + (
        f"To find a true difference of 5 points four times in five takes about {known.median():.0f} scenes (median "
        f"over the comparisons{unknown})."
    )


def draw(table: Table, methods: Sequence[Finished], exam: Exam, how: Statistics, *, subtitle: str, path: Path) -> None:
    """The table as a picture: ours with intervals, the paper's numbers beside them."""
    frame = as_frame(table, methods, exam, how)
    plots.comparison(
        frame.reindex(columns=["method", "accuracy", "low", "high", "published", "key"]).rename(
            columns={"method": "row"}
        ),
        reference=table.reference.key,
        chance=1 / len(exam.classes),
        confidence=how.confidence,
        title=f"{_title(table)}\n{subtitle}",
        path=path,
    )


def draw_curves(
    table: Table, methods: Sequence[Finished], exam: Exam, how: Statistics, *, subtitle: str, path: Path
) -> None:
    """Accuracy against the number of real clips of a class learnt from, for a table with `curves`."""
    by_key = {finished.method.key: finished for finished in methods}
    curves: dict[str, dict[int | None, Interval]] = {}
    for name, keys in table.curves.items():
        done = [by_key[key] for key in keys if by_key[key].runs]
        if done:
            shots = [each.method.fallback.train.shots_per_class for each in done]
            curves[name] = {count: interval(each.runs, exam, how) for count, each in zip(shots, done, strict=True)}
    numbers = sorted({count for points in curves.values() for count in points if count is not None})
    names: dict[int | None, str] = {**{number: str(number) for number in numbers}, None: "all"}
    if curves:
        plots.curves(
            {name: {names[count]: found for count, found in points.items()} for name, points in curves.items()},
            list(names.values()),
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
