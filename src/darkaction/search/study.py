"""A study: its budget, its trials on their way from a slot to a score, and the launchers that work on it."""

import contextlib
import math
import os
import time
import uuid
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import psutil
from optuna.distributions import FloatDistribution
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from darkaction.core import config
from darkaction.core.errors import UserError
from darkaction.core.processes import is_alive, machine
from darkaction.core.provenance import code_digest
from darkaction.core.redact import without_credentials
from darkaction.search import figures
from darkaction.search.naming import find, made_with, settings_of
from darkaction.search.settings import SearchParams
from darkaction.search.space import baseline, category, plain, rounded, suggest
from darkaction.search.storage import connect, patiently

LAUNCHER_GONE = 60.0
"""Seconds without a sign of life after which a launcher on another machine counts as gone."""

DIED, INTERRUPTED = "died", "interrupted"
"""Why a trial is lost: its process died (its slot is filled again once), or it was stopped (filled again always)."""

TRIES = 2


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A trial to run: its number and id in the storage, and the values drawn, under their dotted keys."""

    number: int
    trial_id: int
    values: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A trial that was trained to the end: its score, the values drawn, and, seed after seed, whether each validation
    clip (in the order of clip ids) was named rightly."""

    number: int
    score: float
    values: dict[str, Any]
    right: list[bool]


class Search:
    """A study, its budget and its trials. Made by `create` and `join`."""

    def __init__(self, study: optuna.Study, params: SearchParams, *, fresh: bool) -> None:
        self._params = params
        self._settings = config.flatten(params)
        self._storage = study._storage
        self._launcher = uuid.uuid4().hex[:12]
        self._beats: dict[str, tuple[Any, float]] = {}
        self._looked = time.monotonic()
        study.pruner = _pruner(params)
        # Only the first launcher draws what the seed says: a second one, or a later one, would draw the same again.
        study.sampler = _sampler(params, extra=0 if fresh else int(self._launcher, 16))
        self._study = study

    @property
    def name(self) -> str:
        return self._study.study_name

    @property
    def token(self) -> str:
        """By which the run of the search is known in MLflow's store."""
        return str(self._study.user_attrs["token"])

    # Budget

    @patiently
    def fill(self, budget: int) -> None:
        """Enqueues what the slots of the budget lack."""
        slots = self._slots()
        for number in range(budget):
            trials = slots.get(number, [])
            lost = [trial for trial in trials if _is_lost(trial)]
            begun = [trial for trial in lost if trial.user_attrs["lost"] in (DIED, INTERRUPTED)]
            if len(lost) < len(trials) or _tries(lost) >= TRIES:
                continue
            if begun:
                self._study.enqueue_trial(_drawn(begun[-1]), user_attrs={"slot": number, "retry_of": begun[-1].number})
            else:
                first = {key: category(value) for key, value in baseline(self._params).items()}
                self._study.enqueue_trial(first if number == 0 else {}, user_attrs={"slot": number})

    @patiently
    def claim(self, budget: int) -> Claim | None:
        """The next trial of the budget that nobody runs, now this launcher's; None when there is none."""
        for number, trials in sorted(self._slots().items()):
            live = [trial for trial in trials if not _is_lost(trial)]
            for extra in live[1:]:  # two launchers filled the slot at once
                self._set_state(extra, TrialState.FAIL, lost="filled twice")
            if not live or number >= budget or live[0].state != TrialState.WAITING:
                continue
            if self._set_state(live[0], TrialState.RUNNING):
                return self._draw(live[0])
        return None

    @patiently
    def _draw(self, trial: FrozenTrial) -> Claim:
        self._storage.set_trial_user_attr(trial._trial_id, "launcher", self._identity_of_launcher())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            values = suggest(optuna.Trial(self._study, trial._trial_id), self._params.tune.space, self._settings)
        return Claim(number=trial.number, trial_id=trial._trial_id, values=values)

    @patiently
    def progress(self, budget: int) -> Counter[str]:
        """How many slots of the budget are complete, pruned, failed, running, waiting."""
        slots = self._slots()
        return Counter(_state_of(slots.get(number, [])) for number in range(budget))

    def _slots(self) -> dict[int, list[FrozenTrial]]:
        """The trials of each slot, the oldest first."""
        slots: dict[int, list[FrozenTrial]] = {}
        for trial in sorted(self._study.get_trials(deepcopy=False), key=lambda trial: trial.number):
            if "slot" in trial.user_attrs:
                slots.setdefault(trial.user_attrs["slot"], []).append(trial)
        return slots

    # Signs of life

    @patiently
    def beat(self) -> None:
        """Shows the others that this launcher lives."""
        self._study.set_user_attr(f"launcher.{self._launcher}", time.time())

    @patiently
    def reconcile(self) -> list[FrozenTrial]:
        """Gives up the running trials of launchers that are gone; which ones."""
        gone = []
        attributes = self._study.user_attrs
        if time.monotonic() - self._looked > LAUNCHER_GONE / 2:  # nobody could beat while the storage was away
            self._beats.clear()
        self._looked = time.monotonic()
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            owner = trial.user_attrs.get("launcher", {"id": f"unknown{trial.number}", "host": None})
            if owner["id"] != self._launcher and self._is_gone(owner, attributes):
                self.lose(trial._trial_id, DIED, "its launcher is gone")
                gone.append(trial)
        return gone

    def has_company(self) -> bool:
        """Whether other launchers run trials."""
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return any(trial.user_attrs.get("launcher", {"id": None})["id"] != self._launcher for trial in running)

    def release(self, reason: str) -> None:
        """Gives up all trials of this launcher that still run; their slots stay open. Tries once: where the storage is
        away too, the next launcher finds that this one is gone."""
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial.user_attrs.get("launcher", {"id": None})["id"] == self._launcher:
                for key, value in (("lost", INTERRUPTED), ("reason", reason)):
                    self._storage.set_trial_user_attr(trial._trial_id, key, value)
                self._tell(trial._trial_id, TrialState.FAIL, None)

    def _is_gone(self, owner: Mapping[str, Any], attributes: Mapping[str, Any]) -> bool:
        if owner["host"] == machine():
            return not is_alive(owner["pid"], owner["started"])
        beat = attributes.get(f"launcher.{owner['id']}")
        last, since = self._beats.setdefault(owner["id"], (beat, time.monotonic()))
        if beat != last:
            self._beats[owner["id"]] = (beat, time.monotonic())
            return False
        return time.monotonic() - since > LAUNCHER_GONE

    def _identity_of_launcher(self) -> dict[str, Any]:
        process = psutil.Process(os.getpid())
        return {
            "id": self._launcher,
            "host": machine(),
            "pid": process.pid,
            "started": process.create_time(),
        }

    # A trial's way to its end

    @patiently
    def note(self, trial_id: int, **attributes: Any) -> None:
        """Adds attributes to a trial that runs."""
        for key, value in attributes.items():
            with contextlib.suppress(UpdateFinishedTrialError):
                self._storage.set_trial_user_attr(trial_id, key, value)

    @patiently
    def report(self, trial_id: int, step: int, value: float) -> bool:
        """Records a score after so many epochs (or seeds); whether the pruner says to stop. The first trial, with the
        values of params.yaml, is never stopped: all others are compared with it."""
        self._storage.set_trial_intermediate_value(trial_id, step, value)
        trial = self._storage.get_trial(trial_id)
        return self._study.pruner.prune(self._study, trial) and trial.user_attrs.get("slot") != 0

    @patiently
    def complete(self, trial_id: int, score: float, right: Sequence[bool]) -> None:
        """Ends a trial with its score."""
        self.note(trial_id, right="".join(str(int(value)) for value in right))
        self._tell(trial_id, TrialState.COMPLETE, score)

    @patiently
    def prune(self, trial_id: int) -> None:
        """Ends a trial that the pruner stopped."""
        self._tell(trial_id, TrialState.PRUNED, None)

    @patiently
    def fail(self, trial_id: int, reason: str) -> None:
        """Ends a trial that went wrong by itself."""
        self.note(trial_id, reason=reason)
        self._tell(trial_id, TrialState.FAIL, None)

    @patiently
    def lose(self, trial_id: int, why: str, reason: str) -> str | None:
        """Gives up a trial, if it still runs, whose process is gone (DIED) or was stopped (INTERRUPTED); the id of its
        MLflow run, where it had one."""
        trial = self._storage.get_trial(trial_id)
        if not trial.state.is_finished():
            self.note(trial_id, lost=why, reason=reason)
            self._tell(trial_id, TrialState.FAIL, None)
        return trial.user_attrs.get("mlflow_run")

    def _tell(self, trial_id: int, state: TrialState, value: float | None) -> None:
        number = self._storage.get_trial(trial_id).number
        # Someone who took this process for dead may have ended the trial already; then that holds.
        with contextlib.suppress(UpdateFinishedTrialError, ValueError):
            self._study.tell(number, values=value, state=state)

    def _set_state(self, trial: FrozenTrial, state: TrialState, lost: str | None = None) -> bool:
        """Changes the state of a waiting trial; false when another launcher was faster."""
        try:
            if lost is not None:
                self._storage.set_trial_user_attr(trial._trial_id, "lost", lost)
            return self._storage.set_trial_state_values(trial._trial_id, state=state)
        except UpdateFinishedTrialError:
            return False

    # Results

    @patiently
    def scored(self) -> list[Scored]:
        """The trials trained to the end, the best first."""
        done = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        found = [
            Scored(
                number=trial.number,
                score=float(trial.value or 0.0),
                values=_values(trial),
                right=[digit == "1" for digit in trial.user_attrs.get("right", "")],
            )
            for trial in done
        ]
        return sorted(found, key=lambda trial: (-trial.score, trial.number))

    @patiently
    def first(self) -> Scored | None:
        """The trial with the values of params.yaml, if it has ended well."""
        numbers = {trial.number for trial in self._slots().get(0, [])}
        return next((trial for trial in self.scored() if trial.number in numbers), None)

    @patiently
    def compared(self) -> int:
        """How many trials the best was chosen from: all that were trained to the end, or stopped as worse."""
        return len(self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)))

    @patiently
    def table(self) -> pd.DataFrame:
        """One row a trial: number, state, score, reports, times, values, why it ended."""
        rows = []
        for trial in self._study.get_trials(deepcopy=False):
            seconds = trial.duration.total_seconds() if trial.duration else math.nan
            row = {"number": trial.number, "state": trial.state.name.lower(), "score": trial.value}
            row |= {"steps": len(trial.intermediate_values), "seconds": round(seconds, 1)}
            row |= {"started": trial.datetime_start, "ended": trial.datetime_complete}
            row |= {key: _values(trial).get(key) for key in (d.key for d in self._params.tune.space)}
            row |= {key: trial.user_attrs.get(key) for key in ("reason", "retry_of", "mlflow_run")}
            rows.append(row)
        return pd.DataFrame(rows)

    @patiently
    def importances(self) -> dict[str, float]:
        """Share of each setting in the variance of the score; empty where there is too little."""
        return figures.importances(self._study)

    def draw(self, folder: Path) -> None:
        """Pictures of the search, as far as there is enough to draw (see `figures.draw`)."""
        figures.draw(self._study, folder, settings=len(self._params.tune.space))


def create(url: str, name: str, params: SearchParams, *, data: str, arguments: str) -> "Search":
    """A new study.

    Args:
        data: identifies the clips and their split.
        arguments: --profile and --set with which it is made, for whoever looks for it.

    Raises:
        UserError: when there is one of that name.
    """
    storage = connect(url)
    try:
        study = optuna.create_study(study_name=name, storage=storage, direction="maximize")
    except DuplicatedStudyError:
        study = optuna.load_study(study_name=name, storage=storage)
        if "settings" not in study.user_attrs and not study.get_trials():  # its maker was killed before it was whole
            return _made(study, params, data, arguments)
        raise UserError(
            f"there is a study '{name}' in {without_credentials(url)}: --resume to go on with it, "
            "--study NAME for another one"
        ) from None
    return _made(study, params, data, arguments)


def _made(study: optuna.Study, params: SearchParams, data: str, arguments: str) -> "Search":
    study.set_user_attr("token", uuid.uuid4().hex)
    study.set_user_attr("arguments", arguments)
    study.set_user_attr("settings", identity(params, data))  # last: what has it is whole
    return Search(study, params, fresh=True)


def join(url: str, name: str, params: SearchParams, *, data: str) -> "Search":
    """The study of that name.

    Raises:
        UserError: when there is none, or it was made with other settings, data or space.
    """
    study = find(url, name)
    own, theirs = identity(params, data), study.user_attrs.get("settings")
    if theirs is None:
        raise UserError(f"the study '{name}' was not made by this program, or not whole: --study NAME for another one")
    for key in sorted(own.keys() | theirs.keys()):
        if own.get(key) != theirs.get(key):
            raise UserError(
                f"the study '{name}' was made with {key} = {theirs.get(key)}, and {key} is {own.get(key)}: "
                f"take that back, or --study NAME for another one (it was made with: {made_with(study)})"
            )
    return Search(study, params, fresh=False)


def identity(params: SearchParams, data: str) -> dict[str, str]:
    """Whatever two launchers of one study must agree on."""
    return settings_of(params) | {"data": data, "code": own_code()}


@lru_cache(maxsize=1)
def own_code() -> str:
    """Identifies the code that this process runs: kept, so that an edit while it runs changes nothing."""
    return code_digest()[:16]


def _is_lost(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL and "lost" in trial.user_attrs


def _tries(lost: Sequence[FrozenTrial]) -> int:
    return sum(trial.user_attrs["lost"] == DIED for trial in lost)


def _state_of(trials: Sequence[FrozenTrial]) -> str:
    """Of a slot: complete, pruned, failed, running or waiting."""
    live = [trial for trial in trials if not _is_lost(trial)]
    if live:
        return {TrialState.FAIL: "failed"}.get(live[0].state, live[0].state.name.lower())
    return "failed" if _tries(trials) >= TRIES else "waiting"


def _drawn(trial: FrozenTrial) -> dict[str, Any]:
    """The values to enqueue so that a trial is repeated: drawn ones, or those it was enqueued with itself."""
    return dict(trial.params) or dict(trial.system_attrs.get("fixed_params", {}))


def _values(trial: FrozenTrial) -> dict[str, Any]:
    """The values a trial was trained with."""
    values = {key: plain(value) for key, value in trial.params.items()}
    if "batch_size_used" in trial.user_attrs:  # memory did not suffice for the one that was drawn
        values["train.batch_size"] = trial.user_attrs["batch_size_used"]
    drawn = {key for key, distribution in trial.distributions.items() if isinstance(distribution, FloatDistribution)}
    return {key: rounded(value) if key in drawn else value for key, value in values.items()}


def _sampler(params: SearchParams, *, extra: int) -> optuna.samplers.BaseSampler:
    """The sampler of `tune.sampler`. What it cannot draw jointly (a range that depends on another setting) is drawn for
    itself, which is no reason to warn."""
    seed = int(np.random.SeedSequence([params.seed, extra]).generate_state(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if params.tune.sampler == "tpe":
            return optuna.samplers.TPESampler(
                multivariate=True,
                group=any(dimension.when for dimension in params.tune.space),
                constant_liar=True,
                seed=seed,
            )
        if params.tune.sampler == "gp":
            return optuna.samplers.GPSampler(seed=seed, warn_independent_sampling=False)
        if params.tune.sampler == "qmc":
            return optuna.samplers.QMCSampler(seed=params.seed, warn_independent_sampling=False, scramble=True)
    return optuna.samplers.RandomSampler(seed=seed)


def _pruner(params: SearchParams) -> optuna.pruners.BasePruner:
    """The pruner of `tune.pruner`."""
    tune, epochs = params.tune, params.train.epochs
    if tune.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(
            min_resource=min(tune.min_epochs, epochs), max_resource=epochs, reduction_factor=3
        )
    if tune.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=tune.min_epochs)
    if tune.pruner == "wilcoxon":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.pruners.WilcoxonPruner(p_threshold=0.1)
    return optuna.pruners.NopPruner()
