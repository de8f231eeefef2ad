"""Density peak clustering by nearest neighbours (DPC-KNN), without random numbers."""

from collections.abc import Iterator

import torch
from torch import Tensor

#: Rows of distances that are held at once.
BLOCK = 1024


def dpc_knn(features: Tensor, clusters: int, neighbours: int = 5) -> Tensor:
    """Clusters whose centres are dense and far from anything denser.

    Density of a token is ``exp(-mean squared distance to its nearest neighbours)``, distances divided by ``sqrt(D)``;
    its isolation is the distance to the nearest denser token (the greatest distance of all for the densest one).
    Centres are the tokens with the largest product of both; every other token joins its nearest centre. Between equal
    densities the lower index counts as denser, and all ties go to the lower index; released codes add random noise.

    Args:
        features: ``[N, D]``.
        clusters: how many, 1..N.
        neighbours: how many neighbours make the density (fewer where there are not as many).

    Returns:
        int64 ``[N]``, the centre that each token goes to (a centre to itself), as `VisualTokens.merge` takes it.
    """
    count, width = features.shape
    # In float64 distances can come from products, which is fast, without losing those between near duplicates.
    points = features.double() * width**-0.5
    near = min(neighbours, count - 1)
    if near < 1:
        return torch.zeros(count, dtype=torch.long, device=features.device)
    # In float32, so that densities which are equal but for rounding (of mutual nearest neighbours, say) are equal.
    density = torch.empty(count, device=features.device)
    for start, distance in _distances(points):
        # The nearest of all is the token itself.
        closest = distance.topk(near + 1, largest=False).values[:, 1:]
        density[start : start + len(distance)] = (-closest.square().mean(1)).exp().float()
    index = torch.arange(count, device=features.device)
    isolation, farthest = points.new_empty(count), points.new_zeros(())
    for start, distance in _distances(points):
        rows = slice(start, start + len(distance))
        own = density[rows, None]
        denser = (density[None] > own) | ((density[None] == own) & (index[None] < index[rows, None]))
        farthest = torch.maximum(farthest, distance.max())
        isolation[rows] = distance.masked_fill(~denser, float("inf")).min(1).values
    isolation = torch.where(isolation.isinf(), farthest, isolation)
    # The densest token is always a centre, also where all tokens are alike and every product is zero.
    score = torch.where((density * isolation).isnan(), torch.zeros_like(density), density * isolation)
    densest = torch.argmax(density)
    score[densest] = float("inf")
    centres = torch.sort(torch.argsort(score, descending=True, stable=True)[:clusters]).values
    assign = torch.empty(count, dtype=torch.long, device=features.device)
    for start, distance in _distances(points, points[centres]):
        assign[start : start + len(distance)] = centres[distance.argmin(1)]
    assign[centres] = centres
    return assign


def _distances(points: Tensor, others: Tensor | None = None) -> Iterator[tuple[int, Tensor]]:
    """Distances of blocks of rows to all ``others``, with the first row's index, computed as they are asked for."""
    others = points if others is None else others
    for start in range(0, len(points), BLOCK):
        yield start, torch.cdist(points[start : start + BLOCK], others, compute_mode="use_mm_for_euclid_dist")
