"""Choosing tokens that differ from each other, or that stand for all others: greedy and incremental."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear, normalize

#: Rows of products that are computed at once.
BLOCK = 512
#: Largest set whose products, which the first pick needs anyway, are kept for the later picks (256 MiB of float32).
#: Reading a row of products is some hundred times cheaper than computing it.
HELD = 8192


def products(left: Tensor, right: Tensor) -> Tensor:
    """Inner products of the rows of ``left [M, D]`` and ``right [N, D]``, both float32: float32 ``[M, N]``.

    On processors that torch's default library for float32 does not know well, oneDNN is nearly twice as fast.
    """
    if left.device.type == "cpu" and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return linear(left.to_mkldnn(), right).to_dense()
    return left @ right.T


def loneliest(unit: Tensor, cosines: Tensor | None = None) -> int:
    """The row of ``unit [N, D]`` (rows of length 1) whose nearest neighbour is farthest; ties go to the lower index.

    Every pair is multiplied once.

    Args:
        cosines: ``[N, N]`` on any device, filled with the cosine of each pair, minus infinity on the diagonal.
    """
    count = len(unit)
    nearest = torch.full((count,), float("-inf"), device=unit.device)
    for start in range(0, count, BLOCK):
        end = start + BLOCK
        block = products(unit[start:end], unit[start:])
        # Some processors round a product and its mirror image differently; two that are each other's nearest must tie.
        own = block[:, : len(block)]
        own.copy_(torch.maximum(own, own.T))
        own.diagonal().fill_(float("-inf"))
        nearest[start:end] = torch.maximum(nearest[start:end], block.amax(1))
        if end < count:
            nearest[end:] = torch.maximum(nearest[end:], block[:, BLOCK:].amax(0))
        if cosines is not None:
            cosines[start:end, start:] = block
            cosines[end:, start:end] = block[:, BLOCK:].T
    return int(nearest.argmin())


def max_min(features: Tensor, count: int, first: int | None = None) -> Tensor:
    """Greedy max-min diversity in cosine distance: each pick is the token farthest from all picked so far.

    A running maximum of cosines makes it O(kN) comparisons and O(N) memory beside the products. The picks for a smaller
    count are the first of those for a larger one. Ties go to the lower index.

    Args:
        features: ``[N, D]``.
        first: the first pick; by default `loneliest`.

    Returns:
        int64 ``[count]``, in the order of picking.
    """
    unit = normalize(features.float(), dim=-1)
    total = len(unit)
    # Torch's memory, not NumPy's: that asks for huge pages, which a system with scattered memory takes long to gather.
    cosines = torch.empty(total, total) if first is None and total <= HELD else None
    rows = None if cosines is None else cosines.numpy()
    pick = loneliest(unit, cosines) if first is None else first
    picks = np.empty(count, np.int64)
    # One pick is two passes over N numbers: on the host, in NumPy, they end before torch would have started them.
    nearest = np.full(total, -np.inf, np.float32)
    for place in range(count):
        picks[place] = pick
        np.maximum(nearest, (unit @ unit[pick]).numpy(force=True) if rows is None else rows[pick], out=nearest)
        # A picked token is out of the race even where rounding leaves it a distance to itself.
        nearest[pick] = np.inf
        pick = int(nearest.argmin())
    return torch.from_numpy(picks).to(features.device)


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
