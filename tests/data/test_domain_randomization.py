"""The preset `pretraining`: every action in them, what their ranges do, and how near they come to real dark clips."""

import dataclasses
import functools
import hashlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

import golden
from darkaction.core.errors import UserError
from darkaction.core.parallel import Processes
from darkaction.data.video import read_video
from darkaction.params import Params
from darkaction.synthetic.contact_sheet import contact_sheet, write_sheet
from darkaction.synthetic.dataset import Key, generate, scenes, write_clips
from darkaction.synthetic.demo import DEMO, DEMO_LIT
from darkaction.synthetic.domain_randomization import Pretraining
from darkaction.synthetic.generator import (
    GeneratorSettings,
    generate_clip,
    render_clip,
    sample_clip_state,
    sample_scene,
)
from darkaction.synthetic.human.actions import perform
from darkaction.synthetic.human.motion import ACTIONS, Timing
from darkaction.synthetic.human.object_actions import reach
from darkaction.synthetic.human.skeleton import INDEX, Motion, forward_kinematics
from darkaction.synthetic.human.subject import sample_subject
from darkaction.synthetic.settings import DomainRandomization
from darkaction.synthetic.world.objects import SceneObject, place_objects

LIKE_ARID = Params.load(profile="demo").pretrain.domain_randomization

SETTINGS = GeneratorSettings(
    preset=Pretraining(ranges=LIKE_ARID), classes=ACTIONS, scenes=60, takes=2, height=120, width=160, seed=0,
)  # fmt: skip


def randomized(**changes: object) -> GeneratorSettings:
    ranges = dataclasses.replace(LIKE_ARID, **changes)  # type: ignore[arg-type]
    return dataclasses.replace(SETTINGS, preset=Pretraining(ranges=ranges))


def digests_of(settings: GeneratorSettings, keys: Sequence[Key]) -> list[str]:
    return [hashlib.sha256(frames_NHWC.tobytes()).hexdigest() for _, frames_NHWC in generate(settings, keys)]


# --- the demo's clips stay ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "scene", "take", "lit", "digest"),
    [
        ("run", 1, 1, False, "e62227148057c9aa"),
        ("stand", 7, 3, False, "00bdc545a0510417"),
        ("wave", 9, 2, False, "b0a72034ec3b3af8"),
        ("jump", 5, 1, True, "192990d5689d8478"),
        ("turn", 10, 1, True, "1ced5763d6b2931b"),
    ],
)
def test_the_demo_stays_the_same(action: str, scene: int, take: int, lit: bool, digest: str) -> None:
    # Joints to a thousandth of a millimetre: sines may differ in their last digit between processors, pixels by more.
    state = sample_clip_state(dataclasses.replace(SETTINGS, preset=DEMO_LIT if lit else DEMO), action, scene, take)
    assert hashlib.sha256(np.round(state.joints_NJ3, 6).tobytes()).hexdigest()[:16] == digest


# --- actions with objects ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_a_hand_reaches_its_target(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bones = sample_subject(rng).bones
    side, lean = int(rng.integers(2)), float(rng.uniform(0, 1.2))
    sign = 2 * side - 1
    target = (sign * rng.uniform(0.05, 0.25), rng.uniform(0.25, 0.38), rng.uniform(-0.35, 0.1))
    motion = Motion.still(1)
    motion.lean_N += lean
    angles = reach(bones, side, target, lean=lean, turn=0.0)
    motion.arm_swing_N2[:, side], motion.arm_out_N2[:, side], motion.elbow_N2[:, side] = angles
    joints = forward_kinematics(motion, bones)[0]
    hand = joints[INDEX[f"hand_{'lr'[side]}"]] - joints[INDEX["neck"]]
    shoulder = np.array([sign * bones.shoulder_half, 0, 0])
    near_enough = np.linalg.norm(np.array(target) - shoulder) < bones.upper_arm + bones.forearm - 0.06
    assert np.linalg.norm(hand - target) < (0.02 if near_enough else 0.3)


def acted(action: str, seed: int) -> tuple[np.ndarray, tuple[SceneObject, ...]]:
    """Joints and objects of one performance."""
    rng = np.random.default_rng(seed)
    subject = sample_subject(rng)
    timing = Timing(num_frames=80, start=10, stop=70)
    performance = perform(rng, action, subject, timing=timing, yaw=0.0, fps=30)  # type: ignore[arg-type]
    joints = forward_kinematics(performance.motion, subject.bones)
    return joints, place_objects(performance.held, performance.motion, joints, timing.start)


@pytest.mark.parametrize("seed", range(4))
def test_things_do_what_the_action_says(seed: int) -> None:
    joints, (cup,) = acted("drink", seed)
    rim = cup.centre_N3 + cup.up_N3 * cup.held.size[2] / 2
    mouth = joints[:, INDEX["neck"]] + np.array([0, 0.1, 0.15])  # yaw 0: ahead is y
    to_mouth = np.linalg.norm(rim - mouth, axis=1)
    assert to_mouth[:8].min() > 0.25 and to_mouth.min() < 0.13
    assert cup.held.tilt_N.max() > 0.8

    joints, (item,) = acted("pick", seed)
    height = item.centre_N3[:, 2]
    assert height[-1] - height[0] > 0.3 and height[0] < 0.75
    assert np.ptp(item.centre_N3[:25], axis=0).max() < 1e-9  # lies still until it is taken

    _, (bottle, cup) = acted("pour", seed)
    pouring = bottle.held.tilt_N > 1.5
    mouth = bottle.centre_N3 + bottle.up_N3 * bottle.held.size[2] / 2
    off = np.linalg.norm((mouth - cup.centre_N3)[pouring][:, :2], axis=1)
    assert pouring.any() and np.median(off) < 0.17
    assert (mouth - cup.centre_N3)[pouring][:, 2].mean() > 0

    joints, (load,) = acted("push", seed)
    hands = joints[30:60, [INDEX["hand_l"], INDEX["hand_r"]]].mean(1)
    assert np.linalg.norm((hands - load.centre_N3[30:60])[:, :2], axis=1).max() < 0.7
    assert np.linalg.norm(load.centre_N3[-1] - load.centre_N3[0]) > 0.03


@pytest.mark.parametrize("action", ["drink", "pick", "pour", "push"])
def test_the_demo_has_the_actions_with_objects(action: str) -> None:
    clip = generate_clip(dataclasses.replace(SETTINGS, preset=DEMO), action, 2, 1)  # type: ignore[arg-type]
    assert clip.state.objects and clip.dark_NHWC.shape == clip.clean_NHWC.shape


# --- randomized scenes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_comes_again_the_same_and_can_be_seen(action: str) -> None:
    for scene in (1, 2, 3):
        clip, again = (generate_clip(SETTINGS, action, scene, 1) for _ in range(2))
        np.testing.assert_array_equal(clip.dark_NHWC, again.dark_NHWC)
        low, high = LIKE_ARID.frames
        assert low <= len(clip.dark_NHWC) <= high and clip.dark_NHWC.shape[1:] == (120, 160, 3)
        frames = range(0, len(clip.clean_NHWC), 4)
        empty = render_clip(SETTINGS, scene, clip.state, frames, person=False)
        person = (np.abs(clip.clean_NHWC[::4].astype(int) - empty).max(-1) > 2).mean((1, 2))
        assert (person > 0.01).mean() > 0.6


def test_takes_scenes_and_seeds_differ() -> None:
    first = generate_clip(SETTINGS, "turn", 1, 1).dark_NHWC
    others = [
        generate_clip(SETTINGS, "turn", 1, 2),
        generate_clip(SETTINGS, "turn", 2, 1),
        generate_clip(dataclasses.replace(SETTINGS, seed=1), "turn", 1, 1),
    ]
    for other in others:
        assert first.shape != other.dark_NHWC.shape or (first != other.dark_NHWC).any()


def test_the_same_clips_whatever_the_workers() -> None:
    small = dataclasses.replace(SETTINGS, classes=("walk", "pour"), scenes=3, takes=1, height=48, width=64)
    shards = [tuple(keys) for keys in scenes(small)]
    here, two = (dict(Processes(workers)(functools.partial(digests_of, small), shards)) for workers in (0, 2))
    assert here == two
    assert shards == [(("walk", scene, 1), ("pour", scene, 1)) for scene in (1, 2, 3)]


def test_whoever_stops_early_is_not_kept_waiting() -> None:
    many = dataclasses.replace(SETTINGS, scenes=2000, takes=1, height=48, width=64)
    clips = Processes(1)(functools.partial(digests_of, many), [tuple(keys[:1]) for keys in scenes(many)])
    assert next(clips)[0] == (("run", 1, 1),)
    clips.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("action", ACTIONS)
def test_very_short_clips(action: str) -> None:
    assert 8 <= len(generate_clip(randomized(frames=(8, 12), interrupted=1.0), action, 1, 1).dark_NHWC) <= 12


def test_randomized_clips_are_written(tmp_path: Path) -> None:
    small = dataclasses.replace(SETTINGS, classes=("push",), scenes=1, takes=1)
    (record,) = write_clips(small, tmp_path, codec="mp4v", mapper=Processes(0), progress=False)
    written = sample_clip_state(small, "push", 1, 1).joints_NJ3
    assert record.path.name == "Push_1_1.mp4" and len(read_video(record.path)) == len(written)


def test_ranges_are_kept() -> None:
    wanted = randomized(
        luma=(18, 22), lamps=(0, 0), camera_height=(1.0, 1.2), subject_scale=(0.5, 0.6), frames=(40, 50), follow=0.0,
        shake=(0, 0), subject_offset=(0.1, 0.2), yaw=(80, 100), places=("room",),
    )  # fmt: skip
    luma, heights = [], []
    for scene in range(1, 13):
        clip = generate_clip(wanted, "turn", scene, 1)
        view = sample_scene(wanted, scene).view
        assert 1.0 <= view.height <= 1.2 and 0.1 <= view.subject_offset <= 0.2 and clip.state.camera.still
        assert 40 <= len(clip.dark_NHWC) <= 50
        start = clip.state.performance.motion.yaw_N[clip.state.performance.timing.start]
        assert np.radians(20) < start < np.radians(160)  # before the action the body may turn by up to 50 degrees
        luma.append(np.mean([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).mean() for frame in clip.dark_NHWC[::5]]))
        heights.append(np.ptp(clip.state.joints_NJ2[:, :, 1], axis=1).max() / 120)
    assert 17 < np.median(luma) < 23
    assert 0.4 < np.median(heights) < 0.65


def test_close_ups_follow_and_tempo() -> None:
    near, far = (randomized(subject_scale=(scale, scale), follow=0.0) for scale in (1.6, 0.5))
    sizes = [
        np.median([np.ptp(sample_clip_state(what, "turn", scene, 1).joints_NJ2[0, :, 1]) for scene in range(1, 6)])
        for what in (near, far)
    ]
    assert sizes[0] > 2.4 * sizes[1]
    modes = {sample_scene(randomized(follow=1.0), scene).view.mode for scene in (1, 2, 3)}
    assert modes <= {"pan", "dolly"}
    slow, fast = (randomized(tempo=(factor, factor), interrupted=0.0, follow=0.0) for factor in (0.5, 2.0))
    swings = []
    for what in (slow, fast):
        thigh = sample_clip_state(what, "walk", 1, 1).performance.motion.hip_N2[:, 0]
        swings.append(np.abs(np.diff(thigh)).mean())
    assert swings[1] > 1.8 * swings[0]


def test_interrupted_actions_halt_or_go_back() -> None:
    straight, broken = (randomized(interrupted=chance, action_share=(1.0, 1.0)) for chance in (0.0, 1.0))
    undone = 0
    for scene in range(1, 13):
        smooth, bent = (
            sample_clip_state(what, "sit", scene, 1).performance.motion.squat_N for what in (straight, broken)
        )
        assert smooth.shape == bent.shape and not np.allclose(smooth, bent)
        assert bent[-1] == pytest.approx(smooth[-1], abs=0.05)  # it is finished all the same
        falls, rises = (np.clip(-np.diff(angle), 0, None).sum() for angle in (bent, smooth))
        undone += falls > rises + 0.1
    assert undone >= 3


def test_noise_follows_its_settings() -> None:
    def roughness(**changes: object) -> float:
        what = randomized(follow=0.0, shake=(0, 0), luma=(15, 15), **changes)
        clips = [generate_clip(what, "turn", scene, 1).dark_NHWC for scene in (1, 2)]
        return float(np.median([np.abs(np.diff(clip.astype(float), axis=0)).mean() for clip in clips]))

    noisy = roughness(photons=(4000, 4000))
    assert noisy > 1.5 * roughness(photons=(200000, 200000))
    assert roughness(photons=(4000, 4000), skip_block_prob=(0.9, 0.9)) < 0.6 * roughness(
        photons=(4000, 4000), skip_block_prob=(0.0, 0.0)
    )
    assert roughness(banding=(3, 3)) > roughness(banding=(0, 0)) + 0.3


def test_lit_scenes_are_left_as_rendered() -> None:
    clip = generate_clip(randomized(dark=False), "wave", 1, 1)
    np.testing.assert_array_equal(clip.clean_NHWC, clip.dark_NHWC)


def test_one_clip_of_each_place() -> None:
    for place in ("room", "street", "corridor"):
        image = generate_clip(randomized(places=(place,)), "walk", 1, 1).clean_NHWC[0]
        assert image.std() > 3


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"places": ()}, "places"),
        ({"places": ("moon",)}, "places"),
        ({"yaw": (90, -90)}, "yaw"),
        ({"subject_scale": (0.0, 1.0)}, "subject_scale"),
        ({"subject_scale": 0.7}, "subject_scale"),
        ({"frames": (33.5, 40)}, "frames"),
        ({"lamps": (-1, 2)}, "lamps"),
        ({"luma": (5, 300)}, "luma"),
        ({"photons": ("nan", 5)}, "photons"),
        ({"follow": 1.5}, "follow"),
        ({"interrupted": (0, 1)}, "interrupted"),
        ({"skip_block_prob": (0.1, 0.2, 0.3)}, "skip_block_prob"),
        ({"dark": 1}, "dark"),
    ],
)
def test_impossible_ranges_are_named(change: dict[str, object], named: str) -> None:
    [(name, value)] = change.items()
    with pytest.raises(UserError, match=rf"params\.yaml: pretrain\.domain_randomization(\.|: ){named}"):
        Params.load(overrides=[f"pretrain.domain_randomization.{name}={json.dumps(value)}"])


@pytest.mark.parametrize("key", ["pretrain.backgrounds", "pretrain.domain_randomization.on_background"])
def test_real_backgrounds_are_gone(key: str) -> None:
    with pytest.raises(UserError, match=rf"unknown key '{key}' of an earlier version: removed: real places"):
        Params.load(overrides=[f"{key}=true"])


def test_every_range_has_limits() -> None:
    free = {"places", "dark"}
    for field in dataclasses.fields(DomainRandomization):
        if field.name not in free:
            for value in ("much", "1e9", "[-1e9, 1e9]"):
                with pytest.raises(UserError, match=field.name):
                    Params.load(overrides=[f"pretrain.domain_randomization.{field.name}={value}"])


def test_contact_sheet(tmp_path: Path) -> None:
    small = dataclasses.replace(SETTINGS, classes=("drink", "pick"), height=48, width=64)
    sheet = contact_sheet(small, (1, 2), moments=3)
    write_sheet(tmp_path / "sheet.png", sheet)
    assert cv2.imread(str(tmp_path / "sheet.png")).shape == sheet.shape
    assert sheet.shape[0] == 2 * (2 * 48 + 4)
    with pytest.raises(UserError, match="nowhere"):
        write_sheet(tmp_path / "nowhere" / "sheet.png", sheet)


# --- against real clips ----------------------------------------------------------------------------------------------

MEASURES = ("luma", "noise", "difference", "flow")


def measures(frames_NHWC: np.ndarray) -> tuple[float, ...]:
    """Luma, temporal noise where little moves, frame difference, and mean optical flow (pixels in three frames)."""
    small = [cv2.resize(frame, (160, 120), interpolation=cv2.INTER_AREA) for frame in frames_NHWC]
    grey = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in small]).astype(np.float32)
    difference = np.diff(grey, axis=0)
    activity = np.abs(difference).mean(0)
    still = activity <= np.quantile(activity, 0.3)
    noise = np.sqrt((difference[:, still] ** 2).mean() / 2)
    bright = np.clip(255 * (grey[::3] / 255) ** (1 / 2.2), 0, 255).astype(np.uint8)
    bright = [cv2.resize(frame, (80, 60), interpolation=cv2.INTER_AREA) for frame in bright]
    flows = [
        cv2.calcOpticalFlowFarneback(before, after, None, 0.5, 3, 13, 3, 5, 1.1, 0)
        for before, after in itertools.pairwise(bright)
    ]
    flow = np.mean([np.hypot(flow[..., 0], flow[..., 1]).mean() for flow in flows])
    return float(grey.mean()), float(noise), float(np.abs(difference).mean()), float(flow)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Wasserstein distance of two samples: mean distance of their quantiles."""
    levels = np.linspace(0.01, 0.99, 99)
    return float(np.abs(np.quantile(a, levels) - np.quantile(b, levels)).mean())


def test_synthetic_clips_are_like_real_ones() -> None:
    """Of ARID there are measures in tests/reference, not clips."""
    measured = golden.arid_measures()
    real = [measured[name] for name in ("luma", "noise", "small_difference", "flow")]
    synthetic = np.array(
        [measures(generate_clip(SETTINGS, ACTIONS[scene % len(ACTIONS)], scene, 1).dark_NHWC) for scene in range(1, 41)]
    )
    for name, ours, theirs in zip(MEASURES, synthetic.T, real, strict=True):
        low, median, high = np.percentile(theirs, [5, 50, 95])
        print(
            f"{name}: synthetic {np.median(ours):.3f}, real {median:.3f} [{low:.3f}, {high:.3f}],"
            f" distance {distance(ours, theirs):.3f} = {distance(ours, theirs) / theirs.std():.2f} deviations"
        )
        assert low <= np.median(ours) <= high
        assert distance(ours, theirs) < theirs.std()
