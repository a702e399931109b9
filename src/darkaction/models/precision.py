"""In which precision a machine computes a network."""

import torch

CPU_BF16 = ("r2plus1d", "se_r2plus1d")
"""Backbones that are trained in bfloat16 on CPUs. torch 2.14 with oneDNN returns numbers of memory that nobody wrote,
now and then NaN, as bfloat16 gradients of some full 3-D convolutions on small maps (seen on AMX with 3x3x3 kernels)."""


def uses_bf16(precision: str, backbone: str) -> bool:
    """Whether `auto` means bfloat16 on this machine: on GPUs that compute in it, and on CPUs that do for the backbones
    of CPU_BF16."""
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if backbone not in CPU_BF16:
        return False
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) is True for name in ("avx512_bf16", "amx_bf16"))
