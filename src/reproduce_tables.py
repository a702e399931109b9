"""The paper's comparisons, Tables 1-4 and Figure 1, on the datasets in use: -> reports/tables

    python src/reproduce_tables.py --profile tables-cpu            every row, three seeds, small networks
    python src/reproduce_tables.py --tables 2,3 --rows tgap        some of them
    python src/reproduce_tables.py --tables limited_data           the study of pretraining on drawn actions
    python src/reproduce_tables.py --no-run                        only writes the tables of what is on record

experiments/tables.yaml (for the study experiments/limited_data.yaml) says what each row is. Every row is trained with
each seed and tested on the test clips; with two folds both halves are tested and pooled. A finished cell stands in
reports/tables/cells.csv and is not computed again while its settings, data and code are the same; Ctrl-C stops, and the
same command goes on. Every cell is a run of MLflow's experiment darkaction-tables.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

import enhance
import pretrain
import train_enhancer
from darkaction.core import cli, config
from darkaction.core.cli import add_worker_arguments, positive
from darkaction.core.errors import UserError, reason_of
from darkaction.core.paths import ROOT, Paths
from darkaction.core.provenance import changed_since, command_line, dvc_md5s, index_digest, training_code
from darkaction.data.index import read_index
from darkaction.data.video import iter_frames
from darkaction.enhancement import LEARNT
from darkaction.enhancement.apply import Settings, build_enhancer
from darkaction.experiments import plan, record, write
from darkaction.experiments.cell import STOPPED, Job, Outcome, run_cell, with_seed
from darkaction.experiments.comparisons import DRAWN, Comparisons, Pretraining, Ready
from darkaction.experiments.launcher import Launcher, Task
from darkaction.experiments.plan import Row
from darkaction.jobs import pretraining
from darkaction.jobs.pool import Pool, start_pool
from darkaction.params import Params
from darkaction.tracking.delivery import end_killed
from darkaction.tracking.runs import Child, parent_run
from darkaction.tracking.weights import find_weights

EXPERIMENTS = "experiments/tables.yaml"
LIMITED_DATA = "experiments/limited_data.yaml"
CACHE = "cache"
"""Enhanced clips and enhancers of all rows; safe to delete."""

INDEX_SECTIONS = ("seed", "data", "video", "prepare", "split")
DRAWING = ("scenes", "takes", "height", "width", "codec")
"""Settings that decide the index of a dataset, and of `synthesize` its clips."""

TIMED_FRAMES = 8


def main() -> None:
    arguments = parse()
    values = config.as_nested(Params.load(profile=arguments.profile, overrides=arguments.overrides))
    wanted = listed(arguments.tables)
    given = [text.partition("=")[0].strip() for text in arguments.overrides]
    of_study = [key.startswith("limited_data") for key in wanted]
    study = bool(of_study) and all(of_study)
    if any(of_study) and not study and arguments.experiments is None:
        raise UserError(
            f"--tables {arguments.tables}: some are of {LIMITED_DATA}, some of {EXPERIMENTS}; run one after the other"
        )
    tables = plan.load(
        ROOT / (arguments.experiments or (LIMITED_DATA if study else EXPERIMENTS)),
        values,
        tables=wanted,
        rows=listed(arguments.rows),
        auxiliary=arguments.auxiliary,
        given=given,
    )
    out = arguments.out or ROOT / Paths.TABLES
    work = ROOT / "runs" / "tables" / config.digest([values[name] for name in INDEX_SECTIONS])[:12]
    comparisons = Comparisons(
        tables=tables,
        seeds=list(range(arguments.seeds)),
        profile=arguments.profile or "params.yaml",
        work=work,
        cells_file=out / "cells.csv",
    )
    base = tables[0].reference.fallback  # with what the file sets for all rows, which may be the dataset
    prepare(comparisons, make=not arguments.no_run)
    failed = 0 if arguments.no_run else run(comparisons, base, arguments)
    write.write(comparisons, base, out / f"{base.datasets[0]}-{comparisons.profile.removesuffix('.yaml')}")
    if failed:
        raise UserError(f"{failed} trainings failed, for the reasons above; the same command tries them again")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--tables", default="", metavar="1,2,f1", help="keys of tables (default: all)")
    parser.add_argument("--rows", default="", metavar="KEY,...", help="keys of rows (default: all)")
    parser.add_argument("--auxiliary", metavar="NAME", help="the additional dataset (default: the file's)")
    parser.add_argument("--seeds", type=positive, default=3, metavar="N", help="trainings a row (default 3)")
    add_worker_arguments(parser)
    parser.add_argument("--no-run", action="store_true", help="train nothing, only write the tables")
    parser.add_argument("--profile", metavar="NAME", help="lay profiles/NAME.yaml over params.yaml")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], dest="overrides")
    parser.add_argument("--experiments", metavar="FILE", help="default: that of experiments/ which has the tables")
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"default {Paths.TABLES}")
    return parser.parse_args()


def listed(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


# Data: indexes, enhancers, enhanced clips; each made once


def prepare(comparisons: Comparisons, *, make: bool) -> None:
    """Finds or makes what every setting needs. What cannot be had is noted as a problem of that setting.

    Raises:
        UserError: when the target itself cannot be had.
    """
    for fingerprint, (row, params) in comparisons.variants().items():
        try:
            comparisons.ready[fingerprint] = clips_for(params, comparisons.work, make=make)
        except UserError as error:
            if row.is_reference:
                raise
            comparisons.problems[fingerprint] = str(error)
            print(f"{row.name}: cannot run: {error}")


def clips_for(params: Params, work: Path, *, make: bool) -> Ready:
    """The enhanced clips of all datasets of `params`, in cache/clips, made unless they are there.

    Raises:
        UserError: when a dataset, its index or what an enhancement learns from is missing.
    """
    paths = indexes_for(params, work, make=make)
    digests = {name: index_digest(paths.read(Paths.index(name)) / "index.csv") for name in params.datasets}
    if params.enhance.method == "enlightengan":
        bright = paths.read(Paths.index(params.enlightengan.normal_light_data)) / "index.csv"
        digests["light frames"] = index_digest(bright) if bright.exists() else params.enlightengan.normal_light_data
    versions = config.digest({**digests, **brought(params, paths)})[:16]
    if not make:
        return Ready(paths=paths, data=versions, frame_seconds=0.0, enhancement=None)
    moved = dict(paths.moved)
    if params.enhance.method in LEARNT:
        moved[Paths.ENHANCER] = enhancer_for(params, paths, digests)
    weights = moved[Paths.ENHANCER] / "weights.safetensors" if params.enhance.method in LEARNT else None
    used_by = {name: enhance.settings(params, name, weights=weights or ROOT) for name in params.datasets}
    for name, used in used_by.items():
        described = {
            "settings": {k: v for k, v in vars(used).items() if k not in ("weights", "device")},
            "weights": weights and hashlib.sha256(weights.read_bytes()).hexdigest(),
            "index": digests[name],
            "code": training_code(),
        }
        store = ROOT / CACHE / "clips" / name / config.digest(described)[:16]
        if not (store / "clips.csv").exists():
            print(f"enhancing {name}: {used.method}{' with flow' if used.flow else ''}", flush=True)
            enhance.enhance(paths, name, used, store)
        moved[Paths.clips(name)] = store
    target = params.datasets[0]
    seconds = timed(used_by[target], paths, target)
    start = None
    if params.train.init_from == Paths.PRETRAINING:
        start = pretraining_for(params, replace(paths, moved=moved), used_by[target])
        moved[Paths.PRETRAINING] = start.folder
    ready = replace(paths, moved=moved)
    return Ready(paths=ready, data=versions, frame_seconds=seconds, enhancement=used_by[target], pretraining=start)


def brought(params: Params, paths: Paths) -> dict[str, Any]:
    """What training begins with, beside clips and settings: weights that were brought along, pictures to pretrain on.

    Raises:
        UserError: when there are no such weights or pictures.
    """
    source = params.train.init_from
    if source is None:
        return {}
    if source == Paths.PRETRAINING:
        own = isinstance(params.pretrain.backgrounds, str)
        return {"paths": pretraining.describe(params, paths)["backgrounds"]} if own else {}
    files = [find_weights(source, paths, fold=fold) for fold in range(params.split.folds)]
    return {"weights": [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]}


def indexes_for(params: Params, work: Path, *, make: bool) -> Paths:
    """Where the indexes of the datasets lie: the pipeline's, or for other settings, or a drawn dataset that the
    pipeline lacks, those made in `work`.

    Raises:
        UserError: when there is none.
    """
    today = Params.load()
    own = config.as_nested(today)
    wanted = config.as_nested(params)
    moved: dict[str, Path] = {}
    needed = [*params.datasets]
    bright = params.enlightengan.normal_light_data
    if params.enhance.method == "enlightengan" and (bright in DRAWN or (ROOT / Paths.raw(bright)).is_dir()):
        needed.append(bright)
    for name in dict.fromkeys(needed):
        drawn_alike = name not in DRAWN or all(own["synthesize"][k] == wanted["synthesize"][k] for k in DRAWING)
        alike = drawn_alike and all(own[section] == wanted[section] for section in INDEX_SECTIONS)
        alike = alike and not any(
            changed_since(f"{stage}@{name}", config.flatten(today), ROOT) for stage in ("synthesize", "prepare")
        )
        is_target = name == params.datasets[0]
        same_role = is_target == (name == own["datasets"][0])
        pipeline = ROOT / Paths.index(name) / "index.csv"
        if alike and same_role and pipeline.exists():
            continue
        versions = {path: md5 for path, md5 in dvc_md5s(ROOT).items() if path == Paths.raw(name)}
        drawing = {k: wanted["synthesize"][k] for k in DRAWING} if name in DRAWN else versions
        key = config.digest([name, is_target, drawing, [wanted[section] for section in INDEX_SECTIONS]])[:12]
        folder = work / "data" / f"{name}-{key}"
        if not (folder / "done").exists():
            if not make:
                raise UserError(
                    f"{folder.relative_to(ROOT)}: the index of {name} was not made for these settings yet; "
                    "leave out --no-run, or make it with: dvc repro"
                )
            make_index(params, name, folder)
        moved[Paths.index(name)] = folder / Paths.index(name)
        if name in DRAWN:
            moved[Paths.raw(name)] = folder / Paths.raw(name)
    return Paths(moved=moved)


def make_index(params: Params, name: str, folder: Path) -> None:
    """Draws a drawn dataset, and indexes the dataset, with these settings.

    Raises:
        UserError: when a stage fails, or an imported dataset is missing.
    """
    if name not in DRAWN and not (ROOT / Paths.raw(name)).is_dir():
        raise UserError(f"{Paths.raw(name)}: no such dataset; python src/import_dataset.py {name} PATH brings it")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    datasets = list(dict.fromkeys([*params.datasets, name]))
    domains: Any = list(dict.fromkeys([*params.synthesize.domains, *([name] if name in DRAWN else [])]))
    used = replace(params, datasets=datasets, synthesize=replace(params.synthesize, domains=domains))
    sections = ("datasets", "synthesize", *INDEX_SECTIONS)
    settings = [
        text
        for key, value in config.flatten(used).items()
        if key.partition(".")[0] in sections
        for text in ("--set", f"{key}={json.dumps(value)}")
    ]
    stages = ["synthesize.py"] if name in DRAWN else []
    for script in [*stages, "prepare.py"]:
        print(f"{script.removesuffix('.py')} {name}, in {folder.relative_to(ROOT)}", flush=True)
        command = [sys.executable, str(ROOT / "src" / script), name, *settings, "--out", str(folder)]
        done = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.DEVNULL)
        if done.returncode != 0:
            raise UserError(f"{script} {name} failed with exit code {done.returncode}")
    (folder / "done").touch()


def enhancer_for(params: Params, paths: Paths, digests: Mapping[str, str]) -> Path:
    """The folder of the enhancer's weights, trained unless it is there."""
    method = params.enhance.method
    nested = config.as_nested(params)
    described: dict[str, Any] = {"method": method, "settings": nested[method], "seed": params.seed}
    described |= {"data": digests[params.datasets[0]], "code": training_code()}
    if "light frames" in digests:
        described["light frames"] = digests["light frames"]
    folder = ROOT / CACHE / "enhancers" / config.digest(described)[:16]
    if not (folder / Paths.ENHANCER / "weights.safetensors").exists():
        print(f"training the enhancement {method}", flush=True)
        train_enhancer.train_enhancer(params, replace(paths, out=folder))
    return folder / Paths.ENHANCER


def pretraining_for(params: Params, paths: Paths, enhancement: Settings) -> Pretraining:
    """The pretraining of these settings, which `run` makes unless it is there.

    Raises:
        UserError: when pretrain.enabled is false.
    """
    if not params.pretrain.enabled:
        raise UserError(f"train.init_from is {Paths.PRETRAINING}, but pretrain.enabled is false")
    out = ROOT / CACHE / "pretraining" / pretraining.identity(params, paths, enhancement)
    moved = {**paths.moved, Paths.PRETRAINING: out / Paths.PRETRAINING}
    return Pretraining(params=params, paths=replace(paths, out=out, moved=moved))


def timed(settings: Settings, paths: Paths, name: str) -> float:
    """Seconds that the enhancement of one raw frame takes, on one thread or GPU."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        enhancer = build_enhancer(settings)
        index = read_index(paths.read(Paths.index(name)))
        path = paths.read(Paths.raw(name)) / str(index[index["status"] == "ok"]["path"].iloc[0])
        frames_NHWC = np.stack(list(islice(iter_frames(path), TIMED_FRAMES)))
        enhancer(frames_NHWC)
        started = time.perf_counter()
        enhancer(frames_NHWC)
        return (time.perf_counter() - started) / len(frames_NHWC)
    finally:
        torch.set_num_threads(threads)


# The cells


def run(comparisons: Comparisons, base: Params, arguments: argparse.Namespace) -> int:
    """Trains every cell that is not on record, after the pretrainings that cells begin with; how many failed."""
    wanted = list(comparisons.missing())
    total = len(comparisons.variants()) * len(comparisons.seeds)
    print(f"{total} cells, {len(wanted)} of them to run", flush=True)
    if not wanted:
        return 0
    names = sorted({ready.data for ready in comparisons.ready.values()})
    parent = config.digest([comparisons.profile, names, training_code()])[:32]
    with parent_run(
        stage="tables",
        params=base,
        paths=Paths(),
        name=f"comparison {comparisons.profile}",
        token=parent,
        varying=("",),
        others_at_work=lambda: False,
    ) as run:
        with start_pool(address=arguments.ray_address, workers=arguments.workers) as pool:
            print(f"{pool.size} workers with {pool.threads} threads", flush=True)
            failed = make_pretrainings(comparisons, pool, wanted)
            failed += make_cells(comparisons, pool, wanted, parent)
        end_killed([], Paths())
        run.describe(f"{len(wanted) - failed} cells made, {failed} failed; {total - len(wanted)} were on record")
    return failed


def make_pretrainings(comparisons: Comparisons, pool: Pool, wanted: Sequence[tuple[str, int]]) -> int:
    """Makes the pretrainings that cells begin with, each once; how many failed. Their settings have a problem then."""
    users: dict[Path, list[str]] = {}
    tasks = []
    for fingerprint in dict.fromkeys(fingerprint for fingerprint, _ in wanted):
        start = comparisons.ready[fingerprint].pretraining
        if start is None or start.folder.exists():
            continue
        if start.folder not in users:
            own = start.folder.relative_to(ROOT).parents[1]
            name = f"pretraining on drawn actions, in {own}"
            child = Child(name="", command=command_line())
            arguments = (start.params, start.paths, start.folder, pool.threads, child)
            tasks.append(Task(key=start.folder, name=name, function=pretrained, arguments=arguments))
        users.setdefault(start.folder, []).append(fingerprint)

    def fail(folder: Path, reason: str) -> None:
        comparisons.problems |= dict.fromkeys(users[folder], f"its pretraining failed: {reason}")

    if tasks:
        print(f"pretrainings to make first: {len(tasks)}; see MLflow's experiment darkaction-pretraining", flush=True)
    return Launcher(pool, tasks, book=lambda folder, outcome: "made", fail=fail).run()


def pretrained(params: Params, paths: Paths, folder: Path, processes: int, child: Child) -> Outcome:
    """Pretrains, in a worker process; one that was stopped goes on where it was."""
    try:
        pretrain.pretrain(params, paths, folder, workers=processes, child=child)
        return Outcome()
    except (KeyboardInterrupt, SystemExit):
        return Outcome(reason=STOPPED)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is the end of this pretraining, not of others
        return Outcome(reason=reason_of(error))


def make_cells(comparisons: Comparisons, pool: Pool, wanted: Sequence[tuple[str, int]], parent: str) -> int:
    """Trains and tests the cells, and puts them on record; how many failed."""
    variants = comparisons.variants()
    tasks = []
    settings: dict[Path, str] = {}
    for fingerprint, seed in wanted:
        if fingerprint in comparisons.problems:
            continue
        row, params = variants[fingerprint]
        job = job_of(comparisons, row, params, seed, parent=parent, threads=pool.threads)
        settings[job.work] = fingerprint
        tasks.append(Task(key=job.work, name=f"{job.name}, seed {seed}", function=run_cell, arguments=(job,)))

    def book(work: Path, outcome: Outcome) -> str:
        cell = outcome.cell
        assert cell is not None
        record.append(comparisons.cells_file, cell)
        return f"{cell.accuracy:.1%} [{cell.low:.1%}, {cell.high:.1%}]"

    def fail(work: Path, reason: str) -> None:
        comparisons.problems[settings[work]] = reason

    return Launcher(pool, tasks, book=book, fail=fail).run()


def job_of(comparisons: Comparisons, row: Row, params: Params, seed: int, *, parent: str, threads: int) -> Job:
    """What a worker needs for a cell."""
    fingerprint = plan.fingerprint(params)
    ready = comparisons.ready[fingerprint]
    init = params.train.init_from
    return Job(
        row=row.key,
        name=row.key,
        profile=comparisons.profile,
        params=with_seed(replace(params, train=replace(params.train, devices=1)), seed),
        settings=fingerprint,
        data=ready.data,
        code=training_code(),
        inits=tuple(
            None if init is None else find_weights(init, ready.paths, fold=fold) for fold in range(params.split.folds)
        ),
        paths=ready.paths,
        work=comparisons.work / "cells" / f"{fingerprint}-{ready.data}-{seed}",
        frame_seconds=ready.frame_seconds,
        threads=threads,
        parent=parent,
        command=command_line(),
    )


if __name__ == "__main__":
    cli.run(main)
