"""The dataset `shifted`: beyond the ranges of a pretraining that is judged by it, and every action in it."""

from dataclasses import fields, replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from darkaction.core.config import read_yaml
from darkaction.core.errors import UserError
from darkaction.core.paths import ROOT
from darkaction.synthetic.generator import ClipState, GeneratorSettings, generate_clip, sample_clip_state, sample_scene
from darkaction.synthetic.human.motion import ACTIONS
from darkaction.synthetic.settings import DomainRandomization
from darkaction.synthetic.shifted import FAMILIES, USUAL, Shifted, preset_of

SETTINGS = GeneratorSettings(preset=Shifted(), classes=ACTIONS, scenes=60, takes=1, height=120, width=160, seed=0)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "person"])
def test_a_family_is_outside_of_what_is_usual(family: str) -> None:
    """In each of its ranges but a probability: no scene of one is a scene of the other."""
    for key, values in FAMILIES[family].items():
        usual = getattr(USUAL, key)
        if key == "places":
            assert not set(values) & set(usual)
        elif isinstance(values, tuple):
            assert values[1] <= usual[0] or usual[1] <= values[0], (key, values, usual)
        else:
            assert values > usual


def test_pretrainings_that_are_judged_by_it_keep_off_it() -> None:
    common = read_yaml(ROOT / "experiments/held_out.yaml")["common"]
    own = {key.rpartition(".")[2]: value for key, value in common.items() if ".domain_randomization." in key}
    for field in fields(DomainRandomization):
        if field.name in {key for ranges in FAMILIES.values() for key in ranges}:
            wanted = getattr(USUAL, field.name)
            assert own[field.name] == (list(wanted) if isinstance(wanted, tuple) else wanted), field.name


def test_scenes_have_families_and_the_same_seed_the_same_clips() -> None:
    scenes = [sample_scene(SETTINGS, number) for number in range(1, 61)]
    heights = np.array([scene.view.height for scene in scenes])
    found = [
        np.mean([scene.place.along for scene in scenes]),
        np.mean(heights > 1.9),
        np.mean(heights < 0.9),
        np.mean([scene.subject.skirted and scene.subject.girth > 1.6 for scene in scenes]) * 2,
    ]
    assert all(0.05 < share < 0.3 for share in found), found  # one of seven
    small = replace(SETTINGS, scenes=1, classes=("walk", "sit"))
    first, again = (generate_clip(small, "walk", 1, 1).dark_NHWC for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.std() > 0


def states(changes: dict[str, object]) -> dict[str, list[ClipState]]:
    settings = replace(SETTINGS, preset=preset_of("usual", changes), scenes=12)
    return {action: [sample_clip_state(settings, action, scene, 1) for scene in range(1, 13)] for action in ACTIONS}


def test_a_range_of_ones_own_shifts_every_scene_and_nothing_else() -> None:
    usual, low = (preset_of("shifted", changes) for changes in ({}, {"camera_height": [0.2, 0.3]}))
    scenes, others = ([sample_scene(replace(SETTINGS, preset=one), n) for n in range(1, 13)] for one in (usual, low))
    assert all(0.9 <= scene.view.height <= 1.7 for scene in scenes)
    assert all(0.2 <= scene.view.height <= 0.3 for scene in others)
    assert [scene.subject.bones for scene in scenes] == [scene.subject.bones for scene in others]
    assert preset_of("shifted", None) == Shifted() and preset_of("usual", None) == preset_of("usual", {})
    assert sample_scene(replace(SETTINGS, preset=preset_of("usual", {})), 1).subject.bones != scenes[0].subject.bones


def test_lengths_go_by_the_class_as_far_as_they_are_told_to() -> None:
    """Rank correlation of class and mean length: that of chance, a perfect one, and a perfect one in reverse."""
    for bias, least, most in ((0.0, -0.6, 0.6), (1.0, 1.0, 1.0), (-1.0, -1.0, -1.0)):
        lengths = [
            np.mean([state.performance.timing.num_frames for state in own])
            for own in states({"length_bias": bias}).values()
        ]
        assert least <= spearmanr(range(len(lengths)), lengths).statistic <= most
    half = [state.performance.timing.num_frames for state in states({"length_bias": 0.5})["walk"]]
    whole = [state.performance.timing.num_frames for state in states({"length_bias": 1.0})["walk"]]
    assert len(set(whole)) == 1 and len(set(half)) > 1
    assert all(33 <= length <= 105 for length in half + whole)


def test_the_action_is_early_or_late_in_the_clip() -> None:
    places = {
        name: [
            timing.start / max(timing.num_frames - (timing.stop - timing.start), 1)
            for own in states({"position": [name, name], "action_share": [0.4, 0.4]}).values()
            for timing in [state.performance.timing for state in own]
        ]
        for name in (0.0, 1.0)
    }
    assert max(places[0.0]) == 0 and min(places[1.0]) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lumma": [6, 10]}, "synthesize.shifted: unknown key 'lumma'; did you mean 'luma'?"),
        ({"luma": [10, 6]}, "luma is [10, 6]; expected [low, high] within [1, 255]"),
        ({"length_bias": 2}, "synthesize.shifted: length_bias is 2"),
    ],
)
def test_wrong_ranges_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as caught:
        preset_of("shifted", changes)
    assert message in str(caught.value)
