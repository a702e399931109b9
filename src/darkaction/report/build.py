"""The stage `report`: gathers what is on the page, and writes it."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from darkaction.core import config
from darkaction.core.agreement import recorded_in
from darkaction.core.errors import UserError
from darkaction.core.folders import write_whole
from darkaction.core.model_folder import members
from darkaction.core.paths import Paths
from darkaction.core.provenance import dvc_md5s, origin_tags
from darkaction.evaluation import plots
from darkaction.evaluation.metrics import confusion
from darkaction.evaluation.statistics import FEW_SCENES
from darkaction.jobs.identity import index_settings, network_wanted
from darkaction.params import Params
from darkaction.report import figures, pictures, published
from darkaction.report.attention import attention
from darkaction.report.heat import heat
from darkaction.report.inputs import required
from darkaction.report.mistakes import mistakes
from darkaction.report.sheet import contact_sheet
from darkaction.report.strips import shortest_and_longest
from darkaction.tracking.weights import CHECKSUM, checksum, weights_of
from darkaction.training import data, weights
from darkaction.training.weights import SYNTHETIC

EVALUATE, LEAKAGE, TRAIN = "python src/evaluate.py", "python src/leakage.py", "python src/train.py"
"""The commands that write what the page shows."""

SMALL = {"width": 3.7, "height": 2.5}
"""Inches of a chart that stands beside others."""


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
    cards = [weights.read_card(path) for path in members(weights_file)]
    test = data.select(target, fold=0, part="test")
    if test.empty:
        raise UserError(f"{Paths.index(params.datasets[0])}: no clip is marked test; run prepare again")
    content = {
        **headline(params, metrics),
        **results(params, paths),
        **leakage(paths),
        **origin(params, paths),
        **contact_sheet(test, params, paths),
        "datasets": [describe(str(name), rows, params) for name, rows in clips.groupby("dataset", sort=False)],
        "lengths": figures.frame_lengths(
            {str(name): rows["frames"].to_numpy() for name, rows in target.groupby("label", sort=True)}
        ),
        "sampled": shortest_and_longest(test, card.sampler(), params, paths),
        "sampling": dataclasses.asdict(params.sampling)
        | {"min_frames": card.min_frames, "max_frames": card.max_frames},
        "attention": attention(network, card, test, params, paths),
        "heat": heat(network, card, test, params, paths),
        "folds": params.split.folds,
        "members": len(cards),
        "temperatures": [own.validation.temperature for own in cards if own is not None and own.validation is not None],
        "settings": settings(params),
    }
    path = paths.write(Paths.REPORT)
    write_whole(path, render(content))
    return path


def render(page: Mapping[str, Any]) -> str:
    """The HTML of the page (page.html and style.css beside this file); it refers to nothing outside itself."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda value, digits=1: f"{value:.{digits}%}"
    return environment.get_template("page.html").render(page=page, few_scenes=FEW_SCENES)


def headline(params: Params, metrics: dict[str, Any]) -> dict[str, Any]:
    """Accuracy with its interval beside frames in random order, chance, and the paper; low and high are None where
    there is no interval, and the kind of a line (own, check, other) is how it is coloured."""
    target, strategy, folds = params.datasets[0], params.split.strategy, params.split.folds
    classes, chance = params.data.classes, 1 / len(params.data.classes)
    test, shuffled = metrics["test"], metrics["shuffled"]
    shuffled_note = "the same clips and network, each clip's frames in random order"
    lines = (
        ("this run", test["accuracy"], test["low"], test["high"], f"{target}, {strategy} split", "own"),
        ("frames shuffled", shuffled["accuracy"], shuffled["low"], shuffled["high"], shuffled_note, "check"),
        ("chance", chance, None, None, f"{len(classes)} classes", "check"),
        ("the paper", published.ACCURACY / 100, None, None, "ARID, 367 clips, random split", "other"),
    )
    return {
        "target": target,
        "classes": classes,
        "comparison": comparison(
            target,
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
        "headline": [dict(zip(("name", "value", "low", "high", "note", "kind"), line, strict=True)) for line in lines],
    }


def comparison(target: str, strategy: str, *, num_frames: int, size: tuple[int, int], blocks: list[int]) -> str:
    """How a number of this run stands to the paper's.

    Args:
        target: the dataset it was measured on.
        strategy: of the split.
        num_frames: T.
        size: height and width of a frame, in pixels.
        blocks: residual blocks of the four stages.
    """
    height, width = size
    scale = (
        f"This run: {num_frames} frames of {width} × {height} pixels, {'-'.join(map(str, blocks))} residual blocks; "
        "the paper: 64 frames of 112 × 112, 3-4-6-3 blocks."
    )
    if target != "arid":
        synthetic = ", synthetic clips" if target in SYNTHETIC else ""
        return (
            f"The paper's number is of another dataset and another scale: ARID, real clips, where this run's is of "
            f"{target}{synthetic}. {scale} The two cannot be compared, and an accuracy on {target} says nothing about "
            "ARID."
        )
    if strategy != "random":
        return (
            "Both were measured on ARID, but not in the same way: the paper's split is random, so that takes of "
            f"one scene are in training and in test; this run's ({strategy}) is another. {scale}"
        )
    return (
        "Both were measured on ARID with a random split, where takes of one scene are in training and in test; which "
        f"clips the paper tested is not published. {scale}"
    )


def describe(name: str, rows: pd.DataFrame, params: Params) -> dict[str, Any]:
    """One line on the usable clips of a dataset."""
    return {
        "name": name,
        "role": "target" if name == params.datasets[0] else "joins training only",
        "clips": len(rows),
        "scenes": rows["scene"].nunique(),
        "shortest": int(rows["frames"].min()),
        "longest": int(rows["frames"].max()),
    }


def results(params: Params, paths: Paths) -> dict[str, Any]:
    """Mistakes, confusion matrix, accuracy by draws and by luma, reliability."""
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
        "mistakes": mistakes(predictions, params.data.classes),
        "samples": pictures.png(required(paths, f"{Paths.REPORTS}/plots/samples.png", EVALUATE)),
        "confusion": counts_KK.tolist(),
        "draws": figures.chart(
            "draws",
            lambda axis: plots.draws_curve(axis, draws),
            label="Accuracy against the number of sampling draws averaged",
            **SMALL,
        ),
        "luma": figures.chart(
            "luma",
            lambda axis: plots.luma_bars(axis, luma),
            label="Accuracy of groups of clips from dark to bright",
            **SMALL,
        ),
        "reliability": figures.chart(
            "reliability",
            lambda axis: plots.reliability_curves(axis, before, after, names=["softmax", "calibrated"]),
            label="Accuracy against the probability of the predicted class",
            **SMALL,
        ),
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
