"""The stage `report`: gathers what is on the page, and writes it."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas as pd

from darkaction.core import config
from darkaction.core.agreement import recorded_in
from darkaction.core.errors import UserError
from darkaction.core.folders import write_whole
from darkaction.core.paths import Paths
from darkaction.core.provenance import dvc_md5s, origin_tags
from darkaction.evaluation.metrics import confusion
from darkaction.jobs.identity import index_settings, network_wanted
from darkaction.params import Params
from darkaction.report import figures, page, pictures, published
from darkaction.report.attention import attention
from darkaction.report.inputs import required
from darkaction.report.sheet import contact_sheet
from darkaction.report.strips import shortest_and_longest
from darkaction.tracking.weights import CHECKSUM, checksum, weights_of
from darkaction.training import data, weights

EVALUATE, LEAKAGE, TRAIN = "python src/evaluate.py", "python src/leakage.py", "python src/train.py"
"""The commands that write what the page shows."""


def write_report(params: Params, paths: Paths) -> Path:
    """Writes the page, and returns where.

    Raises:
        UserError: when a stage has not run, or ran with other settings.
    """
    clips = data.usable_clips(paths, index_settings(params))
    data.require_trained_on(paths.read(Paths.RECOGNIZER), clips)
    metrics = recorded_in(required(paths, Paths.DETAILS, EVALUATE), command=EVALUATE)
    target = clips[clips["dataset"] == params.datasets[0]]
    weights_file = required(paths, f"{Paths.RECOGNIZER}/fold_0/{weights.WEIGHTS}", TRAIN)
    network, card = weights.load(weights_file)
    weights.check_card(card, network_wanted(params), weights_file)
    test = data.select(target, fold=0, part="test")
    if test.empty:
        raise UserError(f"{Paths.index(params.datasets[0])}: no clip is marked test; run prepare again")
    content = page.Page(
        **headline(params, metrics),
        **results(params, paths),
        **leakage(paths),
        **origin(params, paths),
        **contact_sheet(test, params, paths),
        datasets=[describe(str(name), rows, params) for name, rows in clips.groupby("dataset", sort=False)],
        lengths=figures.frame_lengths(
            {str(name): rows["frames"].to_numpy() for name, rows in target.groupby("label", sort=True)}
        ),
        sampled=shortest_and_longest(test, card.sampler(), params, paths),
        sampling=dataclasses.asdict(params.sampling) | {"min_frames": card.min_frames, "max_frames": card.max_frames},
        attention=attention(network, card, test, params, paths),
        folds=params.split.folds,
        temperature=None if card.validation is None else card.validation.temperature,
        settings=settings(params),
    )
    path = paths.write(Paths.REPORT)
    write_whole(path, page.render(content))
    return path


def headline(params: Params, metrics: dict[str, Any]) -> dict[str, Any]:
    """Accuracy with its interval beside frames in random order, chance, and the paper."""
    test, chance = metrics["test"], 1 / len(params.data.classes)
    strategy, folds = params.split.strategy, params.split.folds
    own = page.Accuracy(
        name="this run",
        value=test["accuracy"],
        low=test["low"],
        high=test["high"],
        note=f"{params.datasets[0]}, {strategy} split",
        kind="own",
    )
    shuffled = page.Accuracy(
        name="frames shuffled",
        value=metrics["shuffled"]["accuracy"],
        low=metrics["shuffled"]["low"],
        high=metrics["shuffled"]["high"],
        note="the same clips and network, each clip's frames in random order",
        kind="check",
    )
    by_chance = page.Accuracy(
        name="chance", value=chance, low=None, high=None, note=f"{len(params.data.classes)} classes", kind="check"
    )
    paper = page.Accuracy(
        name="the paper",
        value=published.ACCURACY / 100,
        low=None,
        high=None,
        note="ARID, 367 clips, random split",
        kind="other",
    )
    return {
        "target": params.datasets[0],
        "classes": params.data.classes,
        "comparison": page.comparison(
            params.datasets[0],
            strategy,
            num_frames=params.sampling.num_frames,
            size=(params.enhance.height, params.enhance.width),
            blocks=params.model.layers,
        ),
        "split": f"{strategy} split, "
        + ("one test part" if folds == 1 else f"{folds} folds, each tested once, pooled"),
        "metrics": metrics,
        "confidence": params.evaluate.confidence,
        "chance": chance,
        "headline": [own, shuffled, by_chance, paper],
    }


def describe(name: str, rows: pd.DataFrame, params: Params) -> page.Dataset:
    """One line on the usable clips of a dataset."""
    return page.Dataset(
        name=name,
        role="target" if name == params.datasets[0] else "joins training only",
        clips=len(rows),
        scenes=rows["scene"].nunique(),
        shortest=int(rows["frames"].min()),
        longest=int(rows["frames"].max()),
    )


def results(params: Params, paths: Paths) -> dict[str, Any]:
    """Confusion matrix, accuracy by draws and by luma, reliability."""
    path = required(paths, f"{Paths.REPORTS}/predictions.csv", EVALUATE)
    predictions = pd.read_csv(path)
    draws = pd.read_csv(required(paths, f"{Paths.REPORTS}/plots/draws.csv", EVALUATE))
    luma = pd.read_csv(required(paths, f"{Paths.REPORTS}/plots/luma.csv", EVALUATE))
    before, after = (
        pd.read_csv(required(paths, f"{Paths.REPORTS}/plots/{name}.csv", EVALUATE))
        for name in ("reliability_before", "reliability")
    )
    numbers = {name: number for number, name in enumerate(params.data.classes)}
    other = {*predictions["label"], *predictions["predicted"]} - set(numbers)
    if other:
        raise UserError(
            f"{path}: has classes that data.classes lacks: {', '.join(sorted(other))}; run {EVALUATE} again"
        )
    counts_KK = confusion(
        predictions["predicted"].map(numbers).to_numpy(), predictions["label"].map(numbers).to_numpy(), len(numbers)
    )
    return {
        "confusion": counts_KK.tolist(),
        "draws": figures.accuracy_by_draws(draws),
        "luma": figures.accuracy_by_luma(luma),
        "reliability": figures.reliability(before, after),
    }


def leakage(paths: Paths) -> dict[str, Any]:
    """What the stage leakage measured, and its pictures."""
    report = recorded_in(required(paths, Paths.LEAKAGE_METRICS, LEAKAGE), command=LEAKAGE)
    folder = required(paths, Paths.LEAKAGE, LEAKAGE)
    return {
        "leakage": report,
        "leakage_pictures": {path.stem: pictures.png(path) for path in sorted(folder.glob("*.png"))},
    }


def origin(params: Params, paths: Paths) -> dict[str, Any]:
    """Commit, checksum of the weights, by which their run is found, and versions of the data behind the page."""
    tags = origin_tags(stage="report", settings=config.flatten(params), paths=paths)
    recorded = dvc_md5s(paths.root)
    shown = {path: recorded[path] for path in sorted(recorded) if not path.startswith(Paths.REPORTS)}
    return {
        "commit": tags.get("mlflow.source.git.commit"),
        "dirty": tags.get("mlflow.source.git.dirty") == "true",
        "weights": {"tag": CHECKSUM, "value": checksum(weights_of(paths))},
        "versions": {path: md5 for path, md5 in shown.items() if paths.read(path) == paths.root / path},
    }


def settings(params: Params) -> dict[str, str]:
    """The settings that decide the result, under their dotted names."""
    shown: dict[str, Any] = {
        "split": params.split,
        "enhance": params.enhance,
        "sampling": params.sampling,
        "augmentation": params.augmentation,
        "model": params.model,
        "bert": params.bert,
        "focal": params.focal,
        "optimizer": params.optimizer,
        "train": params.train,
    }
    lines: dict[str, Any] = {"datasets": params.datasets, "seed": params.seed}
    for section, values in shown.items():
        lines |= {f"{section}.{key}": value for key, value in dataclasses.asdict(values).items()}
    lines["enhance.apply"] = [name for name in params.datasets if params.enhance.apply[name]]
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in lines.items()}
