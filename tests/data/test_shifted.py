"""The dataset `shifted`: beyond the ranges of a pretraining that is judged by it, and every action in it."""

from dataclasses import fields, replace

import numpy as np
import pytest

from darkaction.core.config import read_yaml
from darkaction.core.paths import ROOT
from darkaction.synthetic.generator import GeneratorSettings, generate_clip, sample_scene
from darkaction.synthetic.human.motion import ACTIONS
from darkaction.synthetic.settings import DomainRandomization
from darkaction.synthetic.shifted import FAMILIES, SHIFTED, USUAL

SETTINGS = GeneratorSettings(preset=SHIFTED, classes=ACTIONS, scenes=60, takes=1, height=120, width=160, seed=0)


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
