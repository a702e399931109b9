"""A whole search: its clips, its study, its trials on workers, its results."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from darkaction.core import config
from darkaction.core.errors import UserError
from darkaction.core.paths import ROOT, Paths
from darkaction.core.provenance import changed_since, command_line
from darkaction.enhancement.apply import Settings
from darkaction.evaluation.comparison import Comparison
from darkaction.jobs.enhancer import apply as enhancing
from darkaction.jobs.identity import training_code
from darkaction.jobs.inputs import Inputs, inputs_for, pretraining_task
from darkaction.jobs.job import Job, Observer, clips_identity
from darkaction.jobs.launcher import Tasks, launch
from darkaction.jobs.pool import Pool, start_pool
from darkaction.jobs.recognizer.train import starting_weights
from darkaction.search import results, studies
from darkaction.search.confirmation import confirm
from darkaction.search.settings import SearchParams
from darkaction.search.space import check_space, pretrains
from darkaction.search.storage import address, connect
from darkaction.search.study import Scored, Search
from darkaction.search.trials import Trials
from darkaction.tracking.delivery import end_killed
from darkaction.tracking.runs import parent_run

CLIP_SECTIONS = ("datasets", "data", "synthesize", "video", "prepare", "split", "zero_dce", "enlightengan", "enhance")
"""Another `seed` alone trains differently on the same clips."""

PRETRAINING_SECTIONS = ("sampling", "augmentation", "model", "bert", "focal", "pretrain")
"""What decides the pretraining that trials begin with, beside the clips."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked of a search on the command line; None: what the settings say."""

    profile: str | None
    overrides: Sequence[str]
    storage: str | None
    study: str | None
    trials: int | None
    timeout: int | None
    workers: int | None
    gpus_per_worker: float
    ray_address: str | None
    out: Path
    resume: bool
    create: bool
    exists: bool
    apply: bool
    force: bool

    @property
    def settings_text(self) -> str:
        """--profile and --set as a person types them; empty without."""
        return studies.arguments_text(self.profile, self.overrides)


def search(params: SearchParams, asked: Request) -> None:
    """Searches, or does what else is asked of a study.

    Args:
        params: the settings with the profile and the overrides that are asked for.

    Raises:
        UserError: naming what cannot be done, before anything that takes time.
    """
    if asked.apply and asked.settings_text:
        raise UserError(
            "--apply writes into params.yaml, so it goes with params.yaml as it stands: no --profile, --set. With "
            f"these settings: python src/configure.py {asked.settings_text}; dvc repro; python src/tune.py; then "
            "--resume --apply"
        )
    if params.train.members > 1:
        print(f"train.members is {params.train.members}; a trial trains one network")
    params = replace(params, train=replace(params.train, devices=1, nodes=1, members=1))  # a trial has one device
    check(params)
    storage = address(asked.storage)
    connect(storage)
    name = asked.study or studies.chosen(storage, asked.profile, asked.overrides, params)
    if asked.exists or asked.resume:
        studies.find(storage, name)
    if asked.exists:
        return
    inputs = prepared(params)
    template = job_template(params, inputs)
    if asked.resume:
        study = studies.join(storage, name, params, data=template.clips)
    else:
        study = studies.create(storage, name, params, data=template.clips, arguments=asked.settings_text)
    _run(study, params, inputs, template, storage, asked)
    if not asked.apply:
        return

    def confirmed(highest: Scored) -> Comparison:
        inits = starting_weights(params, inputs.paths) if template.enhancement is None else []
        job = replace(template, parent=study.token, inits=inits)
        return confirm(
            highest,
            params,
            job,
            workers=asked.workers,
            ray_address=asked.ray_address,
            gpus_per_worker=asked.gpus_per_worker,
        )

    results.apply(study, params, template.paths, force=asked.force, confirm=confirmed)


def _run(study: Search, params: SearchParams, inputs: Inputs, template: Job, storage: str, asked: Request) -> None:
    """Runs the trials within the budget and reports what was found."""
    budget = asked.trials or params.tune.trials
    deadline = None if asked.timeout is None else time.monotonic() + asked.timeout
    study.fill(budget)
    with parent_run(
        stage="tune",
        params=params,
        paths=template.paths,
        name=study.name,
        token=study.token,
        varying=studies.FREE,
        others_at_work=study.has_company,
    ) as run:
        if asked.create:
            print(f"made the study '{study.name}' with {budget} trials to run; --resume runs them")
            return
        with start_pool(address=asked.ray_address, workers=asked.workers, gpu=asked.gpus_per_worker) as pool:
            print(f"study '{study.name}': {budget} trials, {pool.size} workers with {pool.threads} threads")
            _pretrain(inputs, pool)
            inits = starting_weights(params, inputs.paths) if template.enhancement is None else []
            job = replace(template, parent=study.token, threads=pool.threads, inits=inits)
            trials = Trials(study, params, storage=storage, template=job, budget=budget, deadline=deadline)
            with trials.heartbeats():
                launch(pool, trials)
        end_killed([], template.paths)
        results.report(study, params, template.paths, budget, run, asked.out)


def check(params: SearchParams) -> None:
    """Refuses settings that cannot be searched.

    Raises:
        UserError: naming the setting.
    """
    if params.split.folds != 1:
        raise UserError("split.folds is 2: each half is tested, so no clip is left to search on; set split.folds to 1")
    if params.split.validation == "none":
        raise UserError("split.validation is none, and a search needs validation clips: scene or take")
    if pretrains(params) and not (params.pretrain.enabled and params.train.init_from == Paths.PRETRAINING):
        raise UserError(
            f"tune.space searches settings of pretrain, which needs pretrain.enabled: true and train.init_from: "
            f"{Paths.PRETRAINING}"
        )
    check_space(params)


def prepared(params: SearchParams) -> Inputs:
    """Where the clips lie: those of the pipeline, or, where the settings ask for others, those made for them.

    Raises:
        UserError: when the pipeline's are missing or out of date, or others cannot be made.
    """
    today = SearchParams.load()
    own, wanted = config.as_nested(today), config.as_nested(params)
    pretrained = params.train.init_from == Paths.PRETRAINING and not pretrains(params)
    sections = CLIP_SECTIONS + (PRETRAINING_SECTIONS if pretrained else ())
    if any(own[section] != wanted[section] for section in sections):
        begun = params if pretrained else replace(params, train=replace(params.train, init_from=None))
        return inputs_for(begun, make=True)
    paths = Paths()
    stages = ["train_enhancer", *(f"{stage}@{name}" for name in params.datasets for stage in ("prepare", "enhance"))]
    for stage in [*stages, *(["pretrain"] if pretrained else [])]:
        if changed := changed_since(stage, config.flatten(today), ROOT):
            raise UserError(f"{', '.join(changed)}: not what stage {stage} ran with; dvc repro first")
    for dataset in params.datasets:
        if not paths.read(Paths.clips(dataset)).exists():
            raise UserError(f"{paths.read(Paths.clips(dataset))}: no such folder; dvc repro makes the clips")
    return Inputs(paths=paths, versions="", enhancement=None)


def job_template(params: SearchParams, inputs: Inputs) -> Job:
    """What the jobs of all trials have in common."""
    enhancement: Settings | None = None
    if pretrains(params):
        weights = inputs.paths.read(Paths.ENHANCER) / "weights.safetensors"
        enhancement = enhancing.settings(params, params.datasets[0], weights=weights)
    elif inputs.pretraining is None:
        starting_weights(params, inputs.paths)  # are there, or that is said before workers start
    return Job(
        name="",
        stage="trial",
        params=params,
        paths=inputs.paths,
        clips=clips_identity(params, inputs.paths),
        code=training_code(),
        score=("val",),
        observer=Observer(),
        inits=(),
        enhancement=enhancement,
        seeds=params.tune.seeds,
        command=command_line(),
    )


def _pretrain(inputs: Inputs, pool: Pool) -> None:
    """Makes the pretraining that all trials begin with, unless it is there.

    Raises:
        UserError: when it fails.
    """
    start = inputs.pretraining
    if start is None or start.folder.exists():
        return
    failures: list[str] = []
    task = pretraining_task(start, processes=pool.threads)
    launch(pool, Tasks([task], complete=lambda *_: "made", fail=lambda _, reason: failures.append(reason)))
    if failures:
        raise UserError(f"{task.name} failed: {failures[0]}")
