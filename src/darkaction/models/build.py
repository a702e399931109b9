"""From settings to a network: the one place that knows every architecture by its name in params.yaml.

Networks made of parts of torchvision or transformers import them only where they are built, for that takes seconds.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from darkaction.core.errors import UserError
from darkaction.models.backbones.c3d import C3D
from darkaction.models.backbones.i3d import I3D
from darkaction.models.backbones.r2plus1d import R2Plus1D
from darkaction.models.backbones.resnet3d import ResNet3D
from darkaction.models.backbones.shufflenet3d import ShuffleNet3D
from darkaction.models.backbones.slowfast import SlowFast
from darkaction.models.backbones.squeeze_excitation import SeR2Plus1D
from darkaction.models.backbones.squeezenet3d import SqueezeNet3D
from darkaction.models.backbones.videomae import VideoMAEBackbone
from darkaction.models.heads.bert import Bert
from darkaction.models.heads.mran import MultiRepresentation
from darkaction.models.recognizer import AverageHead, Backbone, BertHead, Recognizer
from darkaction.models.settings import Bert as BertSettings
from darkaction.models.settings import Model as ModelSettings
from darkaction.models.views import Colour, LearnedGamma, Movement, TwoViews, View


@dataclass(frozen=True, kw_only=True)
class ClipSize:
    """What the network is shown: frames and pixels."""

    num_frames: int
    height: int
    width: int


def build_recognizer(
    model: ModelSettings, bert: BertSettings, *, num_frames: int, height: int, frame_width: int, num_classes: int
) -> Recognizer:
    """A network with fresh weights from the sections `model` and `bert`, for clips of `num_frames` frames of
    `height` x `frame_width` pixels.

    Raises:
        UserError: when bert.heads does not divide the width of the backbone.
    """
    size = ClipSize(num_frames=num_frames, height=height, width=frame_width)
    backbone = BACKBONES[model.backbone](model, size)
    head: AverageHead | BertHead
    if model.head == "average":
        head = AverageHead(dropout=bert.head_dropout)
    else:
        if backbone.width % bert.heads:
            raise UserError(
                f"bert.heads is {bert.heads}, which does not divide the feature width {backbone.width} of "
                f"model.backbone {model.backbone}"
            )
        transformer = Bert(
            num_tokens=model.views * num_tokens(model, size),
            width=backbone.width,
            heads=bert.heads,
            layers=bert.layers,
            dropout=bert.dropout,
            mask=bert.mask,
            init=bert.init,
        )
        head = BertHead(transformer, normalize=bert.normalize, dropout=bert.head_dropout)
    mran = MultiRepresentation(backbone.width, num_classes=num_classes) if model.mran else None
    return Recognizer(backbone, head, view=_view(model), views=model.views, num_classes=num_classes, mran=mran)


def _view(model: ModelSettings) -> View:
    if model.input == "movement":
        return Movement()
    if model.input == "learned_gamma":
        return LearnedGamma()
    return TwoViews() if model.input == "two_views" else Colour(model.channels)


def num_tokens(model: ModelSettings, size: ClipSize) -> int:
    """Time steps of a backbone's features: of R(2+1)D what its temporal strides leave, of others found by a pass
    through a copy without weights."""
    if model.backbone in ("r2plus1d", "se_r2plus1d"):  # such a pass first imports torch's compiler, two seconds
        return functools.reduce(
            lambda steps, stride: math.ceil(steps / stride), model.temporal_strides, size.num_frames
        )
    with torch.device("meta"):
        backbone = BACKBONES[model.backbone](model, size)
        assert isinstance(backbone, nn.Module)
        backbone.eval()
        clip_BCTHW = torch.empty(1, model.view_channels, size.num_frames, size.height, size.width)
        return int(backbone(clip_BCTHW).shape[2])


def _r2plus1d(model: ModelSettings, size: ClipSize) -> Backbone:
    return R2Plus1D(
        in_channels=model.view_channels,
        layers=model.layers,
        widths=model.widths,
        temporal_strides=model.temporal_strides,
        bn_eps=model.bn_eps,
        bn_momentum=model.bn_momentum,
    )


def _se_r2plus1d(model: ModelSettings, size: ClipSize) -> Backbone:
    return SeR2Plus1D(
        in_channels=model.view_channels,
        layers=model.layers,
        widths=model.widths,
        temporal_strides=model.temporal_strides,
        bn_eps=model.bn_eps,
        bn_momentum=model.bn_momentum,
        num_frames=size.num_frames,
        reduction=model.se_reduction,
    )


def _slowfast(model: ModelSettings, size: ClipSize) -> Backbone:
    if size.num_frames % model.slowfast_ratio:
        raise UserError(
            f"model.slowfast_ratio is {model.slowfast_ratio}, which does not divide sampling.num_frames "
            f"{size.num_frames}"
        )
    return SlowFast(in_channels=model.view_channels, ratio=model.slowfast_ratio, width=model.width, depth=model.depth)


def _c3d(model: ModelSettings, size: ClipSize) -> Backbone:
    return C3D(
        in_channels=model.view_channels,
        num_frames=size.num_frames,
        height=size.height,
        frame_width=size.width,
        width=model.width,
    )


def _resnet(model: ModelSettings, size: ClipSize) -> Backbone:
    return ResNet3D(name=model.backbone, in_channels=model.view_channels, width=model.width, depth=model.depth)


def _efficientnet(model: ModelSettings, size: ClipSize) -> Backbone:
    from darkaction.models.backbones.efficientnet import EfficientNetFrames

    return EfficientNetFrames(in_channels=model.view_channels, width=model.width, depth=model.depth)


def _s3d(model: ModelSettings, size: ClipSize) -> Backbone:
    from darkaction.models.backbones.torchvision_video import S3DBackbone

    return S3DBackbone(in_channels=model.view_channels, width=model.width)


def _swin3d(model: ModelSettings, size: ClipSize) -> Backbone:
    from darkaction.models.backbones.torchvision_video import Swin3DBackbone

    return Swin3DBackbone(in_channels=model.view_channels, width=model.width, depth=model.depth)


def _mvit(model: ModelSettings, size: ClipSize) -> Backbone:
    from darkaction.models.backbones.torchvision_video import MViTBackbone

    return MViTBackbone(
        in_channels=model.view_channels,
        num_frames=size.num_frames,
        height=size.height,
        frame_width=size.width,
        width=model.width,
        depth=model.depth,
    )


def _videomae(model: ModelSettings, size: ClipSize) -> Backbone:
    return VideoMAEBackbone(
        in_channels=model.view_channels,
        num_frames=size.num_frames,
        height=size.height,
        frame_width=size.width,
        width=model.width,
        depth=model.depth,
    )


Builder = Callable[[ModelSettings, ClipSize], Backbone]

BACKBONES: dict[str, Builder] = {
    "r2plus1d": _r2plus1d,
    "se_r2plus1d": _se_r2plus1d,
    "slowfast": _slowfast,
    "efficientnet": _efficientnet,
    "c3d": _c3d,
    "resnet18": _resnet,
    "resnet50": _resnet,
    "resnet101": _resnet,
    "resnext101": _resnet,
    "squeezenet": lambda m, size: SqueezeNet3D(in_channels=m.view_channels, width=m.width),
    "shufflenet": lambda m, size: ShuffleNet3D(in_channels=m.view_channels, width=m.width, depth=m.depth),
    "i3d": lambda m, size: I3D(in_channels=m.view_channels, width=m.width),
    "s3d": _s3d,
    "mvit": _mvit,
    "swin3d": _swin3d,
    "videomae": _videomae,
}
"""model.backbone -> what makes it."""
