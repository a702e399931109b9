"""What trainings with given settings read: indexes, the enhancer, enhanced clips, pretrained weights.

Each is made once, in cache/, and found again by the identity of what decides it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from darkaction.core import config
from darkaction.core.errors import UserError, reason_of
from darkaction.core.parallel import Processes
from darkaction.core.paths import ROOT, Paths
from darkaction.core.processes import only_one, usable_processors
from darkaction.core.provenance import changed_since, command_line, dvc_md5s, index_digest
from darkaction.data.prepare import prepare
from darkaction.data.settings import SYNTHETIC
from darkaction.enhancement import LEARNT
from darkaction.enhancement.apply import Settings
from darkaction.jobs.enhancer import apply as enhancing
from darkaction.jobs.enhancer.training import train_enhancer
from darkaction.jobs.identity import (
    identity,
    index_digests,
    index_settings,
    measure_fingerprint,
    sha256,
    synthetic_fingerprint,
    training_code,
)
from darkaction.jobs.job import COMPLETE, FAILED, STOPPED, Outcome
from darkaction.jobs.launcher import Task
from darkaction.jobs.recognizer import pretraining
from darkaction.jobs.recognizer.pretrain import pretrain
from darkaction.jobs.recognizer.train import starting_weights
from darkaction.params import Params
from darkaction.synthetic.dataset import synthesize
from darkaction.tracking.runs import Child

CACHE = "cache"
"""Everything that is made here; safe to delete."""

INDEX_SECTIONS = ("seed", "data", "video", "prepare", "split")
GENERATOR = ("scenes", "takes", "height", "width", "codec", "shifted", "usual")
"""Settings that decide the index of a dataset, and those of `synthesize` that decide its clips."""


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """The pretrained weights that some settings begin with, made or not."""

    params: Params
    paths: Paths

    @property
    def folder(self) -> Path:
        return self.paths.moved[Paths.PRETRAINING]


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Where the inputs of some settings lie, and what they are."""

    paths: Paths
    versions: str  # identifies the clips and whatever else a training begins with
    enhancement: Settings | None  # of the target; None where nothing was made
    pretraining: Pretraining | None = None  # that the settings begin with

    def for_seed(self, seed: int) -> "Inputs":
        """The same for another seed of the training, which begins with a pretraining of its own: other synthetic
        clips, other initial weights."""
        if self.pretraining is None or self.enhancement is None:
            return self
        params = replace(self.pretraining.params, seed=seed)
        start = _pretraining_for(params, self.paths, self.enhancement)
        moved = {**self.paths.moved, Paths.PRETRAINING: start.folder}
        return replace(self, paths=replace(self.paths, moved=moved), pretraining=start)


def inputs_for(params: Params, *, make: bool) -> Inputs:
    """The inputs of trainings with these settings, made unless they are there; a pretraining is only named.

    Args:
        make: false to find out what they are: indexes are made, enhanced clips are not.

    Raises:
        UserError: when a dataset, its index or what an enhancement learns from is missing.
    """
    paths = indexes_for(params)
    digests = index_digests(params.datasets, paths)
    if params.enhance.method == "enlightengan":
        light = paths.read(Paths.index(params.enlightengan.normal_light_data)) / "index.csv"
        digests["light frames"] = index_digest(light) if light.exists() else params.enlightengan.normal_light_data
    versions = identity({}, inputs={**digests, **_given_weights(params, paths)})
    if not make:
        return Inputs(paths=paths, versions=versions, enhancement=None)
    moved = dict(paths.moved)
    if params.enhance.method in LEARNT:
        moved[Paths.ENHANCER] = _enhancer_for(params, paths, digests)
    weights = moved[Paths.ENHANCER] / "weights.safetensors" if params.enhance.method in LEARNT else None
    used_by = {name: enhancing.settings(params, name, weights=weights or ROOT) for name in params.datasets}
    for name, used in used_by.items():
        moved[Paths.clips(name)] = _clips_for(name, used, paths, index=digests[name], weights=weights)
    target = used_by[params.datasets[0]]
    start = None
    if params.train.init_from == Paths.PRETRAINING:
        start = _pretraining_for(params, replace(paths, moved=moved), target)
        moved[Paths.PRETRAINING] = start.folder
    return Inputs(paths=replace(paths, moved=moved), versions=versions, enhancement=target, pretraining=start)


def _given_weights(params: Params, paths: Paths) -> dict[str, Any]:
    """The weights that trainings begin with, but for those that are pretrained for them.

    Raises:
        UserError: when there are no such weights.
    """
    if params.train.init_from in (None, Paths.PRETRAINING):
        return {}
    return {"weights": [sha256(path) for own in starting_weights(params, paths) for path in own if path is not None]}


def indexes_for(params: Params) -> Paths:
    """Where the indexes of the datasets lie: the pipeline's, or, for other settings or a synthetic dataset that the
    pipeline lacks, those made here.

    Raises:
        UserError: when there is none.
    """
    today = Params.load()
    own, wanted = config.as_nested(today), config.as_nested(params)
    moved: dict[str, Path] = {}
    for name in _indexed(params):
        alike = name not in SYNTHETIC or all(own["synthesize"][k] == wanted["synthesize"][k] for k in GENERATOR)
        alike = alike and all(own[section] == wanted[section] for section in INDEX_SECTIONS)
        alike = alike and not any(
            changed_since(f"{stage}@{name}", config.flatten(today), ROOT) for stage in ("synthesize", "prepare")
        )
        is_target = name == params.datasets[0]
        same_role = is_target == (name == own["datasets"][0])
        if alike and same_role and (ROOT / Paths.index(name) / "index.csv").exists():
            continue
        versions = {path: md5 for path, md5 in dvc_md5s(ROOT).items() if path == Paths.raw(name)}
        clips = {k: wanted["synthesize"][k] for k in GENERATOR} if name in SYNTHETIC else versions
        settings = {section: wanted[section] for section in INDEX_SECTIONS}
        key = identity(settings, inputs={"dataset": name, "is target": is_target, "clips": clips})
        folder = ROOT / CACHE / "indexes" / f"{name}-{key}"
        if not (folder / "done").exists():
            with only_one(folder.with_name(f"{folder.name}.lock"), task=f"the indexing of {name}"):
                if not (folder / "done").exists():
                    _make_index(params, name, folder)
        moved[Paths.index(name)] = folder / Paths.index(name)
        if name in SYNTHETIC:
            moved[Paths.raw(name)] = folder / Paths.raw(name)
    return Paths(moved=moved)


def _indexed(params: Params) -> list[str]:
    """The datasets of some settings, and the one that their enhancement learns normal light from."""
    light = params.enlightengan.normal_light_data
    is_dataset = light in SYNTHETIC or (ROOT / Paths.raw(light)).is_dir()
    lights = [light] if params.enhance.method == "enlightengan" and is_dataset else []
    return list(dict.fromkeys([*params.datasets, *lights]))


def _make_index(params: Params, name: str, folder: Path) -> None:
    """Makes the clips of a synthetic dataset, and indexes the dataset, with these settings.

    Raises:
        UserError: when too many clips cannot be used, or an imported dataset is missing.
    """
    if name not in SYNTHETIC and not (ROOT / Paths.raw(name)).is_dir():
        raise UserError(f"{Paths.raw(name)}: no such dataset; python src/import_dataset.py {name} PATH brings it")
    index, raw = folder / Paths.index(name), ROOT / Paths.raw(name)
    index.parent.mkdir(parents=True, exist_ok=True)
    print(f"index of {name}, in {folder.relative_to(ROOT)}", flush=True)
    classes, seed, mapper = params.data.classes, params.seed, Processes(usable_processors())
    if name in SYNTHETIC:
        raw = folder / Paths.raw(name)
        raw.parent.mkdir(parents=True, exist_ok=True)
        own = synthetic_fingerprint(params)
        synthesize(name, params.synthesize, classes=classes, seed=seed, target=raw, mapper=mapper, fingerprint=own)
    prepare(
        raw,
        index,
        dataset=name,
        target=name == params.datasets[0],
        classes=classes,
        limits=params.video,
        section=params.prepare,
        split=params.split,
        seed=seed,
        made_with=index_settings(params, also=(name,))[name],
        mapper=mapper,
        fingerprint=measure_fingerprint(params),
    )
    (folder / "done").touch()


def _enhancer_for(params: Params, paths: Paths, digests: Mapping[str, str]) -> Path:
    """The folder of the enhancer's weights, trained unless it is there."""
    method = params.enhance.method
    settings = {"method": method, "seed": params.seed, "settings": config.as_nested(params)[method]}
    learned_from = [digests[params.datasets[0]], digests.get("light frames")]
    key = identity(settings, inputs={"clips": learned_from}, code=training_code())
    folder = ROOT / CACHE / "enhancers" / key
    if not (folder / Paths.ENHANCER / "weights.safetensors").exists():
        print(f"training the enhancement {method}", flush=True)
        train_enhancer(params, replace(paths, out=folder))
    return folder / Paths.ENHANCER


def _clips_for(name: str, used: Settings, paths: Paths, *, index: str, weights: Path | None) -> Path:
    """The clip store of a dataset, made unless it is there."""
    settings = {key: value for key, value in vars(used).items() if key not in ("weights", "device")}
    sources = {"index": index, "weights": weights and sha256(weights)}
    store = ROOT / CACHE / "clips" / name / identity(settings, inputs=sources, code=training_code())
    if not (store / "clips.csv").exists():
        print(f"enhancing {name}: {used.method}{' with flow' if used.flow else ''}", flush=True)
        enhancing.enhance(paths, name, used, store)
    return store


def _pretraining_for(params: Params, paths: Paths, enhancement: Settings) -> Pretraining:
    """The pretraining of these settings.

    Raises:
        UserError: when pretrain.enabled is false.
    """
    if not params.pretrain.enabled:
        raise UserError(f"train.init_from is {Paths.PRETRAINING}, but pretrain.enabled is false")
    several = f"-{params.train.members}" if params.train.members > 1 else ""
    out = ROOT / CACHE / "pretraining" / f"{pretraining.identity(params, enhancement)}{several}"
    moved = {**paths.moved, Paths.PRETRAINING: out / Paths.PRETRAINING}
    return Pretraining(params=params, paths=replace(paths, out=out, moved=moved))


def pretraining_task(start: Pretraining, *, processes: int) -> Task:
    """The pretraining that a search or comparison begins with, as a task for a worker."""
    own = start.folder.relative_to(ROOT).parents[1]
    child = Child(name="", command=command_line())
    return Task(
        key=start.folder,
        name=f"synthetic pretraining, in {own}",
        function=_pretrain_in_worker,
        arguments=(start, processes, child),
    )


def _pretrain_in_worker(start: Pretraining, processes: int, child: Child) -> Outcome:
    """A pretraining that was stopped goes on where it was."""
    try:
        pretrain(start.params, start.paths, start.folder, workers=processes, child=child)
        return Outcome(state=COMPLETE)
    except (KeyboardInterrupt, SystemExit):
        return Outcome(state=STOPPED)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is the end of this pretraining, not of others
        return Outcome(state=FAILED, reason=reason_of(error))
