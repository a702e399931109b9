"""Where and when an answer comes from, on networks whose reasons are known."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from darkaction.core.errors import UserError
from darkaction.models.build import build_recognizer
from darkaction.models.explanation import explain, overlay, share_inside
from darkaction.models.heads.bert import Bert, cls_attention
from darkaction.models.recognizer import AverageHead, BertHead, Recognizer
from darkaction.models.views import Colour
from tiny_training import BERT, MODEL


class Brightness(nn.Module):
    """Two features: how bright a place of 4x4 pixels and two frames is, and how dark."""

    width = 2

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        bright_B1THW = functional.avg_pool3d(clip_BCTHW.mean(1, keepdim=True), (2, 4, 4))
        return torch.cat([bright_B1THW, -bright_B1THW], 1)


class Vector(Brightness):
    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        return super().forward(clip_BCTHW).mean((2, 3, 4), keepdim=True)


def recognizer_of(backbone: nn.Module) -> Recognizer:
    network = Recognizer(
        backbone,  # type: ignore[arg-type]
        AverageHead(dropout=0.0),
        view=Colour(3),
        views=1,
        num_classes=2,
        mran=None,
    )
    with torch.no_grad():
        network.classifier.weight.copy_(torch.eye(2))
    return network


def clip_with_a_lamp() -> Tensor:
    """Grey frames, a white place in frames 4 and 5 at rows 8 to 11, columns 0 to 3, and two blank frames at the end."""
    clip_BCTHW = torch.full((1, 3, 10, 16, 16), 60, dtype=torch.uint8)
    clip_BCTHW[:, :, 4:6, 8:12, :4] = 250
    clip_BCTHW[:, :, 8:] = 0
    return clip_BCTHW


def test_heat_is_where_and_when_the_reason_is() -> None:
    [found] = explain(recognizer_of(Brightness()), clip_with_a_lamp(), torch.tensor([0]))
    assert found.heat_THW.shape == (10, 16, 16) and found.attention_T is None
    frame, row, column = np.unravel_index(found.heat_THW.argmax(), found.heat_THW.shape)
    assert 4 <= frame <= 5 and 8 <= row < 12 and column < 4
    assert found.heat_THW.max() == pytest.approx(1) and found.heat_THW.min() == 0
    assert not found.heat_THW[8:].any(), "a blank frame gives no reason"
    lamp = np.zeros((10, 16, 16), bool)
    lamp[4:6, 8:12, :4] = True
    inside, even = share_inside(found.heat_THW, lamp)
    assert inside > 4 * even > 0


def test_what_speaks_against_a_class_is_not_heat() -> None:
    """For the class of darkness the lamp is the coldest place."""
    [found] = explain(recognizer_of(Brightness()), clip_with_a_lamp(), torch.tensor([1]))
    shown_THW = found.heat_THW[:8]
    frame, row, column = np.unravel_index(shown_THW.argmin(), shown_THW.shape)
    assert 4 <= frame <= 5 and 8 <= row < 12 and column < 4
    assert shown_THW.min() < 0.4 * shown_THW.mean()


def test_attention_is_that_of_the_head_as_shares_of_the_frames() -> None:
    torch.manual_seed(0)
    network = build_recognizer(MODEL, BERT, num_frames=8, height=32, frame_width=32, num_classes=2).eval()
    head = network.head
    assert isinstance(head, BertHead) and isinstance(head.bert, Bert)
    clip_BCTHW = torch.randint(1, 255, (2, 3, 8, 32, 32), dtype=torch.uint8)
    clip_BCTHW[1, :, 6:] = 0
    found = explain(network, clip_BCTHW, torch.tensor([0, 1]))
    with torch.inference_mode(), cls_attention(head.bert) as batches:
        network(clip_BCTHW)
    steps = batches[0].mean(1)[0, 1:].numpy()
    assert found[0].attention_T is not None and found[1].attention_T is not None
    np.testing.assert_allclose(found[0].attention_T.reshape(len(steps), -1).mean(1) * 8 / len(steps),
                               steps / steps.sum(), atol=0.02)  # fmt: skip
    for one in found:
        assert one.attention_T is not None and one.attention_T.sum() == pytest.approx(1, abs=1e-5)
    assert not found[1].attention_T[6:].any() and not found[1].heat_THW[6:].any()


def test_features_without_places_are_refused() -> None:
    with pytest.raises(UserError, match=r"model.backbone: the last features of this network are \(1, 1, 1\)"):
        explain(recognizer_of(Vector()), clip_with_a_lamp(), torch.tensor([0]))


def test_a_picture_is_changed_only_where_there_is_heat() -> None:
    frame_HWC = np.full((40, 60, 3), 90, np.uint8)
    heat_HW = np.zeros((4, 6), np.float32)
    assert (overlay(frame_HWC, heat_HW) == frame_HWC).all()
    heat_HW[:, :2] = 1
    seen_HWC = overlay(frame_HWC, heat_HW)
    assert (seen_HWC[:, 40:] == frame_HWC[:, 40:]).all()
    assert (seen_HWC[:, :10, 0] > 150).all() and (seen_HWC[:, :10, 0] > seen_HWC[:, :10, 2]).all()


def test_share_of_heat_in_a_mask() -> None:
    heat_THW = np.zeros((3, 2, 2), np.float32)
    heat_THW[0] = [[3, 1], [0, 0]]
    mask_THW = np.zeros((3, 2, 2), bool)
    mask_THW[:, 0, 0] = True
    mask_THW[2] = True  # a frame without heat, which does not count
    assert share_inside(heat_THW, mask_THW) == (0.75, 0.25)
    assert share_inside(0 * heat_THW, mask_THW) == (0.0, 0.0)
