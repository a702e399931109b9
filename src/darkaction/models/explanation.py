"""Where and when an answer comes from: Grad-CAM over space and time, and what BERT attends to over time.

B clips, T frames as the network sees them, T' its time steps, A heads, H W pixels.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from darkaction.core.errors import UserError
from darkaction.data.video import Frames
from darkaction.models.heads.bert import cls_attention
from darkaction.models.recognizer import BertHead, Recognizer

STRONGEST = 0.65
"""Opacity of the greatest heat on a picture; where there is none, the frame is seen as it is."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Of one clip and class. A blank frame has neither heat nor attention."""

    heat_THW: NDArray[np.float32]  # from 0 to 1, the greatest of the clip
    attention_T: NDArray[np.float32] | None  # sum 1, mean of the heads; None for a head without attention


def explain(recognizer: Recognizer, clip_BCTHW: Tensor, class_B: Tensor) -> list[Explanation]:
    """Why the network would name these classes (Selvaraju et al., Grad-CAM, ICCV 2017): its last features, each
    weighted by the mean gradient of the class score, summed, where that is positive. The network is left in eval mode.

    Args:
        recognizer: on the device of the clips.
        clip_BCTHW: as it takes them, uint8.
        class_B: int64.

    Raises:
        UserError: for a backbone that keeps no places or no time.
    """
    from captum.attr import LayerGradCam  # a second or more: not for whoever explains nothing

    recognizer.eval()
    backbone, head = recognizer.backbone, recognizer.head
    assert isinstance(backbone, torch.nn.Module)
    clip_BCTHW = clip_BCTHW.float() / 255
    watched: AbstractContextManager[list[Tensor]] = nullcontext([])
    if isinstance(head, BertHead):
        watched = cls_attention(head.bert)
    with torch.enable_grad(), watched as batches:
        cam_N1THW = LayerGradCam(recognizer, backbone).attribute(clip_BCTHW, target=class_B, relu_attributions=True)
    cam_B1THW = cam_N1THW.unflatten(0, (recognizer.views, -1)).sum(0)
    if cam_B1THW[0, 0].numel() == cam_B1THW.shape[2] or cam_B1THW.shape[2] == 1:
        raise UserError(
            f"model.backbone: the last features of this network are {tuple(cam_B1THW.shape[2:])} in time, height and "
            "width; an explanation needs some of each (r2plus1d, se_r2plus1d, efficientnet)"
        )
    shown_BT = clip_BCTHW[:, :3].amax((1, 3, 4)) > 0  # of flow, 0 is no sign of a blank frame
    heat_BTHW = functional.interpolate(cam_B1THW.detach(), clip_BCTHW.shape[2:], mode="trilinear")[:, 0]
    heat_BTHW = heat_BTHW * shown_BT[:, :, None, None]
    heat_BTHW = heat_BTHW / heat_BTHW.amax((1, 2, 3), keepdim=True).clamp_min(1e-12)
    attention_BT = None
    if batches:  # key 0 is CLS itself
        of_views_BVT = batches[0].mean(1)[:, 1:].detach().unflatten(1, (recognizer.views, -1))
        attention_BT = _over_time(of_views_BVT.sum(1), shown_BT)
    return [
        Explanation(
            heat_THW=heat_BTHW[clip].cpu().numpy(),
            attention_T=None if attention_BT is None else attention_BT[clip].cpu().numpy(),
        )
        for clip in range(len(heat_BTHW))
    ]


def _over_time(attention_BT: Tensor, shown_BT: Tensor) -> Tensor:
    """What the time steps get, (B, T'), as shares of the frames that are shown, (B, T), of sum 1."""
    frames_BT = functional.interpolate(attention_BT[:, None], shown_BT.shape[1], mode="linear")[:, 0] * shown_BT
    return frames_BT / frames_BT.sum(1, keepdim=True).clamp_min(1e-12)


def overlay(frame_HWC: Frames, heat_HW: NDArray[np.float32]) -> Frames:
    """A frame (H, W, 3) uint8 RGB with heat of any size and of 0 to 1 upon it, from transparent to yellow."""
    height, width = frame_HWC.shape[:2]
    heat_HW = np.clip(cv2.resize(heat_HW, (width, height), interpolation=cv2.INTER_LINEAR), 0, 1)
    colours_HWC = cv2.applyColorMap(np.rint(255 * heat_HW).astype(np.uint8), cv2.COLORMAP_INFERNO)[:, :, ::-1]
    opacity_HW1 = STRONGEST * heat_HW[:, :, None]
    mixed_HWC = frame_HWC * (1 - opacity_HW1) + colours_HWC * opacity_HW1
    return np.asarray(np.rint(mixed_HWC), np.uint8)


def share_inside(heat_THW: NDArray[np.float32], mask_THW: NDArray[np.bool_]) -> tuple[float, float]:
    """How much of the heat lies inside a mask, and how much even heat on the same frames would: two shares of 1."""
    warm_T = heat_THW.sum((1, 2)) > 0
    heat_THW, mask_THW = heat_THW[warm_T], mask_THW[warm_T]
    if not len(heat_THW):
        return 0.0, 0.0
    return float((heat_THW * mask_THW).sum() / heat_THW.sum()), float(mask_THW.mean())
