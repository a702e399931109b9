"""The demo's clips: what is in them, how dark they are, and that they come out the same every time."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

import golden
from darkaction.core.errors import UserError
from darkaction.core.parallel import Processes
from darkaction.data.video import read_video
from darkaction.synthetic.dataset import ClipRecord, write_clips
from darkaction.synthetic.demo import DEMO, DEMO_LIT
from darkaction.synthetic.generator import GeneratorSettings, generate_clip, sample_clip_state, sample_scene
from darkaction.synthetic.human.motion import ACTIONS
from darkaction.synthetic.human.skeleton import INDEX

SETTINGS = GeneratorSettings(
    preset=DEMO, classes=("run", "sit", "stand", "turn", "walk", "wave"),
    scenes=24, takes=1, height=120, width=160, seed=0,
)  # fmt: skip
SMALL = dataclasses.replace(SETTINGS, classes=("walk", "sit"), scenes=2, height=48, width=64)


def darkness(frames_NHWC: np.ndarray) -> tuple[float, float]:
    """Mean luma (BT.601) and mean absolute difference of consecutive frames, of 255."""
    grey = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames_NHWC]).astype(np.float32)
    return float(grey.mean()), float(np.abs(np.diff(grey, axis=0)).mean())


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[ClipRecord]:
    """32 clips as `synthesize` writes them."""
    settings = dataclasses.replace(SETTINGS, classes=("walk", "wave"), scenes=16)
    return write_clips(settings, tmp_path_factory.mktemp("demo"), codec="mp4v", mapper=Processes(0), progress=False)


@pytest.fixture(scope="module")
def measured(clips: list[ClipRecord]) -> np.ndarray:
    """Luma and frame difference of the decoded clips (32, 2)."""
    return np.array([darkness(read_video(clip.path)) for clip in clips])


def folder_bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_names_and_counts(clips: list[ClipRecord]) -> None:
    folder = clips[0].path.parents[1]
    expected = {f"{name}/{name}_{scene}_1.mp4" for name in ("Walk", "Wave") for scene in range(1, 17)}
    assert set(folder_bytes(folder)) == expected  # and no partial file is left


def test_same_seed_same_bytes_whatever_the_workers(tmp_path: Path) -> None:
    for name, settings, workers in (
        ("here", SMALL, 0),
        ("two", SMALL, 2),
        ("other", dataclasses.replace(SMALL, seed=1), 0),
    ):
        write_clips(settings, tmp_path / name, codec="FFV1", mapper=Processes(workers), progress=False)
    here, two, other = (folder_bytes(tmp_path / name) for name in ("here", "two", "other"))
    assert sorted(here) == ["Sit/Sit_1_1.avi", "Sit/Sit_2_1.avi", "Walk/Walk_1_1.avi", "Walk/Walk_2_1.avi"]
    assert here == two
    assert all(here[name] != other[name] for name in here)


def test_takes_and_domains_differ() -> None:
    first, again, second = (sample_clip_state(SMALL, "walk", 1, take).joints_NJ3 for take in (1, 1, 2))
    lit = sample_clip_state(dataclasses.replace(SMALL, preset=DEMO_LIT), "walk", 1, 1).joints_NJ3
    np.testing.assert_array_equal(first, again)
    assert first.shape != second.shape or not np.allclose(first, second)
    assert first.shape != lit.shape or not np.allclose(first, lit)


def test_lossless_codec_keeps_the_frames(tmp_path: Path) -> None:
    record = write_clips(SMALL, tmp_path, codec="FFV1", mapper=Processes(0), progress=False)[0]
    dark = generate_clip(SMALL, record.action, record.scene, record.take).dark_NHWC.astype(int)
    assert np.abs(read_video(record.path).astype(int) - dark).mean() < 1.5  # only chroma has less resolution


@pytest.mark.parametrize("action", ACTIONS)
def test_lengths_phases_and_size_in_the_frame(action: str) -> None:
    heights = []
    for scene in range(1, 25):
        clip = sample_clip_state(SETTINGS, action, scene, 1)
        timing = clip.performance.timing
        assert 33 <= timing.num_frames <= 225
        assert 0 <= timing.start < timing.stop <= timing.num_frames
        assert timing.stop - timing.start >= max(20, 0.39 * timing.num_frames)
        heights.append(np.ptp(clip.joints_NJ2[:, :, 1], axis=1).max() / SETTINGS.height)
        assert np.isfinite(clip.joints_NJ2).all()
    assert 0.5 < np.median(heights) < 0.9


def test_bones_keep_their_lengths_and_feet_stay_above_the_floor() -> None:
    for action in ACTIONS:
        joints_NJ3 = sample_clip_state(SETTINGS, action, 3, 1).joints_NJ3
        for a, b in (("knee_l", "ankle_l"), ("shoulder_r", "elbow_r"), ("elbow_r", "hand_r"), ("pelvis", "neck")):
            lengths = np.linalg.norm(joints_NJ3[:, INDEX[a]] - joints_NJ3[:, INDEX[b]], axis=1)
            assert np.ptp(lengths) < 1e-9
        assert joints_NJ3[:, [INDEX["ankle_l"], INDEX["ankle_r"]], 2].min() > 0.05


def test_actions_do_what_they_say() -> None:
    for scene in range(1, 7):
        clip = {action: sample_clip_state(SETTINGS, action, scene, 1) for action in ACTIONS}
        pelvis = {action: state.joints_NJ3[:, INDEX["pelvis"], 2] for action, state in clip.items()}
        assert pelvis["sit"][0] - pelvis["sit"][-1] > 0.2 or pelvis["sit"].max() - pelvis["sit"][-1] > 0.3
        assert pelvis["stand"][-1] - pelvis["stand"][0] > 0.2 or pelvis["stand"].max() - pelvis["stand"][0] > 0.3
        turn = clip["turn"].performance
        yaw_N = turn.motion.yaw_N
        assert abs(yaw_N[turn.timing.stop - 1] - yaw_N[turn.timing.start]) > np.radians(90)
        wave = clip["wave"]
        inside = slice(wave.performance.timing.start + 8, wave.performance.timing.stop - 8)
        hands = wave.joints_NJ3[inside][:, [INDEX["hand_l"], INDEX["hand_r"]]]
        assert np.ptp(hands, axis=0).max() > 0.2
        assert clip["jump"].performance.motion.lift_N.max() > 0.12
        for action in ("walk", "run"):
            legs = clip[action].performance.motion.hip_N2
            assert np.ptp(legs[:, 0] - legs[:, 1]) > np.radians(40)


def test_person_stands_out_from_the_room_after_brightening(clips: list[ClipRecord]) -> None:
    contrasts = []
    for clip in clips[:16]:
        frame = cv2.cvtColor(read_video(clip.path)[0], cv2.COLOR_RGB2GRAY).astype(float) * 6
        joints = sample_clip_state(SETTINGS, clip.action, clip.scene, clip.take).joints_NJ2[0]
        chest = 0.6 * joints[INDEX["neck"]] + 0.4 * joints[INDEX["pelvis"]]
        x, y = np.round(chest).astype(int)
        row = frame[y - 2 : y + 3]
        contrasts.append(abs(row[:, x - 2 : x + 3].mean() - np.median(row)))
    assert np.median(contrasts) > 30


def test_darkness_is_that_of_arid(measured: np.ndarray) -> None:
    luma, difference = measured.T
    assert 14 <= np.median(luma) <= 20
    low, high = np.percentile(luma, [5, 95])
    assert low >= 5 and high <= 40
    assert 0.6 <= np.median(difference) <= 1.1


def test_darkness_compared_with_real_clips(measured: np.ndarray) -> None:
    real = golden.arid_measures()
    luma, difference = measured.T
    assert abs(np.median(luma) - np.median(real["luma"])) < 5
    assert 0.5 < np.median(difference) / np.median(real["difference"]) < 2
    assert real["luma"].min() * 0.5 < luma.min() and luma.max() < 1.5 * real["luma"].max()


def test_lit_domain_is_lit(tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, preset=DEMO_LIT, classes=("turn",), scenes=6)
    clips = write_clips(settings, tmp_path, codec="mp4v", mapper=Processes(0), progress=False)
    luma = [darkness(read_video(clip.path))[0] for clip in clips]
    assert 90 <= np.median(luma) <= 150
    assert min(luma) > 70
    lit, dark = (sample_scene(dataclasses.replace(SETTINGS, preset=preset), 1).view for preset in (DEMO_LIT, DEMO))
    assert abs(lit.yaw) >= np.radians(14) and (lit.height < 0.95 or lit.height > 1.65)
    assert 0.9 <= dark.height <= 1.7


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"classes": ("fly",)}, "fly"),
        ({"classes": ()}, "classes"),
        ({"scenes": 0}, "scenes"),
        ({"takes": 0}, "takes"),
        ({"width": 161}, "width"),
    ],
)
def test_impossible_settings_are_named(change: dict[str, object], named: str) -> None:
    with pytest.raises(UserError, match=named):
        dataclasses.replace(SETTINGS, **change)  # type: ignore[arg-type]
