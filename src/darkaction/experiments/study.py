"""A study: the tables of its levels as one page and one chart, from the tables' files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from darkaction.core.folders import new_files
from darkaction.evaluation import plots
from darkaction.evaluation.comparison import holm
from darkaction.evaluation.statistics import Interval
from darkaction.experiments.plan import Study, Table

LENGTH_ALONE = {"key": "length_alone", "method": "Length alone, no network", "seeds": 1}


def write_studies(
    tables: Sequence[Table], folder: Path, *, length_alone: Mapping[str, Interval], confidence: float
) -> None:
    """study_<key>.md, .csv and .png for each study that has a table in `folder`; levels without one are left out.

    Args:
        tables: whose table_<key>.csv is read.
        length_alone: key of a table -> what the length of clips alone gives there.
    """
    studies = {table.study.key: table for table in tables if table.study is not None}
    for key, first in studies.items():
        study = first.study
        assert study is not None
        chance = 1 / len(first.reference.fallback.data.classes)
        frames = [
            pd.read_csv(path, dtype={"key": str}).assign(level=table.level)
            for table in tables
            if table.study == study and (path := folder / f"table_{table.key}.csv").exists()
        ]
        if not frames:
            continue
        own = [table for table in tables if table.study == study and table.key in length_alone]
        frames += [_length_alone(length_alone[table.key], table.level) for table in own]
        frame = together(pd.concat(frames, ignore_index=True))
        with new_files(folder) as made:
            frame.to_csv(made / f"study_{key}.csv", index=False, float_format="%.6g")
            (made / f"study_{key}.md").write_text(as_markdown(study, frame))
            draw(study, frame, made / f"study_{key}.png", chance=chance, confidence=confidence)
        print(f"study {key}: {folder / f'study_{key}.md'}")


def _length_alone(found: Interval, level: str) -> pd.DataFrame:
    line = {**LENGTH_ALONE, **vars(found), "accuracy": found.mean, "level": level}
    return pd.DataFrame([line]).drop(columns="mean")


def together(frame: pd.DataFrame) -> pd.DataFrame:
    """The lines that have runs, with p_holm over all comparisons of the study in place of each level's own."""
    frame = frame[frame["seeds"] > 0].reset_index(drop=True)
    if "p_value" in frame:
        compared = frame["p_value"].notna()
        frame.loc[compared, "p_holm"] = holm(frame.loc[compared, "p_value"].tolist())
    return frame


def as_markdown(study: Study, frame: pd.DataFrame) -> str:
    """A line a method, a column a level: accuracy, and below it the difference to the reference of the same level."""
    levels = list(dict.fromkeys(frame["level"]))
    lines = [
        f"# {study.title}",
        "",
        study.claim,
        "",
        f"Accuracy with its interval, by level ({study.axis}), and the difference to the reference of the same level "
        "with Holm's p over all comparisons here. Levels differ in test clips.",
        "",
        f"| Method | {' | '.join(levels)} |",
        f"|---|{'---|' * len(levels)}",
    ]
    for name in dict.fromkeys(frame["method"]):
        own = frame[frame["method"] == name].set_index("level")
        cells = [_cell(own.loc[level]) if level in own.index else "not run" for level in levels]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    trained = frame[frame["key"] != LENGTH_ALONE["key"]]
    seeds = sorted({int(number) for number in trained["seeds"]})
    lines += ["", f"Seeds: {' or '.join(map(str, seeds))}. The tables of the levels: table_{study.key}-LEVEL.md."]
    return "\n".join(lines) + "\n"


def _cell(line: "pd.Series[float]") -> str:
    text = f"{line['accuracy']:.1%} [{line['low']:.1%}, {line['high']:.1%}]"
    if "difference" in line and pd.notna(line["difference"]):
        low, high = line["difference_low"], line["difference_high"]
        p = "p < 0.001" if line["p_holm"] < 0.001 else f"p = {line['p_holm']:.3f}"
        text += f"; {100 * line['difference']:+.1f} [{100 * low:.1f}, {100 * high:.1f}], {p}"
    return text


def draw(study: Study, frame: pd.DataFrame, path: Path, *, chance: float, confidence: float) -> None:
    """Accuracy against the level, a line a method."""
    lines: dict[str, dict[str, Interval]] = {}
    for line in frame.to_dict("records"):
        found = Interval(
            mean=line["accuracy"], low=line["low"], high=line["high"], n=int(line["n"]), scenes=int(line["scenes"])
        )
        lines.setdefault(str(line["method"]), {})[str(line["level"])] = found
    plots.curves(
        lines,
        list(dict.fromkeys(frame["level"])),
        chance=chance,
        confidence=confidence,
        xlabel=study.axis,
        title=study.title,
        path=path,
    )
