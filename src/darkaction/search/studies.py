"""The studies of a storage: what they are called, made and joined, and on what their launchers must agree."""

import hashlib
import json
import re
import shlex
import uuid
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError

from darkaction.core import config
from darkaction.core.errors import UserError
from darkaction.core.redact import without_credentials
from darkaction.jobs.identity import training_code
from darkaction.params import Params
from darkaction.search.settings import SearchParams
from darkaction.search.storage import connect
from darkaction.search.study import Search

PLAIN = "search"
"""The study of params.yaml as it stands."""

FREE = (
    "tune.trials",
    "tune.sampler",
    "tune.confirm_seeds",
    "registry.",
    "train.num_workers",
    "train.devices",
    "train.nodes",
    "evaluate.",
    "prepare.",
)
"""Settings in which the launchers of one study may differ."""

LEGIBLE = re.compile(r"[\w.+-]{1,24}")
"""Values that stand in a name as they are; others as eight digits of their hash."""

LONGEST = 100


def settings_of(params: Params) -> dict[str, str]:
    """The settings on which all launchers of one study agree, each as JSON."""
    settings = {key: value for key, value in config.flatten(params).items() if not key.startswith(FREE)}
    return {key: json.dumps(value) for key, value in settings.items()}


def arguments_text(profile: str | None, overrides: Sequence[str]) -> str:
    """--profile and --set as a person types them; empty without."""
    parts = ["--profile", profile] if profile is not None else []
    return shlex.join([*parts, *(part for text in overrides for part in ("--set", text))])


def name_for(profile: str | None, overrides: Sequence[str], params: Params) -> str:
    """`search`, or with settings laid over params.yaml a name that tells them: `search-smoke-focal.gamma=1.0`.

    The same arguments give the same name in whatever order, whatever params.yaml holds.

    Args:
        params: the settings as they are with both.
    """
    settings = settings_of(params)
    given = {key for text in overrides for key in config.leaves(config.parse_override(text))}
    values = [f"{key}={_short(settings[key])}" for key in sorted(given & settings.keys())]
    name = "-".join([PLAIN, *([profile] if profile is not None else []), *values])
    if len(name) > LONGEST:
        name = "-".join([PLAIN, *([profile] if profile is not None else []), f"{len(values)}-settings", _hash(name)])
    return name


def _short(value: str) -> str:
    plain = value.strip('"')
    return plain if LEGIBLE.fullmatch(plain) else _hash(value)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def chosen(url: str, profile: str | None, overrides: Sequence[str], params: Params) -> str:
    """The name of the study for these arguments: its own, or PLAIN where a study of that name has these very settings
    (all were called so once)."""
    own = name_for(profile, overrides, params)
    names = optuna.get_all_study_names(connect(url))
    if own not in names and PLAIN in names:
        theirs = optuna.load_study(study_name=PLAIN, storage=connect(url)).user_attrs.get("settings", {})
        if settings_of(params).items() <= theirs.items():
            return PLAIN
    return own


def find(url: str, name: str) -> optuna.Study:
    """The study of that name, whatever its settings.

    Raises:
        UserError: when there is none, with those there are and the arguments that find them.
    """
    try:
        return optuna.load_study(study_name=name, storage=connect(url))
    except KeyError:
        names = optuna.get_all_study_names(connect(url))
        known = [f"{other} ({made_with(optuna.load_study(study_name=other, storage=connect(url)))})" for other in names]
        raise UserError(
            f"there is no study '{name}' in {without_credentials(url)}; there are: {'; '.join(known) or 'none'}"
        ) from None


def made_with(study: optuna.Study) -> str:
    """The arguments with which a study was made, in words."""
    arguments: Any = study.user_attrs.get("arguments")
    if arguments is None:
        return "its arguments are not on record"
    return str(arguments) or "no --profile, no --set"


def create(url: str, name: str, params: SearchParams, *, data: str, arguments: str) -> Search:
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


def _made(study: optuna.Study, params: SearchParams, data: str, arguments: str) -> Search:
    study.set_user_attr("token", uuid.uuid4().hex)
    study.set_user_attr("arguments", arguments)
    study.set_user_attr("settings", agreed(params, data))  # last: what has it is whole
    return Search(study, params, fresh=True)


def join(url: str, name: str, params: SearchParams, *, data: str) -> Search:
    """The study of that name.

    Raises:
        UserError: when there is none, or it was made with other settings, data or space.
    """
    study = find(url, name)
    own, theirs = agreed(params, data), study.user_attrs.get("settings")
    if theirs is None:
        raise UserError(f"the study '{name}' was not made by this program, or not whole: --study NAME for another one")
    for key in sorted(own.keys() | theirs.keys()):
        if own.get(key) != theirs.get(key):
            raise UserError(
                f"the study '{name}' was made with {key} = {theirs.get(key)}, and {key} is {own.get(key)}: "
                f"take that back, or --study NAME for another one (it was made with: {made_with(study)})"
            )
    return Search(study, params, fresh=False)


def agreed(params: SearchParams, data: str) -> dict[str, str]:
    """Whatever two launchers of one study must agree on."""
    return settings_of(params) | {"data": data, "code": training_code()}
