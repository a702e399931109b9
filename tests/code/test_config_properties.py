"""Settings for any key and value: round trips, merging, and unknown keys that are named with the nearest known one."""

import copy
import json

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from darkaction.core import config
from darkaction.core.errors import UserError
from darkaction.params import Params

ALWAYS = settings(derandomize=True, deadline=None, max_examples=10, database=None)
PARAMS = Params.load(profile="demo")
VALUES = config.as_nested(PARAMS)
FLAT = config.flatten(PARAMS)

keys = st.sampled_from(sorted(FLAT))
words = st.from_regex(r"[a-z_]{1,10}", fullmatch=True)
overlays = st.dictionaries(keys, st.integers(), min_size=1, max_size=5)


def nested(values: dict[str, object]) -> dict[str, object]:
    result: dict[str, object] = {}
    for key, value in values.items():
        section = result
        *parents, last = key.split(".")
        for parent in parents:
            section = section.setdefault(parent, {})  # type: ignore[assignment]
        section[last] = value
    return result


def test_flatten_and_build_are_inverse() -> None:
    assert nested(FLAT) == VALUES
    assert config.build(Params, nested(FLAT), origin="test") == PARAMS
    assert config.leaves(VALUES) == FLAT


@ALWAYS
@given(st.integers(0, 10**6), st.floats(0, 20), st.integers(1, 500))
def test_what_is_set_is_built_and_nothing_else_changes(seed: int, gamma: float, epochs: int) -> None:
    changes = {"seed": seed, "focal.gamma": gamma, "train.epochs": epochs}
    overrides = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
    found = config.flatten(Params.load(profile="demo", overrides=overrides))
    assert found == FLAT | changes


@ALWAYS
@given(overlays)
def test_merge_takes_the_overlay_and_leaves_the_base(overlay: dict[str, int]) -> None:
    before = copy.deepcopy(VALUES)
    merged = config.merge(VALUES, nested(dict(overlay)), origin="test")
    assert config.leaves(merged) == FLAT | overlay
    assert before == VALUES
    assert config.merge(merged, {}, origin="test") == merged


@ALWAYS
@given(keys, words)
def test_an_unknown_key_is_named_with_the_nearest(key: str, word: str) -> None:
    section = key.rpartition(".")[0]
    unknown = f"{section}.{word}" if section else word
    assume(section != "enhance.apply" and not any(name == unknown or name.startswith(f"{unknown}.") for name in FLAT))
    assume(unknown not in (*Params.FORMER, *Params.ELSEWHERE))
    with pytest.raises(UserError, match="did you mean") as raised:
        Params.load(profile="demo", overrides=[f"{unknown}=1"])
    message = str(raised.value)
    assert f"unknown key '{unknown}'" in message
    assert message.rpartition("did you mean '")[2].removesuffix("'?") in FLAT


@ALWAYS
@given(keys, st.sampled_from(["{a: b}", "{x: {y: 1}}"]))
def test_a_mapping_for_a_value_is_an_error_of_its_key(key: str, value: str) -> None:
    with pytest.raises(UserError, match=key.rpartition(".")[2]):
        Params.load(profile="demo", overrides=[f"{key}={value}"])


@ALWAYS
@given(st.recursive(st.integers() | st.text(max_size=5), lambda items: st.dictionaries(words, items, max_size=3)))
def test_a_digest_depends_on_content_not_on_order(content: object) -> None:
    assert config.digest(content) == config.digest(json.loads(json.dumps(content)))
    if isinstance(content, dict):
        assert config.digest(content) == config.digest(dict(reversed(content.items())))
