"""Released weights of other projects: their addresses, and how a file of them is read and written.

Released files are PyTorch pickles, read without running any code in them, or safetensors.
"""

import hashlib
import os
import pickle  # nosec B403  # for its errors; nothing is unpickled
import re
import shutil
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor

from darkaction.core.errors import UserError
from darkaction.core.explain import nearest

IG65M = "https://github.com/moabitcoin/ig65m-pytorch/releases/download/v1.0.0"
PYTORCHVIDEO = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics"
TORCHVISION = "https://download.pytorch.org/models"
HUGGING_FACE = "https://huggingface.co"
RELEASED = {
    "r2plus1d_34_clip32_ig65m": f"{IG65M}/r2plus1d_34_clip32_ig65m_from_scratch-449a7af9.pth",
    "r2plus1d_34_clip32_kinetics": f"{IG65M}/r2plus1d_34_clip32_ft_kinetics_from_ig65m-ade133f1.pth",
    "r2plus1d_34_clip8_ig65m": f"{IG65M}/r2plus1d_34_clip8_ig65m_from_scratch-9bae36ae.pth",
    "r2plus1d_34_clip8_kinetics": f"{IG65M}/r2plus1d_34_clip8_ft_kinetics_from_ig65m-0aa0550b.pth",
    "slowfast_4x16": f"{PYTORCHVIDEO}/SLOWFAST_4x16_R50.pyth",
    "slowfast_8x8": f"{PYTORCHVIDEO}/SLOWFAST_8x8_R50.pyth",
    "s3d": f"{TORCHVISION}/s3d-d76dad2f.pth",
    "mvit": f"{TORCHVISION}/mvit_v2_s-ae3be167.pth",
    "swin3d": f"{TORCHVISION}/swin3d_t-7615ae03.pth",
    "efficientnet": f"{TORCHVISION}/efficientnet_b0_rwightman-7f5810bc.pth",
    "videomae": f"{HUGGING_FACE}/MCG-NJU/videomae-base-finetuned-kinetics/resolve/main/model.safetensors",
    "vgg16": f"{TORCHVISION}/vgg16-397923af.pth",
}
"""Name -> address. The name says for which model.backbone, or, vgg16, that it is for enlightengan.vgg."""

KINDS = {
    "R(2+1)D": ("stem.0.weight", "layer1.0.conv1.0.0.weight", "layer4.0.conv1.0.0.weight"),
    "SlowFast": ("blocks.0.multipathway_blocks.0.conv.weight", "blocks.0.multipathway_blocks.1.conv.weight"),
    "SlowFast of PySlowFast": ("s1.pathway0_stem.conv.weight", "s1.pathway1_stem.conv.weight"),
    "ResNet": ("conv1.weight", "bn1.weight", "layer1.0.conv1.weight"),
    "S3D": ("features.0.0.0.weight",),
    "MViT": ("conv_proj.weight", "pos_encoding.class_token"),
    "Swin3D": ("patch_embed.proj.weight",),
    "EfficientNet": ("features.0.0.weight", "features.1.0.block.0.0.weight"),
    "VideoMAE": ("videomae.embeddings.patch_embeddings.projection.weight",),
    "VGG-16": ("features.0.weight", "features.24.weight"),
}
"""Tensors by which a file is known."""

HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.pth$")
"""Released files end with the first digits of their sha256, by a convention of torch.hub; not those of PyTorchVideo."""

STATE = "model_state"
"""Key of the state dict in files of PyTorchVideo and PySlowFast, beside the optimizer's."""


def convert(source: str, target: Path, sha256: str | None) -> str:
    """Writes released weights as safetensors; what they are, in one line.

    Args:
        source: a name of RELEASED, or a file.
        sha256: first digits of the file's hash, where its name has none.

    Raises:
        UserError: see `find` and `read_released`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".download-") as scratch:
        state = read_released(find(source, Path(scratch)), sha256)
    partial = target.with_name(f".{target.name}.partial")
    try:
        partial.write_bytes(serialize(state))
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return f"{kind_of(state)}, {len(state)} tensors, {sum(tensor.numel() for tensor in state.values()):,} values"


def find(source: str, scratch: Path) -> Path:
    """The file that `source` names; released weights are downloaded to `scratch`.

    Raises:
        UserError: when there is no such file or name, or it cannot be downloaded.
    """
    if Path(source).is_file():
        return Path(source)
    if source not in RELEASED:
        raise UserError(
            f"{source}: no such file, and no released weights of that name; did you mean "
            f"'{nearest(source, RELEASED)}'? There are: {', '.join(RELEASED)}"
        )
    address = RELEASED[source]
    path = scratch / address.rpartition("/")[2]
    try:
        with urllib.request.urlopen(address, timeout=60) as answer, path.open("wb") as file:  # nosec B310  # of RELEASED
            shutil.copyfileobj(answer, file)
    except (urllib.error.URLError, OSError) as error:
        raise UserError(f"{address}: cannot be downloaded ({error}); where it can, do so and give the FILE") from None
    return path


def read_released(path: Path, sha256: str | None) -> dict[str, Tensor]:
    """The state dict in `path`, a pickle or safetensors, read without running code.

    Args:
        sha256: first digits that its hash must have; None: those in its name, if there are any.

    Raises:
        UserError: when the file is missing, has another hash, holds more than tensors, or is of no known network.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    in_name = HASH_IN_NAME.search(path.name)
    wanted = sha256.lower() if sha256 is not None else in_name[1] if in_name else ""
    if not found.startswith(wanted):
        raise UserError(f"{path}: its sha256 is {found}, which does not begin with {wanted}: damaged or another file")
    try:
        safe = path.suffix == ".safetensors"
        state = load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: not a file of plain weights: {reason}") from None
    state = state.get(STATE, state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path}: holds {type(state).__name__}, expected a state dict of tensors")
    if kind_of(state) is None:
        raise UserError(
            f"{path}: no weights of {', '.join(KINDS)}: it has none of "
            + ", ".join(f"{keys[-1]}" for keys in KINDS.values())
        )
    return {key: value.contiguous() for key, value in state.items()}


def kind_of(state: dict[str, Tensor]) -> str | None:
    """The network a state dict is of."""
    return next((kind for kind, keys in KINDS.items() if all(key in state for key in keys)), None)
