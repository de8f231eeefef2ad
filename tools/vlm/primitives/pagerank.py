"""Importance of tokens by walking along attention: PageRank without damping, and the same of even attention."""

import torch
from torch import Tensor

from tools.vlm.primitives import probe


def pagerank(query: Tensor, key: Tensor, scale: float, steps: int) -> Tensor:
    """Where a walker is after ``steps`` steps from an even start, each along the causal attention of one head.

    A head's ``[L, L]`` map is held one at a time, since every step goes over all of it.

    Args:
        query: ``[H, L, d]``; key: ``[Hk, L, d]``, each shared by ``H / Hk`` query heads, rows in order.

    Returns:
        float32 ``[H, L]``, each row with sum 1.
    """
    heads, length, _ = query.shape
    share = heads // len(key)
    places = torch.arange(length, device=query.device)
    found = torch.full((heads, length), 1.0 / length, device=query.device)
    for head in range(heads):
        chances = probe.rows(query[head : head + 1], key[head // share, None], scale, places, places)[0]
        for _ in range(steps):
            found[head] = found[head] @ chances
    return found


def even_pagerank(length: int, steps: int, device: torch.device | None = None) -> Tensor:
    """The same, float64 ``[L]``, where every query spreads its attention evenly over all that it sees.

    Causal walks drift to early tokens whatever they are; dividing by this takes the drift out. No paper's; our own
    normaliser, `tools.vlm.primitives.probe.uniform_null` for walks of several steps.
    """
    spread = 1.0 / torch.arange(1, length + 1, dtype=torch.float64, device=device)
    found = torch.full((length,), 1.0 / length, dtype=torch.float64, device=device)
    for _ in range(steps):
        found = torch.flip(torch.cumsum(torch.flip(found * spread, (0,)), 0), (0,))
    return found
