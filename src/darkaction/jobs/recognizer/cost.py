"""What a training step takes, before it runs: computed on tensors without content, of any size on any machine."""

import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from darkaction.jobs.recognizer.recipe import make_recognizer
from darkaction.models.precision import uses_bf16
from darkaction.models.recognizer import Recognizer
from darkaction.params import Params
from darkaction.training.focal import FocalLoss

OPTIMIZER_STATES = 3
"""Of Ranger, each as large as the weights: two moments and the slow weights of Lookahead."""

GIB = 1024**3


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of a network in training.

    fixed_bytes: weights, states of the optimizer, and what else does not depend on the batch.
    clip_bytes: what each clip of a process' batch adds at the worst moment.
    """

    parameters: int
    gflop_per_clip: float  # forward
    fixed_bytes: int
    clip_bytes: int

    def step_bytes(self, clips: int) -> int:
        """Of a step with so many clips on one device; what CUDA and the libraries take for themselves comes on top."""
        optimizer_step = (2 + OPTIMIZER_STATES) * 4 * self.parameters  # when activations are gone, and gradients whole
        return max(self.fixed_bytes + clips * self.clip_bytes, optimizer_step)


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that live, and the most there were at once; not those of `network`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.most = 0
        self._known = {tensor.untyped_storage()._cdata for tensor in (*network.parameters(), *network.buffers())}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        address = storage._cdata
        if address in self._known:
            return
        self._known.add(address)
        self.now += storage.nbytes()
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._gone, address, storage.nbytes())

    def _gone(self, address: int, size: int) -> None:
        self._known.discard(address)
        self.now -= size


def cost(params: Params) -> Cost:
    """What the training of these settings takes."""
    fresh = replace(params, train=replace(params.train, init_from=None, shots_per_class=None))
    bf16 = uses_bf16(params.train.precision, params.model.backbone)
    with FakeTensorMode():
        recognizer = make_recognizer(fresh, None)
        with FlopCounterMode(display=False) as flops:
            recognizer.eval()(_clips(params, 1))
        most = {clips: _most_bytes(recognizer.train(), _clips(params, clips), bf16=bf16) for clips in (4, 8)}
    weights = [*recognizer.parameters()]
    clip_bytes = (most[8] - most[4]) // 4
    own = sum(weight.nbytes for weight in weights)
    return Cost(
        parameters=sum(weight.numel() for weight in weights),
        gflop_per_clip=flops.get_total_flops() / 1e9,
        fixed_bytes=most[4] - 4 * clip_bytes + (1 + OPTIMIZER_STATES) * own,
        clip_bytes=clip_bytes,
    )


def _clips(params: Params, count: int) -> Tensor:
    size = (params.sampling.num_frames, params.enhance.height, params.enhance.width)
    return torch.empty(count, params.model.channels, *size, dtype=torch.uint8)


def _most_bytes(recognizer: Recognizer, clip_BCTHW: Tensor, *, bf16: bool) -> int:
    """The most bytes at once in a step, but for weights and states of the optimizer. With MRAN the halves of a batch
    go through one after the other, as in training."""
    parts = 1 if recognizer.mran is None else 2
    loss = FocalLoss(gamma=2.0, alpha_K=None)
    with LiveBytes(recognizer) as live:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            passes = [recognizer.with_representations(part) for part in clip_BCTHW.chunk(parts)]
        losses = [loss(logits.float(), torch.zeros(len(logits), dtype=torch.long)) for logits, _ in passes]
        features = [feature_BF.float().square().sum() for _, found in passes for feature_BF in found]
        torch.stack([*losses, *features]).sum().backward()
    for weight in recognizer.parameters():
        weight.grad = None
    return int(live.most)


def describe(params: Params) -> str:
    """Parameters, operations and memory of a training, for a person."""
    found = cost(params)
    own = params.train.batch_size // params.train.processes
    networks = params.train.members
    ensemble = [f"ensemble           {networks} networks, one after the other; of each:"] if networks > 1 else []
    return "\n".join(
        [
            *ensemble,
            f"network            {params.model.backbone}, head {params.model.head}",
            f"parameters         {found.parameters / 1e6:.2f} M",
            f"operations         {found.gflop_per_clip:.2f} GFLOP per clip (forward)",
            f"memory             {found.clip_bytes / 1024**2:.1f} MiB per clip of the batch, and "
            f"{found.fixed_bytes / 1024**2:.1f} MiB for weights and optimizer",
            f"training step      {found.step_bytes(own) / GIB:.2f} GiB with {own} clips on each device",
        ]
    )
