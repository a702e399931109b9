"""From settings to a network."""

from darkaction.config import Bert as BertSettings
from darkaction.config import Model as ModelSettings
from darkaction.models.bert import Bert
from darkaction.models.r2plus1d import R2Plus1D
from darkaction.models.recognizer import AverageHead, BertHead, Recognizer, num_tokens


def build_recognizer(model: ModelSettings, bert: BertSettings, *, num_frames: int, num_classes: int) -> Recognizer:
    """A network with fresh weights from the sections `model` and `bert`, for clips of `num_frames` frames."""
    backbone = R2Plus1D(
        layers=model.layers,
        widths=model.widths,
        temporal_strides=model.temporal_strides,
        bn_eps=model.bn_eps,
        bn_momentum=model.bn_momentum,
    )
    head: AverageHead | BertHead
    if model.head == "average":
        head = AverageHead(dropout=bert.head_dropout)
    else:
        transformer = Bert(
            num_tokens=num_tokens(num_frames, model.temporal_strides),
            width=backbone.width,
            heads=bert.heads,
            layers=bert.layers,
            dropout=bert.dropout,
            mask=bert.mask,
            init=bert.init,
        )
        head = BertHead(transformer, normalize_tokens=bert.normalize_tokens, dropout=bert.head_dropout)
    return Recognizer(backbone, head, num_classes=num_classes)
