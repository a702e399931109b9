"""Augmentation and the items of a training: the same bytes as OpenCV gives frame by frame."""

import cv2
import numpy as np
import pytest

from darkaction.training.augmentation import Augmenter, warp
from darkaction.training.loader import Clip, TrainingClips, planes
from darkaction.training.sampling import BLANK, TRAINING_DRAW, Sampler, generator


def noise(frames: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


def warped_singly(frames_THWC: np.ndarray, angle: float, shift_xy: tuple[float, float]) -> np.ndarray:
    height, width = frames_THWC.shape[1:3]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    matrix[:, 2] += np.array(shift_xy)
    return np.stack([cv2.warpAffine(frame, matrix, (width, height)) for frame in frames_THWC])


@pytest.mark.parametrize("angle", [0.0, -7.3])
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 13])
def test_planes_are_warped_together_as_each_frame_alone(frames: int, angle: float) -> None:
    frames_THWC = noise(frames, 37, 50)
    together = warp(planes(frames_THWC), angle=angle, shift_xy=(3.7, -5.2))
    np.testing.assert_array_equal(together.transpose(1, 2, 3, 0), warped_singly(frames_THWC, angle, (3.7, -5.2)))


class OneClip:
    """A store with one clip."""

    def __init__(self, frames_NHWC: np.ndarray) -> None:
        self.frames_NHWC = frames_NHWC

    def load(self, clip_id: str) -> np.ndarray:
        return self.frames_NHWC


@pytest.mark.parametrize("frames", [5, 20, 70])
def test_an_item_is_as_if_each_shown_frame_were_augmented(frames: int) -> None:
    """Of clips shorter than T too, whose frames repeat; blank frames stay black."""
    frames_NHWC = noise(frames, 24, 32)
    sampler = Sampler(
        strategy="delta", num_frames=16, delta_min=0, delta_max=6, max_rate=16, min_frames=1, max_frames=1
    )
    augmenter = Augmenter(flip=0.5, rotation=10.0, translation=0.2)
    clip = Clip(clip_id="a", label=0, source=OneClip(frames_NHWC), flow=False)
    clips = TrainingClips([clip], sampler=sampler, augmenter=augmenter, seed=0, epochs=9, delta_curriculum=0.0)
    for epoch in range(9):
        rng = generator(seed=0, epoch=epoch, clip_id="a", draw=TRAINING_DRAW)
        indices_T = sampler.draw_ramped(frames, rng, 1.0)
        shown_THWC = np.where((indices_T == BLANK)[:, None, None, None], 0, frames_NHWC[indices_T]).astype(np.uint8)
        flipped = rng.uniform() < 0.5
        angle = rng.uniform(-10, 10)
        shift_xy = (32 * rng.uniform(-0.2, 0.2), 24 * rng.uniform(-0.2, 0.2))
        expected_THWC = warped_singly(shown_THWC, angle, shift_xy)
        expected_THWC = expected_THWC[:, :, ::-1] if flipped else expected_THWC
        np.testing.assert_array_equal(clips[epoch, 0][0].numpy(), expected_THWC.transpose(3, 0, 1, 2))


def test_size_changes_about_the_centre() -> None:
    frames_THWC = np.zeros((2, 41, 41, 3), np.uint8)
    frames_THWC[:, 15:26, 15:26] = 200
    for factor in (0.5, 2.0):
        larger = warp(planes(frames_THWC), angle=0.0, shift_xy=(0.0, 0.0), scale=factor)
        rows, columns = np.nonzero(larger[0, 0] > 100)
        assert abs(np.ptp(rows) + 1 - 11 * factor) <= 1.5
        assert abs(rows.mean() - 20) < 0.6 and abs(columns.mean() - 20) < 0.6


def filmed(**largest: float) -> tuple[np.ndarray, np.ndarray]:
    """A clip before and after what the last of many draws makes of it."""
    before = planes(noise(3, 24, 32))
    augmenter = Augmenter(flip=0.0, rotation=0.0, translation=0.0, **largest)
    return before, augmenter(before.copy(), np.random.default_rng(5))


def test_gamma_keeps_the_order_of_levels_and_black_and_white() -> None:
    before, after = filmed(gamma=0.6)
    order = np.argsort(before, axis=None)
    assert (np.diff(after.ravel()[order].astype(int)) >= 0).all()
    assert not np.array_equal(before, after)
    assert set(after[before == 0]) <= {0} and set(after[before == 255]) <= {255}


def test_blur_takes_away_what_is_fine_and_noise_adds_it() -> None:
    before, after = filmed(blur=3.0)
    assert after.std() < 0.8 * before.std() and abs(after.mean() - before.mean()) < 2
    dark = np.full((3, 8, 24, 32), 100, np.uint8)
    noisy = Augmenter(flip=0.0, rotation=0.0, translation=0.0, noise=20.0)(dark, np.random.default_rng(5)).astype(float)
    assert 0.5 < noisy.std() < 20 and abs(noisy.mean() - 100) < 1
    assert np.abs(noisy[:, 0] - noisy[:, 1]).mean() > 0.1  # another draw for every frame


def test_what_is_off_draws_nothing() -> None:
    """A training without it has the same random numbers as before there was such a thing."""
    clip_CTHW = planes(noise(3, 24, 32))
    plain = Augmenter(flip=0.5, rotation=10.0, translation=0.2)
    rngs = [np.random.default_rng(1) for _ in range(2)]
    plain(clip_CTHW, rngs[0])
    rngs[1].uniform(size=4)
    assert rngs[0].random() == rngs[1].random()
