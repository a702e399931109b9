"""A study: the tables of its levels as one page and one chart, from the tables' files; and what the length of a clip
alone gives away of its class, the shortcut that sampling is to close."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from darkaction.core.folders import new_files
from darkaction.evaluation import plots
from darkaction.evaluation.comparison import holm
from darkaction.evaluation.statistics import Interval, seeds_interval
from darkaction.experiments.plan import Study, Table
from darkaction.experiments.render import Statistics

LENGTH_ALONE = "length_alone"
"""Key of the lines that no network made."""

IN_TRAINING, IN_TEST = "Length alone, in training", "Length alone, in the test"

NEIGHBOURS = 15
"""Training clips whose classes vote."""


def length_alone(train: pd.DataFrame, test: pd.DataFrame, how: Statistics) -> dict[str, Interval]:
    """Accuracy of naming the class that most training clips of about a clip's length have: on training clips, of each
    scene by those of the others, and on test clips. The first says how far the length is worth learning, the second
    what it is worth then.

    Args:
        train, test: with the columns frames, label and scene.
    """
    classifier = KNeighborsClassifier(n_neighbors=NEIGHBOURS)
    left_out_N = cross_val_predict(
        classifier, train[["frames"]], train["label"], groups=train["scene"], cv=LeaveOneGroupOut()
    )
    tested_N = classifier.fit(train[["frames"]], train["label"]).predict(test[["frames"]])
    return {IN_TRAINING: _accuracy(left_out_N, train, how), IN_TEST: _accuracy(tested_N, test, how)}


def _accuracy(predicted_N: NDArray[np.str_], clips: pd.DataFrame, how: Statistics) -> Interval:
    right_N = predicted_N == clips["label"].to_numpy()
    return seeds_interval([right_N], [clips["scene"].to_numpy(dtype=str)], **vars(how))


def write_studies(
    tables: Sequence[Table], folder: Path, *, length_alone: Mapping[str, Mapping[str, Interval]], confidence: float
) -> None:
    """study_<key>.md, .csv and .png for each study that has a table in `folder`; levels without one are left out.

    Args:
        tables: whose table_<key>.csv is read.
        length_alone: key of a table -> name of a line -> what the length of clips alone gives there.
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


def _length_alone(found: Mapping[str, Interval], level: str) -> pd.DataFrame:
    common = {"key": LENGTH_ALONE, "seeds": 1, "level": level}
    lines = [{**common, "method": name, "accuracy": own.mean, **vars(own)} for name, own in found.items()]
    return pd.DataFrame(lines).drop(columns="mean")


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
    trained = frame[frame["key"] != LENGTH_ALONE]
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
