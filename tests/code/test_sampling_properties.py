"""Section 3.3 for any video and any settings: which frames a draw may show, and where blank ones stand."""

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from darkaction.training.sampling import BLANK, Sampler, delta_rate, generator, place

ALWAYS = settings(derandomize=True, deadline=None, max_examples=150, database=None)

videos = st.integers(1, 400)  # N
lengths = st.integers(1, 80)  # T
seeds = st.integers(0, 2**31 - 1)
positions = st.floats(0, 1)
deltas = st.floats(0, 8)
rates = st.floats(1, 32)
strategies = st.sampled_from(["delta", "constant", "length_adjusted", "variable"])


@st.composite
def samplers(draw: st.DrawFn) -> Sampler:
    low, high = sorted((draw(deltas), draw(deltas)))
    shortest, longest = sorted((draw(videos), draw(videos)))
    return Sampler(
        strategy=draw(strategies), num_frames=draw(lengths), delta_min=low, delta_max=high, max_rate=draw(rates),
        min_frames=shortest, max_frames=longest,
    )  # fmt: skip


def assert_shows_frames_in_order(indices_T: np.ndarray, num_video_frames: int, num_frames: int) -> None:
    """T indices: one run of frames of the video that never go back, blank frames only before and after it."""
    assert indices_T.shape == (num_frames,)
    shown = np.flatnonzero(indices_T != BLANK)
    assert len(shown) and np.array_equal(shown, np.arange(shown[0], shown[-1] + 1))
    frames = indices_T[shown]
    assert frames.min() >= 0 and frames.max() < num_video_frames
    assert (np.diff(frames) >= 0).all()


@ALWAYS
@given(samplers(), videos, seeds, positions, st.integers(1, 5))
def test_every_draw_shows_frames_in_order(
    sampler: Sampler, num_video_frames: int, seed: int, ramp: float, draws: int
) -> None:
    rng = np.random.default_rng(seed)
    found = [sampler.draw(num_video_frames, rng), sampler.draw_ramped(num_video_frames, rng, ramp)]
    found += [sampler.draw_test(num_video_frames, rng, draw, draws) for draw in range(draws)]
    for indices_T in found:
        assert_shows_frames_in_order(indices_T, num_video_frames, sampler.num_frames)


@ALWAYS
@given(videos, lengths, deltas, rates)
def test_rate_and_kept_frames_are_equation_7(
    num_video_frames: int, num_frames: int, delta: float, max_rate: float
) -> None:
    rate, kept = delta_rate(num_video_frames, delta, num_frames, max_rate)
    wanted = Fraction(num_video_frames) / num_frames + Fraction(delta)
    assert rate == min(wanted, Fraction(max_rate))
    assert kept == max(1, num_video_frames // rate)
    if rate == wanted:
        assert kept <= num_frames  # frames are left over only where the cap holds


@ALWAYS
@given(videos, lengths, deltas, rates, positions)
def test_padding_fills_what_is_not_kept(
    num_video_frames: int, num_frames: int, delta: float, max_rate: float, position: float
) -> None:
    """P1 + P2 = T - L; where L > T it is a window of the kept frames, without padding."""
    rate, kept = delta_rate(num_video_frames, delta, num_frames, max_rate)
    indices_T = place(num_video_frames, rate, kept, num_frames, position)
    assert (indices_T == BLANK).sum() == max(0, num_frames - kept)
    every_L = [min(int(k * rate // 1), num_video_frames - 1) for k in range(kept)]
    shown = indices_T[indices_T != BLANK].tolist()
    assert any(shown == every_L[start : start + num_frames] for start in range(max(1, kept - num_frames + 1)))


@ALWAYS
@given(videos, lengths, deltas, rates)
def test_padding_may_stand_wholly_before_or_behind(
    num_video_frames: int, num_frames: int, delta: float, max_rate: float
) -> None:
    rate, kept = delta_rate(num_video_frames, delta, num_frames, max_rate)
    first, last = (place(num_video_frames, rate, kept, num_frames, position) for position in (0.0, 1.0))
    assert first[0] == 0 and last[-1] != BLANK


@ALWAYS
@given(samplers(), videos, seeds, st.integers(0, 100), st.text(min_size=1, max_size=12), st.integers(-1, 9))
def test_the_same_seed_gives_the_same_frames(
    sampler: Sampler, num_video_frames: int, seed: int, epoch: int, clip_id: str, draw: int
) -> None:
    key = {"seed": seed, "epoch": epoch, "draw": draw}
    first, again = (sampler.draw(num_video_frames, generator(clip_id=clip_id, **key)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
