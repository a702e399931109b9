"""Puts figures and tables of the pipeline on one self-contained page: -> reports/report.html.

It reads what the other stages made and shows it the way the paper does: lengths of the clips, sampling strategies,
enhancements, results, what the split lets through, what BERT looks at. Equal inputs give an equal file.
"""

import dataclasses
import json
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from darkaction.core import cli, config
from darkaction.core.errors import UserError
from darkaction.core.folders import write_whole
from darkaction.core.paths import Paths
from darkaction.core.provenance import dvc_md5s, origin_tags
from darkaction.data.clips import ClipStore
from darkaction.data.index import MISSING_RAW
from darkaction.data.video import BT_601, Frames, iter_frames
from darkaction.enhancement import Enhancer
from darkaction.enhancement.apply import Settings, build_enhancer
from darkaction.enhancement.settings import Enhance
from darkaction.evaluation.metrics import confusion
from darkaction.jobs.identity import index_settings, network_wanted
from darkaction.models.build import ClipSize, num_tokens
from darkaction.models.recognizer import Recognizer
from darkaction.params import Params, settings_of
from darkaction.report import figures, page, pictures
from darkaction.report.attention import attention_by_class, transformer
from darkaction.report.strips import SampledClip, draw_strips
from darkaction.tracking.weights import CHECKSUM, checksum, weights_of
from darkaction.training import data, sampling, weights
from darkaction.training.settings import Sampling

SHEET_ROWS = 6
"""Frames on the contact sheet."""

SHEET_WIDTH, SHEET_QUALITY = 280, 78
"""Pixels and JPEG quality of each."""

ATTENTION_CLIPS = 8
"""Test clips of a class whose attention is averaged."""

TITLES = {"none": "raw", "gamma": "gamma", "zero_dce": "Zero-DCE", "enlightengan": "EnlightenGAN"}
"""Enhancements by name; another one in `enhance.method` becomes a column under its own name."""

EVALUATE, LEAKAGE, TRAIN = "python src/evaluate.py", "python src/leakage.py", "python src/train.py"


def main() -> None:
    params, paths = settings_of(cli.stage_arguments(__doc__))
    clips = data.usable_clips(paths, index_settings(params))
    data.require_trained_on(paths.read(Paths.RECOGNIZER), clips)
    metrics = read_json(required(paths, Paths.DETAILS, EVALUATE), EVALUATE)
    target = clips[clips["dataset"] == params.datasets[0]]
    required(paths, f"{Paths.RECOGNIZER}/fold_0/{weights.WEIGHTS}", TRAIN)
    path = paths.read(f"{Paths.RECOGNIZER}/fold_0/{weights.WEIGHTS}")
    network, card = weights.load(path)
    weights.check_card(card, network_wanted(params), path)
    test = data.select(target, fold=0, part="test")
    if test.empty:
        raise UserError(f"{Paths.index(params.datasets[0])}: no clip is marked test; run prepare again")
    columns, enhancers, left_out = enhancements(params, paths)
    content = page.Page(
        **headline(params, metrics),
        **results(params, paths),
        **leakage(paths),
        **origin(params, paths),
        datasets=[describe(name, rows, params) for name, rows in clips.groupby("dataset", sort=False)],
        lengths=figures.frame_lengths(
            {str(name): rows["frames"].to_numpy() for name, rows in target.groupby("label", sort=True)}
        ),
        sampled=[sampled_clip(row, card.sampler(), params, paths) for row in shortest_and_longest(test)],
        sampling=dataclasses.asdict(params.sampling) | {"min_frames": card.min_frames, "max_frames": card.max_frames},
        columns=columns,
        sheet=[sheet_row(row, enhancers, paths) for row in dark_to_bright(test)],
        left_out=left_out,
        attention=attention(network, card, test, params, paths),
        folds=params.split.folds,
        temperature=None if card.validation is None else card.validation.temperature,
        settings=settings(params),
    )
    path = paths.write(Paths.REPORT)
    write_whole(path, page.render(content))
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB; open it in a browser")


def required(paths: Paths, relative: str, command: str) -> Path:
    """The path of an input that `command` makes; a UserError where it is missing."""
    path = paths.read(relative)
    if not path.exists():
        raise UserError(f"{path}: no such file; {command} writes it")
    return path


def read_json(path: Path, command: str) -> dict[str, Any]:
    """The object in a JSON file that `command` makes; a UserError where it is damaged."""
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); run {command} again") from None
    return content


def headline(params: Params, metrics: dict[str, Any]) -> dict[str, Any]:
    """Accuracy with its interval beside frames in random order, guessing, and the paper."""
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
    guessing = page.Accuracy(
        name="guessing", value=chance, low=None, high=None, note=f"{len(params.data.classes)} classes", kind="check"
    )
    paper = page.Accuracy(
        name="the paper",
        value=page.PUBLISHED_ACCURACY / 100,
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
        "headline": [own, shuffled, guessing, paper],
    }


def describe(name: Any, rows: pd.DataFrame, params: Params) -> page.Dataset:
    """One line on the usable clips of a dataset."""
    return page.Dataset(
        name=str(name),
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
    report = read_json(required(paths, Paths.LEAKAGE_METRICS, LEAKAGE), LEAKAGE)
    folder = required(paths, Paths.LEAKAGE, LEAKAGE)
    return {
        "leakage": report,
        "leakage_pictures": {path.stem: pictures.png(path) for path in sorted(folder.glob("*.png"))},
    }


def shortest_and_longest(test: pd.DataFrame) -> list[dict[str, Any]]:
    """The shortest and the longest clip; of equal ones the first by name."""
    ordered = test.sort_values(["frames", "clip_id"])
    longest = ordered[ordered["frames"] == ordered["frames"].max()]
    return records(pd.concat([ordered.head(1), longest.head(1)]).drop_duplicates("clip_id"))


def dark_to_bright(test: pd.DataFrame) -> list[dict[str, Any]]:
    """Clips at equal distances from the darkest to the brightest."""
    ordered = test.sort_values(["luma", "clip_id"])
    paths = np.unique(np.linspace(0, len(ordered) - 1, SHEET_ROWS).round().astype(int))
    return records(ordered.iloc[paths])


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as dictionaries."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def sampled_clip(row: dict[str, Any], sampler: sampling.Sampler, params: Params, paths: Paths) -> SampledClip:
    """A clip of the store with what each strategy takes of it."""
    frames_NHWC = ClipStore(paths.read(Paths.clips(row["dataset"]))).load(row["clip_id"])
    return SampledClip(
        clip_id=row["clip_id"],
        label=row["label"],
        frames=len(frames_NHWC),
        aspect=row["width"] / row["height"],
        strips=draw_strips(
            frames_NHWC,
            sampler,
            get_args(Sampling.__annotations__["strategy"]),
            page.PUBLISHED_SAMPLING,
            clip_id=row["clip_id"],
            seed=params.seed,
            num_draws=params.sampling.test_draws,
        ),
    )


def enhancements(params: Params, paths: Paths) -> tuple[list[page.Column], list[Enhancer], list[str]]:
    """Every enhancement that `enhance.method` can name and whose weights are here, and sentences on the others."""
    used = params.enhance.method if params.enhance.apply[params.datasets[0]] else "none"
    columns, enhancers, left_out = [], [], []
    for method in get_args(Enhance.__annotations__["method"]):
        name = TITLES.get(method, method)
        try:
            enhancers.append(build(method, params, paths))
        except UserError:
            if method == used:
                raise
            left_out.append(f"{name} is not shown: its weights are not in {Paths.ENHANCER}.")
            continue
        columns.append(
            page.Column(
                method=method,
                name=name,
                title=f"{name} {params.enhance.gamma:g}" if method == "gamma" else name,
                published=page.PUBLISHED_ENHANCEMENT.get(method),
                used=method == used,
            )
        )
    return columns, enhancers, left_out


def build(method: str, params: Params, paths: Paths) -> Enhancer:
    """An enhancement with the settings of `enhance`; of these few frames on the processor."""
    enhance = params.enhance
    return build_enhancer(
        Settings(
            method=method,
            gamma=enhance.gamma,
            weights=paths.read(Paths.ENHANCER) / weights.WEIGHTS,
            curve_scale=enhance.curve_scale,
            device="cpu",
            height=enhance.height,
            width=enhance.width,
            flow=False,
        )
    )


def sheet_row(row: dict[str, Any], enhancers: list[Enhancer], paths: Paths) -> page.SheetRow:
    """The middle frame of a raw clip in every enhancement."""
    name, middle = row["dataset"], row["frames"] // 2
    raw = required(paths, f"{Paths.raw(name)}/{row['path']}", MISSING_RAW.get(name, "python src/import_dataset.py"))
    frames = list(islice(iter_frames(raw), middle, middle + 1))
    if not frames:
        raise UserError(f"{raw}: has no frame {middle}; run python src/prepare.py {name} again")
    cells = [sheet_cell(enhancer(frames[0][np.newaxis])[0]) for enhancer in enhancers]
    return page.SheetRow(clip_id=row["clip_id"], frame=middle, cells=cells)


def sheet_cell(frame_HWC: Frames) -> page.Enhanced:
    """A frame as JPEG with its mean luma."""
    return page.Enhanced(
        picture=pictures.jpeg(frame_HWC, width=SHEET_WIDTH, quality=SHEET_QUALITY),
        luma=float((frame_HWC.mean((0, 1)) * BT_601).sum()),
    )


def attention(
    network: Recognizer, card: weights.Card, test: pd.DataFrame, params: Params, paths: Paths
) -> page.Attention | None:
    """Charts of what the heads look at; None for a network without attention. Clips are shown whole (length-adjusted
    sampling, which is delta sampling with a delta of 0), so that the place of a token is a time in the action."""
    if transformer(network) is None:
        return None
    chosen = test.sort_values("clip_id").groupby("label").head(ATTENTION_CLIPS)
    found = attention_by_class(
        network,
        data.open_clips(chosen, paths, params.data.classes, params.enhance, flow=card.model.input == "rgb_flow"),
        sampler=dataclasses.replace(card.sampler(), strategy="length_adjusted"),
        classes=params.data.classes,
        batch_size=params.evaluate.batch_size,
    )
    strongest = max(float(weights_AS.max()) for weights_AS in found.values())
    return page.Attention(
        charts=[figures.attention(name, weights_AS, strongest=strongest) for name, weights_AS in found.items()],
        heads=card.bert.heads,
        layers=card.bert.layers,
        steps=num_tokens(
            card.model,
            ClipSize(num_frames=card.sampling.num_frames, height=card.enhance.height, width=card.enhance.width),
        ),
        clips=ATTENTION_CLIPS,
        strongest=strongest,
    )


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


if __name__ == "__main__":
    cli.run(main)
