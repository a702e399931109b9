"""A study: its budget, its trials on their way from a slot to a score, and the launchers that work on it."""

import contextlib
import math
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.distributions import FloatDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from darkaction.core import config
from darkaction.search import figures
from darkaction.search.launchers import Launchers
from darkaction.search.samplers import make_pruner, make_sampler
from darkaction.search.settings import SearchParams
from darkaction.search.space import baseline, category, plain, rounded, suggest
from darkaction.search.storage import retry

DIED, INTERRUPTED = "died", "interrupted"
"""Why a trial is lost: its process died (its slot is filled again once), or it was stopped (filled again always)."""

TRIES = 2


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A trial to run: its number and id in the storage, and the values sampled, under their dotted keys."""

    number: int
    trial_id: int
    values: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A trial that was trained to the end: its score, the values sampled, and, seed after seed, whether each validation
    clip (in the order of clip ids) was classified correctly."""

    number: int
    score: float
    values: dict[str, Any]
    right: list[bool]


class Search:
    """A study, its budget and its trials. Made by `studies.create` and `studies.join`."""

    def __init__(self, study: optuna.Study, params: SearchParams, *, fresh: bool) -> None:
        self._params = params
        self._settings = config.flatten(params)
        self._storage = study._storage
        self._launchers = Launchers()
        self._launcher = self._launchers.own
        study.pruner = make_pruner(params)
        # Only the first launcher samples by the seed: a second or later one would sample the same values again.
        study.sampler = make_sampler(params, extra=0 if fresh else int(self._launcher, 16))
        self._study = study

    @property
    def name(self) -> str:
        return self._study.study_name

    @property
    def token(self) -> str:
        """By which the run of the search is known in MLflow's store."""
        return str(self._study.user_attrs["token"])

    # Budget

    @retry
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
                self._study.enqueue_trial(
                    _values_to_repeat(begun[-1]), user_attrs={"slot": number, "retry_of": begun[-1].number}
                )
            else:
                first = {key: category(value) for key, value in baseline(self._params).items()}
                self._study.enqueue_trial(first if number == 0 else {}, user_attrs={"slot": number})

    @retry
    def claim(self, budget: int) -> Claim | None:
        """The next trial of the budget that nobody runs, now this launcher's; None when there is none."""
        for number, trials in sorted(self._slots().items()):
            live = [trial for trial in trials if not _is_lost(trial)]
            for extra in live[1:]:  # two launchers filled the slot at once
                self._set_state(extra, TrialState.FAIL, lost="filled twice")
            if not live or number >= budget or live[0].state != TrialState.WAITING:
                continue
            if self._set_state(live[0], TrialState.RUNNING):
                return self._sample(live[0])
        return None

    @retry
    def _sample(self, trial: FrozenTrial) -> Claim:
        self._storage.set_trial_user_attr(trial._trial_id, "launcher", self._launchers.describe_own())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            values = suggest(optuna.Trial(self._study, trial._trial_id), self._params.tune.space, self._settings)
        return Claim(number=trial.number, trial_id=trial._trial_id, values=values)

    @retry
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

    # Heartbeats

    @retry
    def heartbeat(self) -> None:
        """Shows the others that this launcher is alive."""
        self._study.set_user_attr(self._launchers.attribute, time.time())

    @retry
    def reconcile(self) -> list[FrozenTrial]:
        """Gives up the running trials of launchers that are gone; which ones."""
        gone = []
        attributes = self._study.user_attrs
        self._launchers.look()
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            owner = trial.user_attrs.get("launcher", {"id": f"unknown{trial.number}", "host": None})
            if owner["id"] != self._launcher and self._launchers.is_gone(owner, attributes):
                self.mark_lost(trial._trial_id, DIED, "its launcher is gone")
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

    # A trial's way to its end

    @retry
    def note(self, trial_id: int, **attributes: Any) -> None:
        """Adds attributes to a trial that runs."""
        for key, value in attributes.items():
            with contextlib.suppress(UpdateFinishedTrialError):
                self._storage.set_trial_user_attr(trial_id, key, value)

    @retry
    def report(self, trial_id: int, step: int, value: float) -> bool:
        """Records a score after so many epochs (or seeds); whether the pruner says to stop. The first trial, with the
        values of params.yaml, is never stopped: all others are compared with it."""
        self._storage.set_trial_intermediate_value(trial_id, step, value)
        trial = self._storage.get_trial(trial_id)
        return self._study.pruner.prune(self._study, trial) and trial.user_attrs.get("slot") != 0

    @retry
    def complete(self, trial_id: int, score: float, right: Sequence[bool]) -> None:
        """Ends a trial with its score."""
        self.note(trial_id, right="".join(str(int(value)) for value in right))
        self._tell(trial_id, TrialState.COMPLETE, score)

    @retry
    def prune(self, trial_id: int) -> None:
        """Ends a trial that the pruner stopped."""
        self._tell(trial_id, TrialState.PRUNED, None)

    @retry
    def fail(self, trial_id: int, reason: str) -> None:
        """Ends a trial that went wrong by itself."""
        self.note(trial_id, reason=reason)
        self._tell(trial_id, TrialState.FAIL, None)

    @retry
    def mark_lost(self, trial_id: int, why: str, reason: str) -> str | None:
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

    @retry
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

    @retry
    def first(self) -> Scored | None:
        """The trial with the values of params.yaml, if it has ended well."""
        numbers = {trial.number for trial in self._slots().get(0, [])}
        return next((trial for trial in self.scored() if trial.number in numbers), None)

    @retry
    def compared(self) -> int:
        """How many trials the best was chosen from: all that were trained to the end, or stopped as worse."""
        return len(self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)))

    @retry
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

    @retry
    def importances(self) -> dict[str, float]:
        """Share of each setting in the variance of the score; empty where there is too little."""
        return figures.importances(self._study)

    def draw(self, folder: Path) -> None:
        """Pictures of the search, as far as there is enough to draw (see `figures.draw`)."""
        figures.draw(self._study, folder, settings=len(self._params.tune.space))


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


def _values_to_repeat(trial: FrozenTrial) -> dict[str, Any]:
    """The values to enqueue so that a trial is repeated: sampled ones, or those it was enqueued with itself."""
    return dict(trial.params) or dict(trial.system_attrs.get("fixed_params", {}))


def _values(trial: FrozenTrial) -> dict[str, Any]:
    """The values a trial was trained with."""
    values = {key: plain(value) for key, value in trial.params.items()}
    if "batch_size_used" in trial.user_attrs:  # memory did not suffice for the one that was sampled
        values["train.batch_size"] = trial.user_attrs["batch_size_used"]
    numbers = {key for key, distribution in trial.distributions.items() if isinstance(distribution, FloatDistribution)}
    return {key: rounded(value) if key in numbers else value for key, value in values.items()}
