"""The reference numbers of tests/reference (its README says whose they are), and the inputs and weights they are of."""

import json
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

REFERENCE = Path(__file__).resolve().parent / "reference"


def load(name: str) -> dict[str, np.ndarray]:
    """The arrays of one file of reference numbers."""
    with np.load(REFERENCE / f"{name}.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def arid_measures() -> dict[str, np.ndarray]:
    """Brightness and movement of 150 real clips (150,), by name of the measure."""
    held = json.loads((REFERENCE / "arid_measures.json").read_text())
    return dict(zip(held["columns"], np.array(list(held["clips"].values())).T, strict=True))


def hash_uniform(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Reproducible numbers in [-1, 1), float64: a splitmix64 counter seeded by the crc32 of the key."""
    wrap = (1 << 64) - 1
    state = np.uint64((zlib.crc32(key.encode()) * 0xD1B54A32D192ED03) & wrap)
    with np.errstate(over="ignore"):
        z = np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + state
        for shift, multiplier in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            z = (z ^ (z >> np.uint64(shift))) * np.uint64(multiplier)
        z ^= z >> np.uint64(31)
    return ((z >> np.uint64(40)).astype(np.float64) / 2.0**23 - 1.0).reshape(shape)


def uniform_tensor(key: str, shape: tuple[int, ...], scale: float = 1.0) -> Tensor:
    return torch.from_numpy((scale * hash_uniform(key, shape)).astype(np.float32))


def fill_cnn(network: nn.Module, names: dict[str, str] | None = None) -> None:
    """Every tensor of the state dict by the CNN fill rule, keyed by its own (or its mapped) name."""
    state = network.state_dict()
    for name, tensor in state.items():
        key = names[name] if names else name
        shape = tuple(tensor.shape)
        if key.endswith("num_batches_tracked"):
            value = np.zeros(shape)
        elif key.endswith("running_mean"):
            value = 0.1 * hash_uniform(key, shape)
        elif key.endswith("running_var"):
            value = 1 + 0.25 * hash_uniform(key, shape)
        elif len(shape) >= 2:
            value = np.sqrt(3 / np.prod(shape[1:])) * hash_uniform(key, shape)
        elif key.endswith("weight"):
            value = 1 + 0.1 * hash_uniform(key, shape)
        else:
            value = 0.1 * hash_uniform(key, shape)
        state[name] = torch.from_numpy(np.asarray(value)).to(tensor.dtype)
    network.load_state_dict(state)


def fill_bert(network: nn.Module) -> None:
    """Every tensor of the state dict of a BERT head, keyed by its name."""
    state = network.state_dict()
    for key, tensor in state.items():
        shape = tuple(tensor.shape)
        value = hash_uniform(key, shape)
        if key.endswith("a_2"):
            value = 1 + 0.1 * value
        elif key.endswith(("b_2", "bias")):
            value = 0.1 * value
        elif key.endswith(("clsToken", "pe")):
            value = 0.05 * value
        else:
            value = np.sqrt(3 / shape[1]) * value
        state[key] = torch.from_numpy(value.astype(np.float32))
    network.load_state_dict(state)
