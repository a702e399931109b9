"""BERT as temporal head: the order of the tokens reaches the classifier through learned positions and attention.

    tokens_BTD ── [CLS; tokens] + positions ── L pre-norm transformer blocks ── CLS_BD

Kalfaoglu et al. 2020, "Late temporal modeling in 3D CNN architectures with BERT for action recognition"; equations 11
and 12 of the paper. Key names are those of the published code, whose weights load strictly.

B batch, T tokens, S = T + 1 with CLS, D width, A attention heads, E = D / A.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

HIDDEN = -1e9
"""Added score of a key that is masked out; the published value."""


class LayerNorm(nn.Module):
    """gain * (x - mean) / (std + eps) + offset with the unbiased standard deviation, eps added to it and not to the
    variance: torch's LayerNorm differs by 1e-3 on the outputs of published weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a_2 = nn.Parameter(torch.ones(width))
        self.b_2 = nn.Parameter(torch.zeros(width))

    def forward(self, x_BSD: Tensor) -> Tensor:
        """(B, S, D) -> (B, S, D)."""
        mean = x_BSD.mean(-1, keepdim=True)
        # The square root's gradient is infinite at 0, where a row is constant.
        std = x_BSD.var(-1, keepdim=True).clamp_min(1e-12).sqrt()
        return self.a_2 * (x_BSD - mean) / (std + 1e-6) + self.b_2


class Attention(nn.Module):
    """Multi-head self-attention (equation 11)."""

    def __init__(self, width: int, heads: int, *, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.linear_layers = nn.ModuleList([nn.Linear(width, width) for _ in range(3)])  # query, key, value
        self.output_linear = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BSD: Tensor, keep_BS: Tensor | None) -> Tensor:
        """(B, S, D) and flags (B, S), False for keys that no query may see -> (B, S, D)."""
        batch, length, width = x_BSD.shape
        query_BASE, key_BASE, value_BASE = (self._heads(linear(x_BSD)) for linear in self.linear_layers)
        mixed_BASE = self.dropout(self._softmax(query_BASE, key_BASE, keep_BS)) @ value_BASE
        result: Tensor = self.output_linear(mixed_BASE.transpose(1, 2).reshape(batch, length, width))
        return result

    def weights(self, x_BSD: Tensor, keep_BS: Tensor | None) -> Tensor:
        """How much each query (third axis) takes of each key (last axis): as `forward` -> (B, A, S, S), last axis
        summing to 1."""
        query_BASE, key_BASE = (self._heads(linear(x_BSD)) for linear in self.linear_layers[:2])
        return self._softmax(query_BASE, key_BASE, keep_BS)

    def _softmax(self, query_BASE: Tensor, key_BASE: Tensor, keep_BS: Tensor | None) -> Tensor:
        """The weights of queries for keys, (B, A, S, S)."""
        scores_BASS = query_BASE @ key_BASE.transpose(-2, -1) / math.sqrt(query_BASE.shape[-1])
        if keep_BS is not None:
            scores_BASS = scores_BASS.masked_fill(~keep_BS[:, None, None, :], HIDDEN)
        return scores_BASS.softmax(-1)

    def _heads(self, x_BSD: Tensor) -> Tensor:
        """(B, S, D) -> (B, A, S, E)."""
        batch, length, width = x_BSD.shape
        return x_BSD.view(batch, length, self.heads, width // self.heads).transpose(1, 2)


class FeedForward(nn.Module):
    """W2 GELU(W1 x + b1) + b2 (equation 12), GELU in its tanh form, inner width 4 D."""

    def __init__(self, width: int, *, dropout: float) -> None:
        super().__init__()
        self.w_1 = nn.Linear(width, 4 * width)
        self.w_2 = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BSD: Tensor) -> Tensor:
        """(B, S, D) -> (B, S, D)."""
        result: Tensor = self.w_2(self.dropout(functional.gelu(self.w_1(x_BSD), approximate="tanh")))
        return result


class Sublayer(nn.Module):
    """Holds the norm before a sublayer; named as in the published code."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = LayerNorm(width)


class Block(nn.Module):
    """Pre-norm transformer block; one more dropout on its output, no norm after it."""

    def __init__(self, width: int, heads: int, *, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads, dropout=dropout)
        self.feed_forward = FeedForward(width, dropout=dropout)
        self.input_sublayer = Sublayer(width)
        self.output_sublayer = Sublayer(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BSD: Tensor, keep_BS: Tensor | None) -> Tensor:
        """(B, S, D) -> (B, S, D)."""
        x_BSD = x_BSD + self.dropout(self.attention(self.input_sublayer.norm(x_BSD), keep_BS))
        x_BSD = x_BSD + self.dropout(self.feed_forward(self.output_sublayer.norm(x_BSD)))
        result: Tensor = self.dropout(x_BSD)
        return result


class Positions(nn.Module):
    """Learned position of every token, CLS first."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.pe = nn.Parameter(torch.empty(1, length, width).normal_(0, 0.02))


class Embedding(nn.Module):
    """Adds the positions; named as in the published code."""

    def __init__(self, length: int, width: int, *, dropout: float) -> None:
        super().__init__()
        self.learnedPosition = Positions(length, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BSD: Tensor) -> Tensor:
        """(B, S, D) -> (B, S, D)."""
        result: Tensor = self.dropout(x_BSD + self.learnedPosition.pe)
        return result


class Bert(nn.Module):
    """The transformer over time.

    Args:
        num_tokens: T, fixed by the learned positions.
        width: D, a multiple of `heads`.
        mask: probability that a token is hidden as key from every query, in training only; CLS never is.
        init: `published` leaves torch's default initialisation; `mean` makes CLS begin as the mean of the normed
            tokens (see `_begin_at_mean`), so that the head starts as average pooling and learns order from there.
    """

    def __init__(
        self, *, num_tokens: int, width: int, heads: int, layers: int, dropout: float, mask: float, init: str
    ) -> None:
        super().__init__()
        self.mask = mask
        self.clsToken = nn.Parameter(torch.empty(1, 1, width).normal_(0, 0.02))
        self.embedding = Embedding(num_tokens + 1, width, dropout=dropout)
        self.transformer_blocks = nn.ModuleList([Block(width, heads, dropout=dropout) for _ in range(layers)])
        if init == "mean":
            self._begin_at_mean()

    def forward(self, tokens_BTD: Tensor) -> Tensor:
        """(B, T, D) -> (B, S, D): CLS, then the tokens."""
        cls_B1D = self.clsToken.expand(len(tokens_BTD), -1, -1)
        x_BSD: Tensor = self.embedding(torch.cat([cls_B1D, tokens_BTD], dim=1))
        keep_BS = self._draw_mask(x_BSD) if self.training and self.mask > 0 else None
        for block in self.transformer_blocks:
            x_BSD = block(x_BSD, keep_BS)
        return x_BSD

    def _draw_mask(self, x_BSD: Tensor) -> Tensor:
        keep_BS = torch.rand(x_BSD.shape[:2], device=x_BSD.device) >= self.mask
        keep_BS[:, 0] = True
        return keep_BS

    @torch.no_grad()
    def _begin_at_mean(self) -> None:
        """Every block's attention starts even (zero queries), its values and output start as the identity, and its
        feed-forward part starts silent (zero W2)."""
        for block in self.transformer_blocks:
            assert isinstance(block, Block)
            query, _, value = block.attention.linear_layers
            assert isinstance(query, nn.Linear) and isinstance(value, nn.Linear)
            nn.init.zeros_(query.weight)
            for linear in (value, block.attention.output_linear):
                nn.init.eye_(linear.weight)
            for linear in (query, value, block.attention.output_linear, block.feed_forward.w_2):
                nn.init.zeros_(linear.bias)
            nn.init.zeros_(block.feed_forward.w_2.weight)


@contextmanager
def cls_attention(bert: Bert) -> Iterator[list[Tensor]]:
    """Catches what the CLS query of the last block gives to each key, (B, A, S), for every pass through `bert` inside.
    Outside, and in training, nothing is computed for it."""
    caught: list[Tensor] = []

    def catch(attention: nn.Module, inputs: tuple[Tensor, Tensor | None]) -> None:
        assert isinstance(attention, Attention)
        caught.append(attention.weights(*inputs)[:, :, 0])

    last = bert.transformer_blocks[-1]
    assert isinstance(last, Block)
    handle = last.attention.register_forward_pre_hook(catch)
    try:
        yield caught
    finally:
        handle.remove()
