"""Saliency of patches from a vision tower's attention: only the rows that are asked for, under any attention kernel.

Queries and keys are ``[F, H, S, d]`` (pictures, heads, tokens, channels), already rotated where the tower rotates them.
"""

from typing import Literal

import torch
from torch import Tensor, nn

Heads = Literal["mean", "sum"]


def _over_heads(value: Tensor, heads: Heads) -> Tensor:
    return value.mean(1) if heads == "mean" else value.sum(1)


def cls_row(
    query: Tensor, key: Tensor, scale: float, *, heads: Heads = "mean", logits: bool = False, place: int = 0
) -> Tensor:
    """Attention of the CLS token (at ``place``) to every token, float32 ``[F, S]``; the cost is O(S d) a head.

    Args:
        logits: the scaled products before the softmax.
    """
    products = (query[:, :, place : place + 1].float() @ key.float().transpose(-1, -2))[:, :, 0] * scale
    return _over_heads(products if logits else products.softmax(-1), heads)


def received(query: Tensor, key: Tensor, scale: float, *, heads: Heads = "mean", block: int = 256) -> Tensor:
    """Attention that each token receives, mean over all queries, float32 ``[F, S]``.

    Queries go through in blocks, so that no ``[H, S, S]`` map is ever held for more than one picture's block.
    """
    frames, count, length, _ = query.shape
    total = torch.zeros(frames, count, length, device=query.device)
    transposed = key.float().transpose(-1, -2)
    for frame in range(frames):
        for start in range(0, length, block):
            rows = query[frame, :, start : start + block].float() @ transposed[frame] * scale
            total[frame] += rows.softmax(-1).sum(1)
    return _over_heads(total / length, heads)


def head_row(attention: nn.MultiheadAttention, probe: Tensor, hidden: Tensor, heads: Heads = "mean") -> Tensor:
    """Attention of a pooling head's probe ``[1, 1, D]`` to the tokens ``hidden [F, S, D]``, float32 ``[F, S]``."""
    frames, length, width = hidden.shape
    count = attention.num_heads
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    query = nn.functional.linear(probe[0], weight[:width], bias[:width]).view(1, count, 1, width // count)
    key = nn.functional.linear(hidden, weight[width : 2 * width], bias[width : 2 * width])
    key = key.view(frames, length, count, width // count).transpose(1, 2)
    scale = (width // count) ** -0.5
    return cls_row(query.expand(frames, -1, -1, -1), key, scale, heads=heads)


def pool_groups(value: Tensor, size: int) -> Tensor:
    """Mean over each run of ``size`` rows, ``[N * size, ...]`` to ``[N, ...]``: scores of a merger's groups."""
    return value.view(-1, size, *value.shape[1:]).mean(1)
