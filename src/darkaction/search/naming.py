"""What a study is called, which there are, and which settings its launchers must agree on."""

import hashlib
import json
import re
import shlex
from collections.abc import Sequence
from typing import Any

import optuna

from darkaction.core import config
from darkaction.core.errors import UserError
from darkaction.core.redact import without_credentials
from darkaction.params import Params
from darkaction.search.storage import connect

PLAIN = "search"
"""The study of params.yaml as it stands."""

FREE = ("tune.trials", "tune.sampler", "registry.", "train.num_workers", "train.devices", "evaluate.", "prepare.")
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
