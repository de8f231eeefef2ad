"""Choosing tokens that differ from each other, or that stand for all others: greedy and incremental."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

#: Rows of products that are held at once.
BLOCK = 1024
#: Largest set whose products, which the first pick needs anyway, are kept for the later picks (256 MiB of float32 at
#: most, half of it touched). Reading a row of products is some hundred times cheaper than computing it.
HELD = 8192


def loneliest(unit: Tensor, products: Tensor | None = None) -> int:
    """The row of ``unit [N, D]`` (rows of length 1) whose nearest neighbour is farthest; ties go to the lower index.

    Every pair is multiplied once.

    Args:
        products: ``[N, N]``, filled with the cosines of each block of `BLOCK` rows to itself and all later rows, minus
            infinity on the diagonal; what lies before the block is left as it is.
    """
    count = len(unit)
    nearest = torch.full((count,), float("-inf"), device=unit.device)
    for start in range(0, count, BLOCK):
        end = start + BLOCK
        cosine = unit[start:end] @ unit[start:].T
        # Some processors round a product and its mirror image differently; two that are each other's nearest must tie.
        own = cosine[:, : len(cosine)]
        own.copy_(torch.maximum(own, own.T))
        cosine.diagonal().fill_(float("-inf"))
        nearest[start:end] = torch.maximum(nearest[start:end], cosine.amax(1))
        if end < count:
            nearest[end:] = torch.maximum(nearest[end:], cosine[:, BLOCK:].amax(0))
        if products is not None:
            products[start:end, start:] = cosine
    return int(nearest.argmin())


def max_min(features: Tensor, count: int, first: int | None = None) -> Tensor:
    """Greedy max-min diversity in cosine distance: each pick is the token farthest from all picked so far.

    A running minimum makes it O(kN) comparisons and O(N) memory beside the products. The picks for a smaller count are
    the first of those for a larger one. Ties go to the lower index.

    Args:
        features: ``[N, D]``.
        first: the first pick; by default `loneliest`.

    Returns:
        int64 ``[count]``, in the order of picking.
    """
    unit = normalize(features.float(), dim=-1)
    products = unit.new_empty(len(unit), len(unit)) if first is None and len(unit) <= HELD else None
    pick = loneliest(unit, products) if first is None else first
    picks = []
    distance = torch.full((len(unit),), float("inf"), device=unit.device)
    for _ in range(count):
        picks.append(pick)
        if products is None:
            cosine = unit @ unit[pick]
        else:
            start = pick // BLOCK * BLOCK
            cosine = torch.cat([products[:start, pick], products[pick, start:]])
        distance = torch.minimum(distance, 1 - cosine)
        # A picked token is out of the race even where rounding leaves it a distance to itself.
        distance[pick] = float("-inf")
        pick = int(distance.argmax())
    return torch.tensor(picks, device=unit.device)


def facility_location(features: Tensor, count: int) -> Tensor:
    """Greedy maximiser of the sum over all tokens of their cosine to the nearest pick (never below zero).

    After a pick only the tokens that it serves better change what a candidate gains, and only their products are
    computed; on features without structure these are N / s tokens at pick s. No N x N matrix is held. Ties go to the
    lower index.

    Args:
        features: ``[N, D]``.

    Returns:
        int64 ``[count]``, in the order of picking.
    """
    unit = normalize(features.float(), dim=-1)
    total = len(unit)
    served = torch.zeros(total, device=unit.device)
    gains = torch.zeros(total, dtype=torch.float64, device=unit.device)
    for start in range(0, total, BLOCK):
        gains += (unit @ unit[start : start + BLOCK].T).clamp(min=0).sum(1)
    picks = torch.empty(count, dtype=torch.long, device=unit.device)
    for place in range(count):
        pick = gains.argmax()
        picks[place] = pick
        closer = unit @ unit[pick]
        better = torch.nonzero(closer > served)[:, 0]
        for part in torch.split(better, BLOCK):
            products = unit @ unit[part].T
            gains -= ((products - served[part]).clamp(min=0) - (products - closer[part]).clamp(min=0)).sum(1)
        served[better] = closer[better]
        gains[pick] = float("-inf")
    return picks
