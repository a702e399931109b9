"""From runs on record to tables: which runs a method has, the clips they were tested on, files."""

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from darkaction.core import config
from darkaction.core.folders import new_files
from darkaction.core.paths import Paths
from darkaction.core.provenance import command_line
from darkaction.data.index import read_index
from darkaction.data.settings import SYNTHETIC
from darkaction.data.video import iter_frames
from darkaction.enhancement.apply import Settings, build_enhancer
from darkaction.enhancement.settings import TITLES
from darkaction.evaluation import plots
from darkaction.experiments import plan, record, render, sweeps
from darkaction.experiments.comparisons import Comparisons
from darkaction.experiments.plan import Method, Table
from darkaction.experiments.render import Exam, Finished, Statistics
from darkaction.experiments.study import length_alone, write_studies
from darkaction.experiments.sweeps import OnRecord
from darkaction.jobs.identity import index_settings, training_code
from darkaction.params import Params
from darkaction.training import data

SHOWN_FRAMES = 3
"""Of test clips, from the darkest to the brightest."""


def write(comparisons: Comparisons, base: Params, folder: Path) -> None:
    """table_<key>.md and .csv of every table, with the clips that are tested and the settings of the reference;
    pictures of those that are no level of a study, and study_<key>.* of every study."""
    on_record = record.latest(record.read(comparisons.runs_file), code=training_code())
    how = Statistics(
        bootstrap_samples=base.evaluate.bootstrap_samples, confidence=base.evaluate.confidence, seed=base.seed
    )
    lengths = {}
    for table in comparisons.tables:
        exam = exam_of(comparisons, table)
        if table.study is not None and table.study.length_alone:
            lengths[table.key] = length_alone(*clips_of(comparisons, table), how)
        methods = [finished(comparisons, method, on_record) for method in table.methods]
        heading = describe(base, comparisons, table, exam)
        failures = {method.key: problem for method in table.methods if (problem := problem_of(comparisons, method))}
        if not any(method.runs for method in methods) and (folder / f"table_{table.key}.md").exists():
            print(f"table {table.key}: nothing on record for these settings; {folder}/table_{table.key}.* stay")
            continue
        text = render.as_markdown(table, methods, exam, how, heading=heading, failures=failures)
        name = f"table_{table.key}"
        with new_files(folder) as made:
            clips = tested_clips(comparisons, table)
            clips.to_csv(made / f"{name}_clips.csv", index=False, lineterminator="\n")
            (made / f"{name}_params.yaml").write_text(plan.as_yaml(table.reference.fallback))
            (made / f"{name}.md").write_text(text)
            frame = render.as_frame(table, methods, exam, how)
            frame.to_csv(made / f"{name}.csv", index=False, float_format="%.6g")
            subtitle = f"{base.datasets[0]}, {comparisons.profile}, {len(exam.label_N)} test clips"
            if table.study is None:  # a study has one chart of all its levels
                render.draw(table, methods, exam, how, subtitle=subtitle, path=made / f"{name}.png")
                render.draw_curves(table, methods, exam, how, subtitle=subtitle, path=made / f"{name}_curves.png")
                draw_enhancements(comparisons, table, made / f"{name}_frames.png")
        print(f"\n{text}")
    write_studies(comparisons.tables, folder, length_alone=lengths, confidence=base.evaluate.confidence)


def draw_enhancements(comparisons: Comparisons, table: Table, path: Path) -> None:
    """The middle frames of some clips by every enhancement, for a table that compares some (figure 6 of the paper)."""
    shown: dict[str, Settings] = {}
    for method in table.methods:
        inputs = comparisons.inputs.get(plan.fingerprint(method.fallback))
        if inputs is not None and inputs.enhancement is not None:
            shown.setdefault(method.fallback.enhance.method, inputs.enhancement)
    if len(shown) < 2:
        return
    target = table.reference.fallback.datasets[0]
    paths = comparisons.inputs[plan.fingerprint(table.reference.fallback)].paths
    index = read_index(paths.read(Paths.index(target)))
    test = index[index["fold_0"] == "test"].sort_values("luma")
    chosen = test.iloc[np.linspace(0, len(test) - 1, SHOWN_FRAMES).astype(int)]
    raw = paths.read(Paths.raw(target))
    middles = [
        next(islice(iter_frames(raw / name), int(count) // 2, None))
        for name, count in zip(chosen["path"], chosen["frames"], strict=True)
    ]
    columns = {TITLES[method]: build_enhancer(replace(used, device="cpu")) for method, used in shown.items()}
    pictures = {name: [enhancer(frame[None])[0] for frame in middles] for name, enhancer in columns.items()}
    plots.frame_grid(pictures, list(chosen["clip_id"]), path)


def describe(base: Params, comparisons: Comparisons, table: Table, exam: Exam) -> str:
    """What the numbers are of."""
    target = base.datasets[0]
    folds = "one test part" if base.split.folds == 1 else f"{base.split.folds} folds, each tested once, pooled"
    kind = " (synthetic clips, not the paper's data)" if target in SYNTHETIC else ""
    scale = "" if comparisons.profile == "paper" else ", networks and training of that profile, not of the paper"
    return (
        f"Dataset {target}{kind}, profile {comparisons.profile} (`table_{table.key}_params.yaml`, the settings from "
        f"which methods differ): {len(exam.label_N)} test clips of "
        f"{len(np.unique(exam.scene_N))} scenes ({base.split.strategy} split, {folds}){scale}; times as measured "
        f"while other runs ran; `{command_line().replace(' --report-only', '')}`"
    )


def exam_of(comparisons: Comparisons, table: Table) -> Exam:
    """The test clips of the table."""
    test = tested_clips(comparisons, table)
    classes = table.reference.fallback.data.classes
    return Exam(
        label_N=np.array([classes.index(label) for label in test["label"]]),
        scene_N=test["scene"].to_numpy(dtype=str),
        classes=classes,
    )


def tested_clips(comparisons: Comparisons, table: Table) -> pd.DataFrame:
    """The test clips of all folds, in the order of a run's predictions: clip_id, label, scene, fold, sha256."""
    params = table.reference.fallback
    clips = usable_clips(comparisons, table)
    parts = [data.select(clips, fold=fold, part="test").assign(fold=fold) for fold in range(params.split.folds)]
    test = pd.concat(parts, ignore_index=True).sort_values("clip_id")
    return test[["clip_id", "label", "scene", "fold", "sha256"]]


def usable_clips(comparisons: Comparisons, table: Table) -> pd.DataFrame:
    """Of all datasets of the table's reference, as in the index."""
    params = table.reference.fallback
    return data.usable_clips(comparisons.inputs[plan.fingerprint(params)].paths, index_settings(params))


def clips_of(comparisons: Comparisons, table: Table) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The training and the test clips of the first fold, as in the index."""
    params, clips = table.reference.fallback, usable_clips(comparisons, table)
    train = data.training_rows(clips, params.datasets, fold=0, shots=params.train.shots_per_class)
    return train, data.select(clips, fold=0, part="test")


def finished(comparisons: Comparisons, method: Method, on_record: OnRecord) -> Finished:
    """The runs there are of a method; of a sweep, those of the value that was chosen."""
    found = sweeps.choose(comparisons, method, on_record)
    if found is None:
        return Finished(method=method, runs=(), chosen="", code=training_code())
    runs = sweeps.runs_of(comparisons, found.params, on_record)
    values = config.flatten(found.params)
    shown = [f"{key.rpartition('.')[2]} {json.dumps(values[key])}" for key in method.swept]
    if shown and not found.judged:
        shown.append("not chosen: there are no validation clips")
    return Finished(method=method, runs=tuple(runs), chosen=", ".join(shown) if runs else "", code=training_code())


def problem_of(comparisons: Comparisons, method: Method) -> str | None:
    return next(
        (comparisons.problems[f] for p in method.variants if (f := plan.fingerprint(p)) in comparisons.problems), None
    )
