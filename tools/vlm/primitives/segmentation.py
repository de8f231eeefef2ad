"""Cutting a row of frames into segments: by a global optimum, or where neighbours differ."""

from itertools import pairwise

import torch
from torch import Tensor


def static_counts(alike: Tensor) -> Tensor:
    """How many positions stay alike through each segment, int64 ``[T, T]``.

    Args:
        alike: bool ``[T - 1, P]``: whether position p of frame t is like that of frame t + 1.

    Returns:
        ``counts[s, e]`` for s <= e: positions alike in all neighbouring pairs from frame s to frame e (P where s = e).
    """
    steps, positions = alike.shape
    counts = torch.zeros(steps + 1, steps + 1, dtype=torch.long)
    still = torch.ones(steps + 1, positions, dtype=torch.bool, device=alike.device)
    for length in range(steps + 1):
        if length:
            # Row s now says which positions stay alike from frame s to frame s + length.
            still = still[: steps + 1 - length] & alike[length - 1 :]
        start = torch.arange(steps + 1 - length)
        counts[start, start + length] = still.sum(1).cpu()
    return counts


def best_segmentation(gain: Tensor, longest: int | None = None) -> list[tuple[int, int]]:
    """The cut of T frames into segments with the largest total gain, by dynamic programming in O(T * longest).

    Args:
        gain: ``[T, T]``, ``gain[s, e]`` of the segment from frame s to frame e, both included.
        longest: most frames of a segment.

    Returns:
        ``(start, end)`` of each segment in order, half-open. Among equal totals the one whose last segment is longest,
        and so on backwards.
    """
    count = len(gain)
    table = gain.double().tolist()
    best, start = [0.0] + [float("-inf")] * count, [0] * (count + 1)
    for end in range(1, count + 1):
        first = 0 if longest is None else max(0, end - longest)
        for begin in range(first, end):
            value = best[begin] + table[begin][end - 1]
            if value > best[end]:
                best[end], start[end] = value, begin
    segments, end = [], count
    while end > 0:
        segments.append((start[end], end))
        end = start[end]
    return segments[::-1]


def cut_below(similarity: Tensor, threshold: float) -> list[tuple[int, int]]:
    """Segments ``(start, end)``, half-open, cut where ``similarity[t]`` of frames t and t + 1 is below ``threshold``.

    Args:
        similarity: ``[T - 1]``.
    """
    cuts = (torch.nonzero(similarity < threshold)[:, 0] + 1).tolist()
    bounds = [0, *cuts, len(similarity) + 1]
    return list(pairwise(bounds))
