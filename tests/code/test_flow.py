"""Optical flow: what is stored, that it follows motion, and that it turns with the picture."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from darkaction.core.errors import UserError
from darkaction.data import flow
from darkaction.training.augmentation import Augmenter, mirror, warp
from darkaction.training.loader import Clip, planes, show
from darkaction.training.sampling import BLANK
from stores import make_store


def textured(height: int, width: int) -> np.ndarray:
    """A smooth random picture, RGB."""
    rng = np.random.default_rng(0)
    return cv2.resize(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)


def moving(frames: int, *, step: tuple[int, int]) -> np.ndarray:
    """The picture moved by `step` (x, y) from frame to frame."""
    large = textured(96, 96)
    return np.stack([large[30 - step[1] * k :][:48, 30 - step[0] * k :][:, :48] for k in range(frames)])


@pytest.mark.parametrize("step", [(2, 0), (0, 2), (-3, 1)])
def test_flow_is_the_motion_in_pixels(step: tuple[int, int]) -> None:
    stored_NHW2 = np.concatenate(list(flow.of_frames([moving(4, step=step)])))
    assert (stored_NHW2.shape, stored_NHW2.dtype) == ((4, 48, 48, 2), np.uint8)
    middle = flow.restore(stored_NHW2[:, 12:36, 12:36])
    np.testing.assert_allclose(middle.mean((0, 1, 2)), step, atol=0.35)


def test_chunks_make_no_difference_and_the_last_frame_repeats_the_one_before() -> None:
    frames = moving(7, step=(1, 1))
    whole = np.concatenate(list(flow.of_frames([frames])))
    parts = np.concatenate(list(flow.of_frames([frames[:3], frames[3:4], frames[4:]])))
    np.testing.assert_array_equal(parts, whole)
    np.testing.assert_array_equal(whole[-1], whole[-2])
    assert (np.concatenate(list(flow.of_frames([frames[:1]]))) == flow.STILL).all()


def test_quantising_keeps_an_eighth_of_a_pixel_and_cuts_what_is_too_fast() -> None:
    motion = np.array([[[-3.25, 0.0]], [[0.0625, 40.0]]], dtype=np.float32)
    np.testing.assert_allclose(flow.restore(flow.quantise(motion)), [[[-3.25, 0]], [[0, 15.875]]], atol=0.0626)
    assert (flow.quantise(np.zeros((2, 2, 2), np.float32)) == flow.STILL).all()


def with_flow(frames: np.ndarray) -> np.ndarray:
    return np.concatenate([frames, np.concatenate(list(flow.of_frames([frames])))], axis=-1)


def mirrored(frames_THWC: np.ndarray) -> np.ndarray:
    return mirror(planes(frames_THWC)).transpose(1, 2, 3, 0)


def warped(frames_THWC: np.ndarray, *, angle: float, shift_xy: tuple[float, float]) -> np.ndarray:
    return warp(planes(frames_THWC), angle=angle, shift_xy=shift_xy).transpose(1, 2, 3, 0)


def middle_motion(frames_THWC: np.ndarray) -> np.ndarray:
    return flow.restore(frames_THWC[:, 16:32, 16:32, 3:]).mean((0, 1, 2))


def test_mirrored_clips_have_the_flow_of_mirrored_frames() -> None:
    frames = moving(4, step=(2, 1))
    turned = mirrored(with_flow(frames))
    np.testing.assert_allclose(middle_motion(turned), (-2, 1), atol=0.4)
    of_mirrored = with_flow(np.ascontiguousarray(frames[:, :, ::-1]))
    inner = np.s_[:, 8:40, 8:40, 3:]
    assert np.abs(turned[inner].astype(int) - of_mirrored[inner]).mean() < 2


@pytest.mark.parametrize("angle", [90.0, -30.0])
def test_turned_clips_have_the_flow_of_turned_frames(angle: float) -> None:
    frames = moving(4, step=(2, 0))
    turned = warped(with_flow(frames), angle=angle, shift_xy=(0.0, 0.0))
    radians = np.deg2rad(angle)
    expected = (2 * np.cos(radians), -2 * np.sin(radians))  # y points down
    np.testing.assert_allclose(middle_motion(turned), expected, atol=0.4)
    of_turned = with_flow(warped(frames, angle=angle, shift_xy=(0.0, 0.0)))
    np.testing.assert_allclose(middle_motion(of_turned), expected, atol=0.5)


def test_what_comes_in_from_outside_is_black_and_still() -> None:
    moved = warped(with_flow(moving(2, step=(2, 0))), angle=0.0, shift_xy=(20.0, 0.0))
    assert (moved[:, :, :18, :3] == 0).all()
    assert (moved[:, :, :18, 3:] == flow.STILL).all()


def test_colour_is_augmented_alike_with_and_without_flow() -> None:
    frames = moving(3, step=(1, 0))
    augmenter = Augmenter(flip=1.0, rotation=10.0, translation=0.1)
    alone = augmenter(planes(frames), np.random.default_rng(5))
    beside = augmenter(planes(with_flow(frames)), np.random.default_rng(5))
    np.testing.assert_array_equal(beside[:3], alone)


def test_store_keeps_flow_beside_the_frames(tmp_path: Path) -> None:
    frames = moving(5, step=(1, 0))
    store = make_store(tmp_path, {"demo/Walk_1_1": frames}, flow=True)
    store.verify()
    clip = Clip(clip_id="demo/Walk_1_1", label=0, source=store, flow=True)
    shown = show(clip, store.load(clip.clip_id), np.array([BLANK, 0, 3, BLANK]))
    assert shown.shape == (4, 48, 48, 5)
    np.testing.assert_array_equal(shown[1:3], with_flow(frames)[[0, 3]])
    assert (shown[[0, 3], ..., :3] == 0).all()
    assert (shown[[0, 3], ..., 3:] == flow.STILL).all()
    path = tmp_path / "00000.flow.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    with pytest.raises(UserError, match=r"00000\.flow\.npy is damaged"):
        store.verify()


def test_a_store_without_flow_says_how_to_get_it(tmp_path: Path) -> None:
    store = make_store(tmp_path, {"demo/Walk_1_1": moving(2, step=(1, 0))})
    with pytest.raises(UserError, match=r"stored without optical flow; set enhance\.flow: true"):
        store.load_flow("demo/Walk_1_1")
