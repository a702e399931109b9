"""What the ranges that can be switched off do: nothing where they are 0, and else what they say and nothing more."""

import hashlib
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from darkaction.core.errors import UserError
from darkaction.params import Params
from darkaction.synthetic.domain_randomization import Pretraining
from darkaction.synthetic.generator import (
    ClipState,
    GeneratorSettings,
    SyntheticClip,
    generate_clip,
    render_clip,
    sample_clip_state,
    sample_scene,
)
from darkaction.synthetic.human.motion import ACTIONS, Action
from darkaction.synthetic.human.skeleton import INDEX
from darkaction.synthetic.settings import SeatKind
from darkaction.synthetic.shifted import USUAL
from darkaction.synthetic.world.textures import pink_noise

OFF = replace(USUAL, interrupted=0.0, follow=0.0, shake=(0.0, 0.0))  # a camera that stands still
SWITCHES: dict[str, object] = {
    "speed_change": (0.8, 0.8),
    "exposure_change": (0.4, 0.4),
    "passers_by": 1.0,
    "seats": ("bench",),
    "seat_height": (0.08, 0.08),
    "blur": (1.2, 1.2),
    "texture": (0.2, 0.2),
}
ALL_ON = {**SWITCHES, "seats": ("chair", "bench", "stool", "step", "none")}


def with_(**changes: object) -> GeneratorSettings:
    ranges = replace(OFF, **changes)  # type: ignore[arg-type]
    return GeneratorSettings(
        preset=Pretraining(ranges=ranges), classes=ACTIONS, scenes=60, takes=1, height=120, width=160, seed=0
    )


def clip(action: Action, scene: int, **changes: object) -> SyntheticClip:
    return generate_clip(with_(**changes), action, scene, 1)


def clip_state(action: Action, scene: int, **changes: object) -> ClipState:
    return sample_clip_state(with_(**changes), action, scene, 1)


@pytest.mark.parametrize(
    ("action", "scene", "digest", "clean", "dark"),
    [
        ("sit", 1, "168f7ced2bc831c3", 50.617, 20.070),
        ("drink", 2, "c57a683e44c6b2a8", 63.325, 21.852),
        ("run", 3, "1da644bb7db279de", 56.636, 12.945),
    ],
)
def test_clips_without_switches_are_those_of_earlier_versions(
    action: Action, scene: int, digest: str, clean: float, dark: float
) -> None:
    # Joints to a thousandth of a millimetre and mean levels: the last digit of a sine may differ between processors.
    made = generate_clip(replace(with_(), preset=Pretraining(ranges=USUAL)), action, scene, 1)
    assert hashlib.sha256(np.round(made.state.joints_NJ3, 6).tobytes()).hexdigest()[:16] == digest
    assert (made.clean_NHWC.mean(), made.dark_NHWC.mean()) == pytest.approx((clean, dark), abs=0.01)


@pytest.mark.parametrize("switch", SWITCHES)
def test_a_switch_changes_its_own_things_only(switch: str) -> None:
    before, after = clip("sit", 1), clip("sit", 1, **{switch: SWITCHES[switch]})
    assert len(before.dark_NHWC) == len(after.dark_NHWC)
    assert (before.dark_NHWC != after.dark_NHWC).any()
    same_joints = np.array_equal(before.state.joints_NJ3, after.state.joints_NJ3)
    same_clean = np.array_equal(before.clean_NHWC, after.clean_NHWC)
    assert same_joints == (switch not in ("speed_change", "seat_height"))
    assert same_clean == (switch in ("exposure_change", "blur"))
    subjects = [sample_scene(with_(**change), 1).subject for change in ({}, {switch: SWITCHES[switch]})]
    assert subjects[0] == subjects[1]


def test_with_all_switches_the_same_seed_gives_the_same_bytes() -> None:
    for action, scene in (("sit", 4), ("push", 5)):
        first = clip(action, scene, **ALL_ON)
        sample_scene.cache_clear()
        again = clip(action, scene, **ALL_ON)
        np.testing.assert_array_equal(first.dark_NHWC, again.dark_NHWC)
        assert first.dark_NHWC.std() > 0


# --- speed -----------------------------------------------------------------------------------------------------------


def test_the_speed_changes_within_a_clip() -> None:
    ranges = []
    for amount in (0.0, 0.8):
        spread = []
        for scene in range(1, 7):
            state = clip_state("walk", scene, speed_change=(amount, amount), action_share=(1.0, 1.0))
            step_N = np.linalg.norm(np.diff(state.performance.motion.place_N2, axis=0), axis=1)
            spread.append(np.ptp(np.log(step_N[5:-5])))
        ranges.append(np.median(spread))
    assert ranges[0] < 0.1 and 0.7 < ranges[1] < 1.65  # at most 0.8 to either side


@pytest.mark.parametrize("scene", [1, 2, 3])
def test_first_and_last_pose_stay_and_objects_keep_time(scene: int) -> None:
    steady, changed = (clip_state("drink", scene, speed_change=(amount, amount)) for amount in (0.0, 0.8))
    for frame in (0, -1):
        np.testing.assert_allclose(changed.joints_NJ3[frame], steady.joints_NJ3[frame], atol=1e-9)
    assert np.abs(changed.joints_NJ3 - steady.joints_NJ3).max() > 0.05
    # The cup is tilted as much as before where the hand is as high as before.
    side = steady.performance.held[0].hands[0]
    hand = INDEX[f"hand_{'lr'[side]}"]
    for state in (steady, changed):
        lifted_N, tilt_N = state.joints_NJ3[:, hand, 2], state.performance.held[0].tilt_N
        assert lifted_N[tilt_N > 0.9 * tilt_N.max()].min() > np.percentile(lifted_N, 60)
        timing = state.performance.timing
        assert 0 <= timing.start < timing.stop <= len(lifted_N) and np.ptp(tilt_N[: timing.start + 1]) < 0.05


# --- camera ----------------------------------------------------------------------------------------------------------


def luma(frames_NHWC: np.ndarray) -> np.ndarray:
    return np.array([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).mean() for frame in frames_NHWC])


def test_the_exposure_changes_within_a_clip() -> None:
    pairs = [[luma(clip("turn", scene, **change).dark_NHWC) for change in ({}, {"exposure_change": (0.4, 0.4)})]
             for scene in range(1, 7)]  # fmt: skip
    spreads = np.array([[np.ptp(np.log(one - OFF.black[0])) for one in pair] for pair in pairs])
    assert np.median(spreads[:, 0]) < 0.15 and 0.3 < np.median(spreads[:, 1]) < 1.3
    for steady, changed in pairs:
        assert changed.mean() == pytest.approx(steady.mean(), rel=0.12)


def sharpness(frames_NHWC: np.ndarray) -> float:
    """Mean energy of the gradients between pixels."""
    levels = frames_NHWC.astype(np.float32)
    return float((np.diff(levels, axis=1) ** 2).mean() + (np.diff(levels, axis=2) ** 2).mean())


def test_blur_takes_edges_and_fast_movement() -> None:
    quiet = {"photons": (1e7, 1e7), "read_noise": (0.0, 0.0), "banding": (0.0, 0.0), "luma": (80.0, 80.0)}
    sharp, blurred = (clip("run", 3, **quiet, blur=(amount, amount)) for amount in (0.0, 1.5))
    assert sharpness(blurred.dark_NHWC) < 0.6 * sharpness(sharp.dark_NHWC)
    sensor = sample_scene(with_(), 3).sensor
    moving = np.zeros((9, 120, 160, 3), np.uint8)
    for number, frame in enumerate(moving):
        frame[:, 10 * number : 10 * number + 20] = 200
    columns = []
    for exposure_time in (0.0, 2.0):
        long = replace(sensor, exposure_time=exposure_time)  # type: ignore[type-var]
        columns.append((long.film(moving, np.random.default_rng(0))[4].mean((0, 2)) > 12).sum())
    assert columns[0] + 15 <= columns[1] <= columns[0] + 25  # what moves by 10 pixels is wider by 20


# --- place -----------------------------------------------------------------------------------------------------------


def test_texture_has_the_spectrum_of_photographs() -> None:
    noise = pink_noise(np.random.default_rng(0))
    assert noise.std() == pytest.approx(1, abs=1e-3) and abs(noise.mean()) < 1e-4
    amplitude = np.abs(np.fft.fft2(noise))
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(512), np.fft.fftfreq(512))) * 512
    bands = [2**k for k in range(2, 8)]
    mean = [amplitude[(radius >= low) & (radius < 2 * low)].mean() for low in bands]
    slope = np.polyfit(np.log(bands), np.log(mean), 1)[0]
    assert slope == pytest.approx(-1, abs=0.1)


def test_texture_is_on_walls_and_floor() -> None:
    plain, stained = (sample_scene(with_(texture=(amount, amount)), 2).place for amount in (0.0, 0.3))  # type: ignore[attr-defined]
    surfaces = [(wall.image_HWC, other.image_HWC) for wall, other in zip(plain.walls, stained.walls, strict=True)]
    for before, after in [*surfaces, (plain.floor_HWC, stained.floor_HWC)]:
        lit = before[..., 1] > 20
        ratio = np.log(after[lit].astype(float) + 0.5) - np.log(before[lit].astype(float) + 0.5)
        assert 0.15 < ratio.std() < 0.45
        assert (after <= np.maximum(before, 210)).all()  # it makes no light sources
    assert (plain.furniture, plain.lamps, plain.sky) == (stained.furniture, stained.lamps, stained.sky)


def shows_all_of_the_person(scene: int) -> bool:
    view = sample_scene(with_(), scene).view
    return 0.5 < 1.7 / (2 * np.tan(view.field_of_view / 2)) / view.distance < 0.75


SITTING = next(scene for scene in range(1, 60) if shows_all_of_the_person(scene))


@pytest.mark.parametrize("kind", ["bench", "stool", "step", "none"])
def test_other_seats_are_drawn(kind: SeatKind) -> None:
    chair, other = (clip("sit", SITTING, seats=seats) for seats in (("chair",), (kind,)))
    np.testing.assert_array_equal(chair.state.joints_NJ3, other.state.joints_NJ3)
    settings = with_(seats=(kind,))
    empty = render_clip(settings, SITTING, other.state, [0], person=False)[0]
    none = render_clip(with_(seats=("none",)), SITTING, other.state, [0], person=False)[0]
    drawn = np.argwhere((empty != none).any(-1))
    if kind == "none":
        assert not len(drawn) and (chair.clean_NHWC != other.clean_NHWC).any()
        return
    hips_2 = other.state.joints_NJ2[-1, INDEX["pelvis"]]
    low, high = drawn.min(0)[::-1], drawn.max(0)[::-1]
    assert low[0] <= hips_2[0] <= high[0] and hips_2[1] < high[1]  # the person sits over it
    wide = (high - low)[0] / (high - low)[1]
    assert wide < 2.2 if kind == "stool" else len(drawn) > 60


def test_who_sits_sits_as_high_as_the_seat() -> None:
    for raised in (-0.1, 0.08):
        usual, other = (clip_state("sit", SITTING, seat_height=(height, height)) for height in (0.0, raised))
        hips = [state.joints_NJ3[-1, INDEX["pelvis"], 2] for state in (usual, other)]
        assert hips[1] - hips[0] == pytest.approx(raised, abs=0.015)
        feet = [INDEX[f"{part}_{side}"] for part in ("ankle", "toe") for side in "lr"]
        np.testing.assert_allclose(usual.joints_NJ3[:, feet], other.joints_NJ3[:, feet], atol=0.03)
    turning = [clip_state("turn", SITTING, seat_height=(height, height)).joints_NJ3 for height in (0.0, 0.08)]
    np.testing.assert_array_equal(*turning)


# --- passers-by ------------------------------------------------------------------------------------------------------


def test_passers_by_are_behind_and_for_a_part_of_the_time() -> None:
    found = 0
    for scene in range(1, 21):
        state = clip_state("turn", scene, passers_by=1.0)
        if state.passer_by is None:  # no room before the wall
            continue
        found += 1
        pixels, depth = state.camera.project(state.passer_by.joints_NJ3)
        _, nearer = state.camera.project(state.joints_NJ3)
        shown_N = ((pixels[..., 0] > 0) & (pixels[..., 0] < 160)).all(1)
        assert (depth[shown_N].min(1) > nearer[shown_N].max(1)).all()
        assert 0.05 < ((pixels[..., 0] > 0) & (pixels[..., 0] < 160)).any(1).mean() < 0.95
    assert found >= 14


def test_a_passer_by_changes_the_background_only() -> None:
    scene = next(n for n in range(1, 30) if clip_state("turn", n, passers_by=1.0).passer_by is not None)
    alone, passed = clip("turn", scene), clip("turn", scene, passers_by=1.0)
    np.testing.assert_array_equal(alone.state.joints_NJ3, passed.state.joints_NJ3)
    changed_NHW = (alone.clean_NHWC != passed.clean_NHWC).any(-1)
    share_N = changed_NHW.mean((1, 2))
    assert share_N.max() > 0.002 and share_N.max() < 0.35
    columns = np.arange(160)
    pixels, depth = passed.state.camera.project(passed.state.passer_by.joints_NJ3)  # type: ignore[union-attr]
    for frame in np.flatnonzero(share_N):
        margin = 1.0 * passed.state.camera.focal / depth[frame].min()  # a metre: limbs and shadow
        outside = (columns < pixels[frame, :, 0].min() - margin) | (columns > pixels[frame, :, 0].max() + margin)
        assert not changed_NHW[frame][:, outside].any()
    chest = np.rint(passed.state.joints_NJ2[:, [INDEX["neck"], INDEX["pelvis"]]].mean(1)).astype(int)
    for frame, (x, y) in enumerate(chest):
        if 0 <= x < 160 and 0 <= y < 120:  # the person hides who passes behind
            np.testing.assert_array_equal(alone.clean_NHWC[frame, y, x], passed.clean_NHWC[frame, y, x])


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("speed_change", [0.5, 0.2]),
        ("speed_change", [-0.1, 0.2]),
        ("exposure_change", [0.0, 1.5]),
        ("exposure_change", 0.3),
        ("passers_by", 1.2),
        ("passers_by", [0.0, 1.0]),
        ("seats", []),
        ("seats", ["sofa"]),
        ("seat_height", [-0.5, 0.0]),
        ("blur", [0.0, 9.0]),
        ("texture", [-0.1, 0.0]),
        ("texture", ["nan", 0.1]),
    ],
)
def test_impossible_values_are_named(name: str, value: object) -> None:
    with pytest.raises(UserError, match=rf"params\.yaml: pretrain\.domain_randomization(\.|: ){name}"):
        Params.load(overrides=[f"pretrain.domain_randomization.{name}={json.dumps(value)}"])
