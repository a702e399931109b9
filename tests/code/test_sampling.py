"""Sampling strategies against literal lists and section 3.3 in exact numbers."""

from fractions import Fraction

import numpy as np
import pytest

from darkaction.training.sampling import BLANK, Sampler, delta_rate, fixed_rate, generator, place, ramp


def sampler(strategy: str = "delta", **changes: float) -> Sampler:
    settings = {
        "num_frames": 64, "delta_min": 0.0, "delta_max": 1.5, "max_rate": 4.0, "min_frames": 33, "max_frames": 300,
    } | changes  # fmt: skip
    return Sampler(strategy=strategy, **settings)  # type: ignore[arg-type]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("delta", "kept"),
    [
        (0.0, [64, 64, 64, 64, 64, 75]),
        (0.25, [43, 51, 55, 57, 59, 75]),
        (0.75, [26, 36, 43, 48, 56, 75]),
        (1.5, [16, 25, 32, 39, 56, 75]),
    ],
)
def test_kept_frames_worked_out_by_hand(delta: float, kept: list[int]) -> None:
    """floor(N / S) for N = 33, 64, 100, 150, 225, 300; the cap of 4 holds from N = 64 (4 - delta) on."""
    assert [delta_rate(n, delta, 64, 4.0)[1] for n in (33, 64, 100, 150, 225, 300)] == kept


@pytest.mark.parametrize("num_frames", [16, 30, 64, 72])
@pytest.mark.parametrize("delta", [0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 3.0])
def test_delta_is_section_3_3_in_exact_numbers(num_frames: int, delta: float) -> None:
    """S = min((N + T delta) / T, alpha), L = floor(N / S), frame k is floor(k S)."""
    for n in (1, 2, 15, 33, 34, 63, 64, 65, 100, 128, 150, 160, 208, 225, 240, 256, 257, 300, 999):
        exact = min((n + num_frames * Fraction(delta)) / num_frames, Fraction(4))
        rate, kept = delta_rate(n, delta, num_frames, 4.0)
        assert rate == exact
        assert kept == max(1, n / exact // 1)
        shown = min(kept, 80)
        expected = [min(int(k * exact // 1), n - 1) for k in range(shown)]
        assert place(n, rate, kept, 80, 0.0)[:shown].tolist() == expected


@pytest.mark.parametrize("rate", [Fraction(33, 64), Fraction(1), Fraction(300, 64), Fraction(1637, 1000)])
def test_a_fixed_rate_keeps_the_floor_of_the_quotient(rate: Fraction) -> None:
    for n in (33, 64, 100, 150, 225, 300):
        assert fixed_rate(n, rate)[1] == n / rate // 1


def test_frames_of_delta_draw() -> None:
    # N=8, T=4, delta=2: S = (8 + 8) / 4 = 4, L = 2, frames 0 and 4, P1 in 0..2
    rate, kept = delta_rate(8, 2.0, 4, 10.0)
    assert (rate, kept) == (4, 2)
    assert place(8, rate, kept, 4, 0.0).tolist() == [0, 4, BLANK, BLANK]
    assert place(8, rate, kept, 4, 0.5).tolist() == [BLANK, 0, 4, BLANK]
    assert place(8, rate, kept, 4, 1.0).tolist() == [BLANK, BLANK, 0, 4]


def test_short_video_repeats_frames() -> None:
    rate, kept = delta_rate(3, 0.0, 6, 4.0)
    assert place(3, rate, kept, 6, 0.9).tolist() == [0, 0, 1, 1, 2, 2]


def test_capped_long_video_is_a_window() -> None:
    rate, kept = delta_rate(40, 0.0, 4, 4.0)  # L = 10 > T = 4
    assert place(40, rate, kept, 4, 0.0).tolist() == [0, 4, 8, 12]
    assert place(40, rate, kept, 4, 1.0).tolist() == [24, 28, 32, 36]


def test_delta_below_0_shows_a_part_of_the_clip_more_densely() -> None:
    """128 frames on 64 places are every second one; with delta -0.5 every 1.5th, of which 85 there are 64 shown; never
    less than one frame on, and a clip of fewer frames than places stays whole."""
    assert delta_rate(128, -0.5, 64, 4.0) == (Fraction(3, 2), 85)
    assert delta_rate(128, -5.0, 64, 4.0) == (1, 128)
    assert delta_rate(40, -0.5, 64, 4.0) == (Fraction(40, 64), 64)
    shown = sampler(delta_min=-0.5, delta_max=-0.5).draw(128, rng())
    assert len(shown) == 64 and shown[-1] - shown[0] < 96 and set(np.diff(shown).tolist()) == {1, 2}


def test_test_windows_are_spread_over_a_long_video() -> None:
    draws = [sampler(num_frames=4).draw_test(40, rng(), draw, 3).tolist() for draw in range(3)]
    assert [window[0] for window in draws] == [0, 12, 24]


@pytest.mark.parametrize("strategy", ["delta", "constant", "length_adjusted", "variable"])
@pytest.mark.parametrize("num_video_frames", [1, 2, 33, 64, 100, 225, 300, 1000])
def test_every_draw_is_ordered_inside_and_contiguous(strategy: str, num_video_frames: int) -> None:
    for seed in range(20):
        indices = sampler(strategy).draw(num_video_frames, np.random.default_rng(seed))
        assert indices.shape == (64,)
        shown = np.flatnonzero(indices != BLANK)
        assert len(shown) >= 1
        assert shown[-1] - shown[0] + 1 == len(shown)
        frames = indices[shown]
        assert frames.min() >= 0 and frames.max() < num_video_frames
        assert (np.diff(frames) >= 0).all()


def test_length_adjusted_is_never_off_by_one() -> None:
    for num_frames in (16, 30, 64, 100):
        for num_video_frames in range(1, 400):
            indices = sampler("length_adjusted", num_frames=num_frames).draw(num_video_frames, rng())
            expected = [k * num_video_frames // num_frames for k in range(num_frames)]
            assert indices.tolist() == expected


def test_padding_is_uniform_over_its_range() -> None:
    draws = [sampler("constant").draw(225, np.random.default_rng(seed)) for seed in range(3000)]
    counts = np.bincount([np.flatnonzero(draw != BLANK)[0] for draw in draws])
    assert len(counts) == 64 - 48 + 1
    assert counts.min() > 0.65 * counts.mean() and counts.max() < 1.35 * counts.mean()


def test_draws_depend_on_seed_epoch_clip_and_draw_only() -> None:
    def numbers(**changes: int | str) -> list[float]:
        key = {"seed": 0, "epoch": 3, "clip_id": "demo/Walk_3_12", "draw": 0} | changes
        return list(generator(**key).uniform(size=3))  # type: ignore[arg-type]

    assert numbers() == numbers()
    others = [numbers(seed=1), numbers(epoch=4), numbers(clip_id="demo/Walk_3_11"), numbers(draw=1), numbers(draw=-1)]
    assert len({tuple(other) for other in [numbers(), *others]}) == 6


def test_ramp() -> None:
    assert [ramp(epoch, 10, 0.5) for epoch in (0, 1, 5, 9)] == [0.0, 0.2, 1.0, 1.0]
    assert ramp(0, 10, 0.0) == 1.0
    ramped = sampler().draw_ramped(100, rng(), 0.0)
    assert (ramped != BLANK).all()
