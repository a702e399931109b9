"""In which precision a machine computes a network."""

import torch

from darkaction.core.processor import computes_bf16

CPU_BF16 = ("r2plus1d", "se_r2plus1d")
"""Backbones that are trained in bfloat16 on CPUs. torch 2.14 with oneDNN returns numbers of memory that nobody wrote,
now and then NaN, as bfloat16 gradients of some full 3-D convolutions on small maps (seen on AMX with 3x3x3 kernels)."""


def uses_bf16(precision: str, backbone: str) -> bool:
    """Whether `auto` means bfloat16 on this machine: on GPUs that compute in it, and on CPUs that do for the backbones
    of CPU_BF16."""
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        return computes_bf16("cuda")
    return backbone in CPU_BF16 and computes_bf16("cpu")
