"""Attention of selected query rows of a decoder layer, recomputed from its own projections.

Fused kernels return no weights. A method that wants a few rows gets exactly those, so the kernels can stay on. Works on
any Llama-type layer (``input_layernorm``, ``self_attn`` with ``q_proj`` and ``k_proj``, optional ``q_norm`` and
``k_norm``), with grouped-query attention and with rotary positions of one or three rows.
"""

from typing import Any

import torch
from torch import Tensor

Rotary = tuple[Tensor, Tensor]


def turn(value: Tensor, rotary: Rotary) -> Tensor:
    """Rotary embedding of ``[H, L, d]`` with cosines and sines ``[1, L, d]``."""
    first, second = value.chunk(2, dim=-1)
    return value * rotary[0] + torch.cat([-second, first], dim=-1) * rotary[1]


def still_queries(layer: Any, normed: Tensor) -> Tensor:
    """Queries ``[H, L, d]`` of ``normed [L, D]`` before rotation."""
    attention = layer.self_attn
    value: Tensor = attention.q_proj(normed).unflatten(-1, (-1, attention.head_dim))
    if hasattr(attention, "q_norm"):
        value = attention.q_norm(value)
    return value.transpose(0, 1)


def still_keys(layer: Any, normed: Tensor) -> Tensor:
    """Keys ``[Hk, L, d]`` of ``normed [L, D]`` before rotation."""
    attention = layer.self_attn
    value: Tensor = attention.k_proj(normed).unflatten(-1, (-1, attention.head_dim))
    if hasattr(attention, "k_norm"):
        value = attention.k_norm(value)
    return value.transpose(0, 1)


def queries(layer: Any, normed: Tensor, rotary: Rotary, rows: Tensor) -> Tensor:
    """Rotated queries ``[H, Q, d]`` of ``rows`` (int64 ``[Q]``) of ``normed [1, L, D]``."""
    return turn(still_queries(layer, normed[0, rows]), (rotary[0][:, rows], rotary[1][:, rows]))


def keys(layer: Any, normed: Tensor, rotary: Rotary, rows: Tensor | None = None) -> Tensor:
    """Rotated keys ``[Hk, K, d]`` of ``rows``, or of all."""
    if rows is not None:
        normed, rotary = normed[:, rows], (rotary[0][:, rows], rotary[1][:, rows])
    return turn(still_keys(layer, normed[0]), rotary)


def values(layer: Any, normed: Tensor, rows: Tensor | None = None) -> Tensor:
    """Values ``[Hk, K, d]`` of ``rows``, or of all."""
    attention = layer.self_attn
    chosen = normed[0] if rows is None else normed[0, rows]
    value: Tensor = attention.v_proj(chosen).unflatten(-1, (-1, attention.head_dim))
    return value.transpose(0, 1)


def rows(
    query: Tensor, key: Tensor, scale: float, query_rows: Tensor, key_rows: Tensor, *, causal: bool = True
) -> Tensor:
    """Attention weights float32 ``[H, Q, K]``: softmax over the keys given.

    Args:
        query: ``[H, Q, d]``; key: ``[Hk, K, d]``, each shared by ``H / Hk`` query heads.
        query_rows, key_rows: their places in the sequence; with ``causal`` a query sees keys at or before its own. A
            query that sees none gets a row of zeros.
    """
    heads, count, width = query.shape
    grouped = query.float().reshape(len(key), heads // len(key) * count, width)
    products = (grouped @ key.float().transpose(-1, -2) * scale).view(heads, count, -1)
    if not causal:
        return products.softmax(-1)
    hidden = key_rows[None] > query_rows[:, None]
    return products.masked_fill(hidden, float("-inf")).softmax(-1).masked_fill(hidden.all(-1)[None, :, None], 0.0)


def received(
    query: Tensor,
    key: Tensor,
    scale: float,
    query_rows: Tensor,
    key_rows: Tensor,
    *,
    causal: bool = True,
    block: int = 256,
) -> Tensor:
    """Attention that each key receives, mean over heads and queries, float32 ``[K]``; queries go through in blocks."""
    total = torch.zeros(key.shape[1], device=key.device)
    for start in range(0, query.shape[1], block):
        part = slice(start, start + block)
        total += rows(query[:, part], key, scale, query_rows[part], key_rows, causal=causal).mean(0).sum(0)
    return total / max(1, query.shape[1])


def uniform_null(query_rows: Tensor, key_rows: Tensor) -> Tensor:
    """What each key would receive if every causal query spread its attention evenly over all that it sees.

    ``[K]``, float32, mean over queries: ``mean_i [i >= j] / (i + 1)`` with query places i and key places j. Dividing a
    score from causal rows by it takes out the advantage of early keys, which more queries see and which share each
    query's weight with fewer others. No paper's; our own normaliser. Keys that no query sees give zero.
    """
    share = 1.0 / (query_rows.double() + 1)
    ordered, order = torch.sort(query_rows)
    # Sum of the shares of all queries at or after each key.
    tail = torch.flip(torch.cumsum(torch.flip(share[order], (0,)), 0), (0,))
    tail = torch.cat([tail, tail.new_zeros(1)])
    return (tail[torch.searchsorted(ordered, key_rows)] / max(1, len(query_rows))).float()


def null_normalised(scores: Tensor, query_rows: Tensor, key_rows: Tensor) -> Tensor:
    """``scores [K]`` from causal rows over what uniform attention would have given; zero for keys none sees."""
    null = uniform_null(query_rows, key_rows)
    return torch.where(null > 0, scores / null.clamp(min=torch.finfo(torch.float32).tiny), 0.0)
