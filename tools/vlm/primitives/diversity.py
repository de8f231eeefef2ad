"""Choosing tokens that differ from each other, or that stand for all others: greedy, incremental, no N x N matrix."""

import heapq

import torch
from torch import Tensor
from torch.nn.functional import normalize

#: Rows of products that are held at once.
BLOCK = 1024


def loneliest(unit: Tensor) -> int:
    """The row of ``unit [N, D]`` (rows of length 1) whose nearest neighbour is farthest; ties go to the lower index."""
    count = len(unit)
    nearest = torch.empty(count, device=unit.device)
    for start in range(0, count, BLOCK):
        cosine = unit[start : start + BLOCK] @ unit.T
        rows = torch.arange(len(cosine), device=unit.device)
        cosine[rows, rows + start] = float("-inf")
        nearest[start : start + BLOCK] = cosine.max(1).values
    return int(nearest.argmin())


def max_min(features: Tensor, count: int, first: int | None = None) -> Tensor:
    """Greedy max-min diversity in cosine distance: each pick is the token farthest from all picked so far.

    O(kN) products and O(N) memory through a running minimum. The picks for a smaller count are the first of those for
    a larger one. Ties go to the lower index.

    Args:
        features: ``[N, D]``.
        first: the first pick; by default `loneliest`.

    Returns:
        int64 ``[count]``, in the order of picking.
    """
    unit = normalize(features.float(), dim=-1)
    pick = torch.tensor(loneliest(unit) if first is None else first, device=unit.device)
    picks = torch.empty(count, dtype=torch.long, device=unit.device)
    distance = torch.full((len(unit),), float("inf"), device=unit.device)
    for place in range(count):
        picks[place] = pick
        distance = torch.minimum(distance, 1 - unit @ unit[pick])
        # A picked token is out of the race even where rounding leaves it a distance to itself.
        distance[pick] = float("-inf")
        pick = distance.argmax()
    return picks


def facility_location(features: Tensor, count: int) -> Tensor:
    """Greedy maximiser of the sum over all tokens of their cosine to the nearest pick (never below zero).

    Gains only fall as picks are added, so a candidate's old gain bounds its new one: only candidates at the top of the
    queue are computed again (lazy greedy), with the picks of the plain greedy. Ties go to the lower index.

    Args:
        features: ``[N, D]``.

    Returns:
        int64 ``[count]``, in the order of picking.
    """
    unit = normalize(features.float(), dim=-1)
    total = len(unit)
    covered = torch.zeros(total, device=unit.device)
    gains = torch.cat([(unit[start : start + BLOCK] @ unit.T).clamp(min=0).sum(1) for start in range(0, total, BLOCK)])
    queue = [(-gain, index) for index, gain in enumerate(gains.tolist())]
    heapq.heapify(queue)
    fresh = [0] * total
    picks: list[int] = []
    while len(picks) < count:
        bound, index = heapq.heappop(queue)
        if fresh[index] == len(picks):
            picks.append(index)
            covered = torch.maximum(covered, unit @ unit[index])
            continue
        gain = float((unit @ unit[index] - covered).clamp(min=0).sum())
        fresh[index] = len(picks)
        # Rounding must not lift a gain above its bound, or the order of equal candidates would depend on luck.
        heapq.heappush(queue, (max(-gain, bound), index))
    return torch.tensor(picks, dtype=torch.long, device=features.device)
