"""What networks are shown: movement does not depend on light, exposure or what stands still."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from darkaction.models.build import build_recognizer
from darkaction.models.recognizer import BertHead
from darkaction.models.views import FIRST_GAMMA, Colour, LearnedGamma, Movement, TwoViews
from tiny_training import BERT, MODEL


def moving_square(brightness: float = 1.0) -> Tensor:
    """A square that moves to the right over a structured background, and two blank frames."""
    torch.manual_seed(0)
    clip_BCTHW = (0.2 + 0.2 * torch.rand(1, 3, 1, 16, 16)).repeat(1, 1, 6, 1, 1)
    for frame in range(4):
        clip_BCTHW[0, :, frame, 4:8, 2 * frame : 2 * frame + 4] = 0.8
    clip_BCTHW[:, :, 4:] = 0
    return clip_BCTHW * brightness


def test_movement_is_seen_and_what_stands_still_is_not() -> None:
    from_mean, step = Movement()(moving_square())[0]
    still = torch.ones(16, 16, dtype=torch.bool)
    still[4:8, :10] = False
    for difference in (from_mean[:4], step[1:4]):
        levels = difference[:, still]
        assert levels.std(1).max() < 1e-5  # one level for all that stands still
        assert difference.amax((1, 2)).min() > 1 and difference.mean((1, 2)).abs().max() < 1e-5
    assert step[0].abs().max() == 0


def test_blank_frames_stay_blank() -> None:
    shown = Movement()(moving_square())
    assert shown[0, :, 4:].abs().max() == 0
    longer = Movement()(torch.cat([moving_square(), torch.zeros(1, 3, 3, 16, 16)], 2))
    torch.testing.assert_close(longer[:, :, :6], shown)
    assert torch.isfinite(Movement()(torch.zeros(1, 3, 4, 8, 8))).all()


def test_light_and_exposure_do_not_matter() -> None:
    shown = Movement()(moving_square())
    torch.testing.assert_close(Movement()(moving_square(0.4)), shown, atol=1e-4, rtol=1e-4)
    drifting = moving_square()
    drifting[:, :, :4] += torch.tensor([0.0, 0.02, 0.04, 0.06]).view(1, 1, 4, 1, 1)
    flat, shown = Movement()(drifting)[:, :, :4], shown[:, :, :4]
    assert (flat - shown).abs().max() < 0.15 * shown.abs().max()


def test_noise_alone_is_not_raised_without_end() -> None:
    faint = 0.1 + 1e-4 * torch.rand(1, 3, 8, 8, 8)
    assert Movement()(faint).abs().max() < 0.05


def test_colour_has_the_statistics_of_pretrained_networks() -> None:
    clip_BCTHW = torch.full((1, 5, 2, 4, 4), 128 / 255)
    shown = Colour(5)(clip_BCTHW)
    assert shown[0, 0, 0, 0, 0] == pytest.approx((128 / 255 - 0.43216) / 0.22803, abs=1e-5)
    assert shown[0, 3:].abs().max() < 1e-5  # no motion
    assert not Colour(3).state_dict() and not Movement().state_dict() and not TwoViews().state_dict()


def test_a_learned_gamma_is_the_power_law_and_is_learnt() -> None:
    view, clip_BCTHW = LearnedGamma(), torch.tensor([0.0, 0.1, 1.0]).view(1, 1, 1, 1, 3).repeat(1, 3, 2, 2, 1)
    expected = Colour(3)(torch.tensor([0.0, 0.1 ** (1 / FIRST_GAMMA), 1.0]).expand_as(clip_BCTHW))
    torch.testing.assert_close(view(clip_BCTHW), expected)
    view(clip_BCTHW).sum().backward()
    assert list(view.state_dict()) == ["log_gamma"] and float(view.log_gamma.grad) > 0  # brighter with a larger one
    view.zero_grad()
    view(torch.zeros_like(clip_BCTHW)).sum().backward()
    assert float(view.log_gamma.grad) == 0, "black stays black, and no slope is without bound"


def test_two_views_are_the_clips_and_their_gamma_correction_and_one_sequence() -> None:
    clip_BCTHW = torch.rand(2, 3, 8, 32, 32)
    shown_NCTHW = TwoViews()(clip_BCTHW)
    torch.testing.assert_close(shown_NCTHW[:2], Colour(3)(clip_BCTHW))
    torch.testing.assert_close(shown_NCTHW[2:], Colour(3)(clip_BCTHW ** (1 / FIRST_GAMMA)))
    size = {"num_frames": 8, "height": 32, "frame_width": 32, "num_classes": 2}
    network = build_recognizer(replace(MODEL, input="two_views"), BERT, **size).eval()
    plain = build_recognizer(MODEL, BERT, **size)
    assert isinstance(network.head, BertHead) and isinstance(plain.head, BertHead)
    tokens, single = (net.head.bert.embedding.learnedPosition.pe.shape[1] - 1 for net in (network, plain))
    assert tokens == 2 * single, "DarkLight: 16 tokens where R(2+1)D-34 gives 8"
    torch.testing.assert_close(network(clip_BCTHW)[1:], network(clip_BCTHW[1:]), atol=1e-5, rtol=1e-4)
