"""Whether settings and what earlier stages made go together."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from darkaction.core.errors import UserError
from darkaction.core.paths import Paths
from darkaction.data.index import COLUMNS, write_index
from darkaction.data.measure import MEAN_FRAME
from darkaction.data.settings import ACTIONS as KNOWN_ACTIONS
from darkaction.enhancement.settings import frames_wanted
from darkaction.jobs import identity
from darkaction.params import Params, require_known_classes
from darkaction.synthetic.human.motion import ACTIONS
from darkaction.training import data

ARID = ("datasets=[arid]", "synthesize.domains=[]")
MINE = ("datasets=[mine]", "synthesize.domains=[]", "enhance.apply.mine=true")


def params_of(*overrides: str) -> Params:
    return Params.load(overrides=["focal.alpha=null", "datasets=[demo]", "data.classes=[run, walk]", *overrides])


# Classes


def test_the_classes_of_arid_are_those_of_the_generator() -> None:
    assert set(KNOWN_ACTIONS) == set(ACTIONS)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["data.classes=[run, wlak]"],
            r"dataset 'demo' has no class 'wlak'; did you mean 'walk'\?; it has drink, jump",
        ),
        ([*ARID, "data.classes=[run, nodding]"], r"dataset 'arid' has no class 'nodding'; it has drink"),
        (
            [*MINE, "data.classes=[nod, bwo]"],
            r"dataset 'mine' has no class 'bwo'; did you mean 'bow'\?; it has bow, nod$",
        ),
        ([*MINE, "data.classes=[nod, unlabelled]"], "dataset 'mine' has no class 'unlabelled'"),
    ],
)
def test_a_class_that_the_target_cannot_have_is_refused(tmp_path: Path, overrides: list[str], message: str) -> None:
    for name in ("Nod", "Bow", "_unlabelled", ".hidden"):
        (tmp_path / Paths.raw("mine") / name).mkdir(parents=True)
    with pytest.raises(UserError, match=message):
        require_known_classes(params_of(*overrides), Paths(root=tmp_path))


@pytest.mark.parametrize(
    "overrides",
    [
        ["data.classes=[run, drink]"],
        [*ARID, "data.classes=[run, drink]"],
        [*ARID, "data.classes=[run, nod]"],  # a folder of that name was imported
        [*MINE, "data.classes=[nod, bow]"],
        [*MINE, "datasets=[elsewhere]", "enhance.apply.elsewhere=true", "data.classes=[any, name]"],
    ],
)
def test_other_classes_are_not_judged(tmp_path: Path, overrides: list[str]) -> None:
    for path in ("mine/Nod", "mine/Bow", "arid/Nod"):
        (tmp_path / "data/raw" / path).mkdir(parents=True)
    require_known_classes(params_of(*overrides), Paths(root=tmp_path))


# The index


def make_index(root: Path, params: Params, *, labels: tuple[str, ...], settings: bool = True) -> None:
    """An index of two clips a class and part."""
    rows = [
        {column: kind() for column, kind in COLUMNS.items()}
        | {"clip_id": f"demo/{label}_{scene}_{take}", "dataset": "demo", "label": label, "status": "ok"}
        | {"scene": str(scene), "take": take, "fold_0": part}
        for label in labels
        for scene, part in enumerate(("train", "val", "test"))
        for take in (1, 2)
    ]
    summary = {"settings": identity.index_settings(params)["demo"]} if settings else {}
    write_index(
        root / Paths.index("demo"), pd.DataFrame(rows), np.zeros((len(rows), *MEAN_FRAME, 3), np.float16), summary
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.classes=[run, sit]"], r'data.classes = \["run", "walk"\] \(now \["run", "sit"\]\)'),
        (["split.folds=2"], r"split.folds = 1 \(now 2\)"),
        (["split.strategy=random"], r'split.strategy = "scene" \(now "random"\)'),
        (["split.test=0.5"], r"split.test = 0.25 \(now 0.5\)"),
        (
            ["split.validation=take", "split.val=0.2"],
            r'split.validation = "scene" \(now "take"\), split.val = 0.1 \(now',
        ),
        (
            ["datasets=[demo_lit, demo]", "synthesize.domains=[demo, demo_lit]"],
            r'datasets = "the target" \(now "a source domain"\)',
        ),
    ],
)
def test_an_index_made_with_other_settings_is_refused(tmp_path: Path, overrides: list[str], message: str) -> None:
    make_index(tmp_path, params_of(), labels=("run", "walk"))
    wanted = {"demo": identity.index_settings(params_of(*overrides))["demo"]}
    with pytest.raises(
        UserError, match=rf"data/index/demo: was made with {message}.*run python src/prepare.py demo with"
    ):
        data.usable_clips(Paths(root=tmp_path), wanted)


@pytest.mark.parametrize(
    "override", ["seed=1", "split.official=2", "enhance.height=32", "focal.gamma=1", "prepare.near_duplicate=0.1"]
)
def test_settings_that_do_not_decide_an_index_may_change(tmp_path: Path, override: str) -> None:
    make_index(tmp_path, params_of(), labels=("run", "walk"))
    assert len(data.usable_clips(Paths(root=tmp_path), identity.index_settings(params_of(override)))) == 12


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (("run",), "has no usable clip of class walk"),
        (("run", "sit", "walk"), "has clips of sit, which data.classes lacks"),
        (("run", "sit"), "has no usable clip of class walk and clips of sit, which data.classes lacks"),
    ],
)
def test_an_index_without_record_is_judged_by_its_clips(tmp_path: Path, labels: tuple[str, ...], message: str) -> None:
    make_index(tmp_path, params_of(), labels=labels, settings=False)
    with pytest.raises(UserError, match=rf"data/index/demo: {message}.*run python src/prepare.py demo"):
        data.usable_clips(Paths(root=tmp_path), identity.index_settings(params_of()))


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    make_index(tmp_path, params_of(), labels=("run", "walk"))
    (tmp_path / Paths.index("demo") / "summary.json").write_text("{")
    with pytest.raises(UserError, match=r"summary\.json: not JSON .*run python src/prepare\.py demo again"):
        data.usable_clips(Paths(root=tmp_path), identity.index_settings(params_of()))


def test_training_needs_a_clip_of_every_class() -> None:
    training = pd.DataFrame({"label": ["run", "run"]})
    data.require_every_class(training, ["run"], fold=0)
    with pytest.raises(UserError, match=r"data\.classes: fold 1 has no training clip of class sit, walk"):
        data.require_every_class(training, ["sit", "run", "walk"], fold=1)


# Weights and frames


def test_weights_of_another_split_are_refused(tmp_path: Path) -> None:
    make_index(tmp_path, params_of(), labels=("run", "walk"))
    clips = data.usable_clips(Paths(root=tmp_path), identity.index_settings(params_of()))
    data.require_trained_on(tmp_path, clips)  # nothing is recorded
    (tmp_path / "trained_on.json").write_text(json.dumps({"split": data.split_digest(clips)}))
    data.require_trained_on(tmp_path, clips.sample(frac=1, random_state=0).assign(luma=1.0))
    for other in (clips.assign(fold_0=clips["fold_0"].iloc[::-1].to_numpy()), clips.iloc[1:]):
        with pytest.raises(UserError, match=r"was trained on other clips.*run python src/train\.py"):
            data.require_trained_on(tmp_path, other)


@pytest.mark.parametrize(
    ("overrides", "differs"),
    [
        (["enhance.method=gamma"], ["enhance.method", "enhance.gamma"]),
        (["enhance.apply.demo=false"], ["enhance.method"]),
        (["enhance.curve_scale=0.5"], ["enhance.curve_scale"]),
        (["enhance.height=32", "enhance.width=32"], ["enhance.height", "enhance.width"]),
        (["enhance.gamma=3", "enhance.flow=true", "enhance.apply.arid=false"], []),
    ],
)
def test_frames_depend_on_the_settings_of_their_method(overrides: list[str], differs: list[str]) -> None:
    before = frames_wanted(params_of("enhance.method=zero_dce").enhance, "demo")
    after = frames_wanted(params_of("enhance.method=zero_dce", *overrides).enhance, "demo")
    assert [key for key, value in after.items() if before.get(key) != value] == differs


def differing(settings: Any, *overrides: str) -> set[str]:
    before, after = settings(params_of()), settings(params_of(*overrides))
    return {key for key, value in after.items() if before[key] != value}


def test_what_decides_enhancer_network_and_pretraining() -> None:
    both = (
        *("zero_dce.epochs=9", "enlightengan.epochs=9"),
        *("pretrain.epochs=9", "pretrain.domain_randomization.luma=[2, 3]", "pretrain.enabled=true"),
        *("bert.heads=4", "bert.dropout=0.5", "model.width=0.5", "sampling.test_draws=9"),
    )
    assert differing(identity.enhancer_settings, *both) == {"zero_dce.epochs"}
    assert differing(identity.network_wanted, *both) == {"bert.heads", "model.width"}
    assert differing(identity.pretraining_settings, *both) == {"pretrain.epochs", "pretrain.domain_randomization.luma"}


def test_settings_survive_json() -> None:
    params = params_of()
    for settings in (
        identity.index_settings(params),
        identity.network_wanted(params),
        identity.enhancer_settings(params),
        identity.pretraining_settings(params),
    ):
        assert json.loads(json.dumps(settings)) == settings
