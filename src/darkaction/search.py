"""The search as Optuna keeps it: the only module that imports optuna.

The budget is a row of slots in the storage, one for each trial to make. A slot is filled by an enqueued trial, which
one launcher claims (Optuna's change of state from WAITING to RUNNING succeeds once), so any number of launchers share a
budget without a lock of ours. A trial whose worker or launcher died is failed, marked as lost, and its slot filled
again with the same values, once; a trial that Ctrl-C stopped leaves its slot open. Whoever is alive does this for those
who are not: each launcher shows that it lives by counting up an attribute of the study.
"""

import contextlib
import json
import logging
import math
import os
import socket
import sys
import time
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import grpc  # type: ignore[import-untyped]
import numpy as np
import optuna
import pandas as pd
import psutil
from optuna.distributions import (
    BaseDistribution,
    CategoricalChoiceType,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, GrpcStorageProxy, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import InterfaceError, OperationalError

from darkaction import config
from darkaction.config import Choice, Params, Range
from darkaction.errors import UserError
from darkaction.provenance import code_digest, scrub, without_credentials
from darkaction.spool import is_alive

SEARCHED = ("sampling", "augmentation", "model", "bert", "focal", "optimizer", "pretrain", "train", "transfer")
"""Sections that can be searched: those of the training alone. Others would need other clips or another exam."""

NOT_SEARCHED = {
    "sampling.test_draws": "more draws always help",
    "pretrain.enabled": "where another setting of pretrain is searched, every trial pretrains",
    "train.init_from": "it is not a setting of the method",
    "train.clips_per_class": "more clips always help",
    "train.precision": "it is not a setting of the method",
    "train.devices": "a trial has one device",
    "train.workers": "it changes no result",
}

FREE = ("tune.trials", "tune.sampler", "registry.", "train.workers", "train.devices", "evaluate.", "prepare.")
"""Settings in which the launchers of one study may differ."""

DIGITS = 4
"""Significant digits of a drawn number: what is trained is what --apply writes."""

LAUNCHER_GONE = 60.0
"""Seconds without a sign of life after which a launcher on another machine counts as gone."""

PATIENCE = 600.0
RETRY_AFTER = 5.0
"""Seconds that a storage may be away, and between two tries of it."""

CHECKED_DRAWS = 200

SCORE = "validation accuracy"

DIED, INTERRUPTED = "died", "interrupted"
"""Why a trial is lost: its process died (its slot is filled again once), or it was stopped (filled again always)."""

TRIES = 2

Dimensions = Sequence[Range | Choice]


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


# The space


def pretrains(params: Params) -> bool:
    """Whether every trial needs a pretraining of its own, since settings of it are searched."""
    return any(dimension.key.startswith("pretrain.") for dimension in params.tune.space)


def check_space(params: Params) -> None:
    """Refuses a search space in which some point is no valid set of settings.

    Raises:
        UserError: naming the entry and what would be valid.
    """
    settings = config.flatten(params)
    dimensions = params.tune.space
    for position, dimension in enumerate(dimensions):
        origin = f"tune.space: {dimension.key}"
        _check_key(dimension.key, origin, settings)
        earlier = [other.key for other in dimensions[:position]]
        if dimension.key in earlier:
            raise UserError(f"{origin} stands there twice")
        for key in dimension.when:
            if key not in settings:
                raise UserError(f"{origin}: when names '{key}', which is no setting")
        named = [*dimension.when, *(bound for bound in _bounds(dimension) if isinstance(bound, str))]
        for key in named:
            if key not in earlier and any(other.key == key for other in dimensions):
                raise UserError(f"{origin} needs {key}, which must stand before it")
        for bound in _bounds(dimension):
            if isinstance(bound, str) and not isinstance(settings.get(bound), int | float):
                raise UserError(f"{origin}: the bound '{bound}' is no setting with a number")
    _check_points(params, settings)
    _check_baseline(dimensions, settings)


def _check_key(key: str, origin: str, settings: dict[str, Any]) -> None:
    if key not in settings:
        nearest = config.nearest(key, list(settings))
        raise UserError(f"{origin} is no setting; did you mean '{nearest}'?")
    if key in NOT_SEARCHED:
        raise UserError(f"{origin} is not searched: {NOT_SEARCHED[key]}")
    if key.partition(".")[0] not in SEARCHED:
        raise UserError(f"{origin} cannot be searched, it changes more than the training; sections: {SEARCHED}")


def _check_points(params: Params, settings: dict[str, Any]) -> None:
    """Draws points, corners among them, and builds the settings of each."""
    rng = np.random.default_rng(0)
    for number in range(CHECKED_DRAWS):
        values: dict[str, Any] = {}
        for dimension in params.tune.space:
            if not _applies(dimension, settings | values):
                continue
            distribution = _distribution(dimension, settings | values)
            # 0 and 1 are the corners with all values low and all high
            share = float(number) if number < 2 else float(rng.choice([0.0, 1.0, rng.random()]))
            values[dimension.key] = _at(distribution, share)
        try:
            with_values(params, values)
        except UserError as error:
            point = ", ".join(f"{key} = {json.dumps(value)}" for key, value in values.items())
            raise UserError(f"tune.space holds a point that is not valid ({point}): {error}") from None


def _at(distribution: BaseDistribution, share: float) -> Any:
    """The value at a share (0: the lowest or first, 1: the highest or last) of a distribution."""
    if isinstance(distribution, CategoricalDistribution):
        return _plain(distribution.choices[min(int(share * len(distribution.choices)), len(distribution.choices) - 1)])
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    value = distribution.low + share * (distribution.high - distribution.low)
    return _rounded(value) if isinstance(distribution, FloatDistribution) else int(value)


def _check_baseline(dimensions: Dimensions, settings: dict[str, Any]) -> None:
    for dimension in dimensions:
        if not _applies(dimension, settings):
            continue
        distribution, value = _distribution(dimension, settings), settings[dimension.key]
        if isinstance(distribution, CategoricalDistribution):
            valid = _category(value) in distribution.choices
        else:
            assert isinstance(distribution, FloatDistribution | IntDistribution)
            valid = isinstance(value, int | float) and distribution.low <= value <= distribution.high
        if not valid:
            raise UserError(
                f"tune.space: {dimension.key}: {_described(distribution)} leaves out {json.dumps(value)}, the value in "
                "params.yaml, with which every search begins"
            )


def _described(distribution: BaseDistribution) -> str:
    if isinstance(distribution, CategoricalDistribution):
        return json.dumps([_plain(choice) for choice in distribution.choices])
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return f"[{distribution.low}, {distribution.high}]"


def _bounds(dimension: Range | Choice) -> list[float | str]:
    return [] if isinstance(dimension, Choice) else [dimension.low, dimension.high]


def _applies(dimension: Range | Choice, settings: dict[str, Any]) -> bool:
    """Whether the setting is searched where the others have these values."""
    return all(settings[key] in values for key, values in dimension.when.items())


def _distribution(dimension: Range | Choice, settings: dict[str, Any]) -> BaseDistribution:
    """What Optuna draws from, where earlier settings have these values."""
    if isinstance(dimension, Choice):
        return CategoricalDistribution([_category(choice) for choice in dimension.choices])
    low, high = (float(settings[bound]) if isinstance(bound, str) else bound for bound in _bounds(dimension))
    assert not isinstance(low, str) and not isinstance(high, str)
    if low > high or (dimension.log and low <= 0):
        rule = "0 < low <= high" if dimension.log else "low <= high"
        raise UserError(f"tune.space: {dimension.key}: low is {low} and high {high}; expected {rule}")
    if dimension.type == "int":
        if math.ceil(low) > math.floor(high):
            raise UserError(f"tune.space: {dimension.key}: no whole number lies in [{low}, {high}]")
        return IntDistribution(math.ceil(low), math.floor(high), log=dimension.log)
    return FloatDistribution(low, high, log=dimension.log)


def _category(choice: Any) -> CategoricalChoiceType:
    """Optuna takes plain values alone as categories: lists become their JSON."""
    return json.dumps(choice) if isinstance(choice, list | dict) else choice


def _plain(value: Any) -> Any:
    """The other way round."""
    return json.loads(value) if isinstance(value, str) and value[:1] in "[{" else value


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _suggest(trial: optuna.Trial, dimensions: Dimensions, settings: dict[str, Any]) -> dict[str, Any]:
    """One value for each setting that applies."""
    values: dict[str, Any] = {}
    for dimension in dimensions:
        if not _applies(dimension, settings | values):
            continue
        distribution = _distribution(dimension, settings | values)
        if isinstance(distribution, CategoricalDistribution):
            values[dimension.key] = _plain(trial.suggest_categorical(dimension.key, distribution.choices))
        elif isinstance(distribution, IntDistribution):
            values[dimension.key] = trial.suggest_int(
                dimension.key, distribution.low, distribution.high, log=distribution.log
            )
        else:
            assert isinstance(distribution, FloatDistribution)
            drawn = trial.suggest_float(dimension.key, distribution.low, distribution.high, log=distribution.log)
            values[dimension.key] = _rounded(drawn)
    return values


def baseline(params: Params) -> dict[str, Any]:
    """The values in params.yaml of the settings that are searched: the first trial of every search."""
    settings = config.flatten(params)
    return {d.key: settings[d.key] for d in params.tune.space if _applies(d, settings)}


def with_values(params: Params, values: Mapping[str, Any]) -> Params:
    """`params` with other values under dotted keys, checked as a whole."""
    settings = config.as_nested(params)
    for key, value in values.items():
        settings = config.merge(settings, config.nested(key, value), origin="tune.space")
    return config.build(settings, origin="tune.space")


# Where studies are kept


@lru_cache(maxsize=4)
def connect(url: str) -> BaseStorage:
    """The storage that a path of a journal file, postgresql:// or grpc://HOST:PORT names.

    Raises:
        UserError: when it cannot be reached, or is of a kind that several processes cannot share.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    shown = without_credentials(url)
    if url.startswith("sqlite:"):
        raise UserError(
            f"--storage {shown}: SQLite does not bear several writers; give the path of a journal file (as "
            "runs/tune/studies.log, the default), postgresql://USER@HOST/NAME or grpc://HOST:PORT"
        )
    try:
        if url.startswith("grpc://"):
            host, _, port = url.removeprefix("grpc://").partition(":")
            proxy = GrpcStorageProxy(host=host, port=int(port))
            proxy.wait_server_ready(timeout=15)
            return proxy
        if "://" in url:
            return RDBStorage(_with_driver(url), engine_kwargs={"pool_pre_ping": True})
        path = Path(url).absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(path)))
    except Exception as error:  # noqa: BLE001 - a wrong address, a driver, a network, a damaged file
        raise UserError(f"--storage {shown}: cannot be opened ({reason_of(error)})") from None


def _with_driver(url: str) -> str:
    """SQLAlchemy's name of the PostgreSQL driver that is installed."""
    for plain in ("postgresql://", "postgres://"):
        if url.startswith(plain):
            return "postgresql+psycopg://" + url.removeprefix(plain)
    return url


def create(url: str, name: str, params: Params, *, data: str) -> "Search":
    """A new study.

    Args:
        data: identifies the clips and their split.

    Raises:
        UserError: when there is one of that name.
    """
    storage = connect(url)
    try:
        study = optuna.create_study(study_name=name, storage=storage, direction="maximize")
    except DuplicatedStudyError:
        study = optuna.load_study(study_name=name, storage=storage)
        if "settings" not in study.user_attrs and not study.get_trials():  # its maker was killed before it was whole
            return _made(study, params, data)
        raise UserError(
            f"there is a study '{name}' in {without_credentials(url)}: --resume to go on with it, "
            "--study NAME for another one"
        ) from None
    return _made(study, params, data)


def _made(study: optuna.Study, params: Params, data: str) -> "Search":
    study.set_user_attr("token", uuid.uuid4().hex)
    study.set_user_attr("settings", identity(params, data))  # last: what has it is whole
    return Search(study, params, fresh=True)


def join(url: str, name: str, params: Params, *, data: str) -> "Search":
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
                "take that back, or --study NAME for another one"
            )
    return Search(study, params, fresh=False)


def find(url: str, name: str) -> optuna.Study:
    """The study of that name, whatever its settings.

    Raises:
        UserError: when there is none.
    """
    try:
        return optuna.load_study(study_name=name, storage=connect(url))
    except KeyError:
        names = optuna.get_all_study_names(connect(url))
        raise UserError(
            f"there is no study '{name}' in {without_credentials(url)}; there are: {', '.join(names) or 'none'}"
        ) from None


def identity(params: Params, data: str) -> dict[str, str]:
    """Whatever two launchers of one study must agree on."""
    settings = {key: value for key, value in config.flatten(params).items() if not key.startswith(FREE)}
    return {key: json.dumps(value) for key, value in settings.items()} | {"data": data, "code": own_code()}


@lru_cache(maxsize=1)
def own_code() -> str:
    """Identifies the code that this process runs: kept, so that an edit while it runs changes nothing."""
    return code_digest()[:16]


# One study

AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED)
"""What a proxy answers, or does not, when it or the database behind it is away."""

Answer = TypeVar("Answer")
Arguments = ParamSpec("Arguments")


def patiently(method: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """A storage that is away for a while (a restart, a network) holds a search up, and does not end it. What may have
    been done before the connection broke can be done again."""

    @wraps(method)
    def patient(*arguments: Arguments.args, **keywords: Arguments.kwargs) -> Answer:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return method(*arguments, **keywords)
            except Exception as error:
                if not is_storage_away(error) or time.monotonic() > deadline:
                    raise
                print(f"the storage is away, trying again ({reason_of(error)})", file=sys.stderr, flush=True)
                time.sleep(RETRY_AFTER)

    return patient


def is_storage_away(error: BaseException) -> bool:
    """Whether an error, or what caused it, is one of a connection."""
    if isinstance(error, UpdateFinishedTrialError | KeyError | ValueError):  # Optuna's answers, also through its proxy
        return False
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, grpc.RpcError):
            return cause.code() in AWAY
        if isinstance(cause, OperationalError | InterfaceError | ConnectionError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


class Search:
    """A study, its budget and its trials. Made by `create` and `join`."""

    def __init__(self, study: optuna.Study, params: Params, *, fresh: bool) -> None:
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
                first = {key: _category(value) for key, value in baseline(self._params).items()}
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
            values = _suggest(optuna.Trial(self._study, trial._trial_id), self._params.tune.space, self._settings)
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
        self.note(trial_id, reason=scrub(reason))
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
    def lost(self) -> list[int]:
        """Numbers of the trials that were given up, whose slots were filled again."""
        return [trial.number for trial in self._study.get_trials(deepcopy=False) if _is_lost(trial)]

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
        """Share of each setting in the variance of the score (functional ANOVA); empty where there is too little."""
        study = self._fixed_ranges((TrialState.COMPLETE,))
        scores = {trial.value for trial in study.trials}
        if len(scores) < 2 or not study.trials[0].params:
            return {}
        return dict(optuna.importance.get_param_importances(study))

    def draw(self, folder: Path) -> None:
        """history.png, parallel_coordinate.png, slice.png, importances.png, learning_curves.png, as far as there is
        enough to draw."""
        import matplotlib

        matplotlib.use("Agg")
        from optuna.visualization import matplotlib as drawing

        ended = self._fixed_ranges((TrialState.COMPLETE, TrialState.PRUNED))
        complete = self._fixed_ranges((TrialState.COMPLETE,))
        with warnings.catch_warnings(), _silent(logging.getLogger("optuna")):
            warnings.simplefilter("ignore")
            if complete.trials:
                _save(drawing.plot_optimization_history(self._study, target_name=SCORE), folder / "history.png")
                _save(
                    drawing.plot_parallel_coordinate(complete, target_name=SCORE),
                    folder / "parallel_coordinate.png",
                    width=14,
                )
                _save(
                    drawing.plot_slice(complete, target_name=SCORE),
                    folder / "slice.png",
                    width=3.2 * len(self._params.tune.space),
                )
            if any(trial.intermediate_values for trial in ended.trials):
                _save(drawing.plot_intermediate_values(self._study), folder / "learning_curves.png")
            if self.importances():
                _save(drawing.plot_param_importances(complete), folder / "importances.png")

    def _fixed_ranges(self, states: tuple[TrialState, ...]) -> optuna.Study:
        """A copy in memory in which each setting has one range: where a bound is another setting, Optuna's studies of
        importance leave a setting out, since its range changes from trial to trial."""
        trials = [trial for trial in self._study.get_trials(deepcopy=False, states=states) if trial.params]
        copy = optuna.create_study(direction="maximize")
        widest = _widest(trials)
        copy.add_trials(
            [
                optuna.trial.create_trial(
                    state=trial.state,
                    value=trial.value,
                    params=trial.params,
                    distributions={key: widest[key] for key in trial.params},
                    intermediate_values=trial.intermediate_values,
                )
                for trial in trials
            ]
        )
        return copy


def machine() -> str:
    """Identifies where process numbers mean the same processes: the host since its start, and the container on it."""
    marks = [socket.gethostname()]
    with contextlib.suppress(OSError):
        marks.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        marks.append(str(os.stat("/proc/self/ns/pid").st_ino))
    return "/".join(marks)


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
    plain = {key: _plain(value) for key, value in trial.params.items()}
    if "batch_size_used" in trial.user_attrs:  # memory did not suffice for the one that was drawn
        plain["train.batch_size"] = trial.user_attrs["batch_size_used"]
    return {key: _rounded(value) if isinstance(value, float) else value for key, value in plain.items()}


def _widest(trials: Sequence[FrozenTrial]) -> dict[str, BaseDistribution]:
    """Of each setting the range that holds all ranges it was drawn from."""
    found: dict[str, BaseDistribution] = {}
    for trial in trials:
        for key, new in trial.distributions.items():
            old = found.get(key, new)
            if isinstance(old, FloatDistribution) and isinstance(new, FloatDistribution):
                new = FloatDistribution(min(old.low, new.low), max(old.high, new.high), log=new.log)
            elif isinstance(old, IntDistribution) and isinstance(new, IntDistribution):
                new = IntDistribution(min(old.low, new.low), max(old.high, new.high), log=new.log)
            found[key] = new
    return found


def _sampler(params: Params, *, extra: int) -> optuna.samplers.BaseSampler:
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


def _pruner(params: Params) -> optuna.pruners.BasePruner:
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


MOST_IN_LEGEND = 12

WORDS = {"Step": "epoch", "Intermediate Value": SCORE, "Trial": "trial", "Objective Value": SCORE}
"""Optuna's labels in those of the project."""


def _save(axes: Any, path: Path, width: float = 8) -> None:
    """Writes the figure of what Optuna drew, in the looks of the other plots."""
    from matplotlib import pyplot, ticker

    figure = (axes.flat[0] if isinstance(axes, np.ndarray) else axes).get_figure()
    figure.suptitle("")
    for axis in figure.axes:
        for place in ("left", "center"):
            axis.set_title("", loc=place)
        legend = axis.get_legend()
        if legend is not None and (len(legend.texts) == 1 or len(legend.texts) > MOST_IN_LEGEND):
            legend.remove()
        axis.set_facecolor("white")
        axis.grid(False)
        axis.set_xlabel(WORDS.get(axis.get_xlabel(), axis.get_xlabel()))
        axis.set_ylabel(WORDS.get(axis.get_ylabel(), axis.get_ylabel()))
        axis.tick_params(labelsize=8)
        for spine in axis.spines.values():
            spine.set_visible(True)
            spine.set_color("0.7")
        for scale in (axis.xaxis, axis.yaxis):
            if scale.get_scale() == "log":
                scale.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
                scale.set_major_formatter(ticker.FormatStrFormatter("%g"))
                scale.set_minor_formatter(ticker.NullFormatter())
    figure.set_size_inches(width, 4.5)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    pyplot.close(figure)


@contextlib.contextmanager
def _silent(logger: logging.Logger) -> Iterator[None]:
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def reason_of(error: BaseException) -> str:
    """The first line of an error's text, without passwords."""
    text = str(error).strip() or type(error).__name__
    return scrub(text.splitlines()[0])[:200]
