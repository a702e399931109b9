"""What the processor or GPU of this machine can do."""


def computes_bf16(device: str) -> bool:
    """Whether a device, 'cpu', 'cuda' or 'cuda:<i>', has instructions for bfloat16 and so gains by it."""
    import torch  # here: programs that only ask for help need not wait for it

    if device != "cpu":
        return torch.cuda.is_available() and bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) is True for name in ("avx512_bf16", "amx_bf16"))
