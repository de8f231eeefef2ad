"""Bipartite soft matching: half of the tokens look for their most similar partner in the other half, best pairs merge.

The idea is of "Token Merging: Your ViT But Faster" (arXiv 2210.09461, section 3); written from its description.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize


def best_partners(metric: Tensor, protected: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Each source's most similar destination.

    Args:
        metric: ``[..., N, C]``; tokens at even places are sources, those at odd places destinations.
        protected: bool ``[N]``, tokens that neither merge nor are merged into.

    Returns:
        Source places int64 ``[A]``, for each the place of its destination ``[..., A]`` and their cosine ``[..., A]``
        (minus infinity where it has none). Ties go to the lower place.
    """
    count = metric.shape[-2]
    places = torch.arange(count, device=metric.device)
    free = torch.ones(count, dtype=torch.bool, device=metric.device) if protected is None else ~protected
    source, destination = places[free & (places % 2 == 0)], places[free & (places % 2 == 1)]
    if len(source) == 0 or len(destination) == 0:
        shape = (*metric.shape[:-2], len(source))
        return source, source.expand(shape), torch.full(shape, float("-inf"), device=metric.device)
    unit = normalize(metric.float(), dim=-1)
    cosine = unit[..., source, :] @ unit[..., destination, :].transpose(-1, -2)
    best = cosine.max(-1)
    return source, destination[best.indices], best.values


def merge_count(metric: Tensor, count: int, protected: Tensor | None = None) -> Tensor:
    """Merges the ``count`` most similar pairs; int64 ``[..., N]``, the token that each token goes to (as `merge` of
    `VisualTokens` takes it). Half of the unprotected tokens at most can go.

    Raises:
        ValueError: if fewer pairs than ``count`` exist.
    """
    source, partner, cosine = best_partners(metric, protected)
    if count > 0 and (count > len(source) or not bool(cosine.isfinite().all())):
        raise ValueError(f"{count} pairs to merge among {len(source)} sources")
    order = torch.argsort(cosine, dim=-1, descending=True, stable=True)[..., :count]
    target = torch.gather(partner, -1, order)
    return _assign(metric, source[order], target)


def merge_threshold(metric: Tensor, threshold: float, protected: Tensor | None = None) -> Tensor:
    """Merges every pair whose cosine is above ``threshold``; as `merge_count`, for one set of tokens ``[N, C]``."""
    source, partner, cosine = best_partners(metric, protected)
    close = cosine > threshold
    return _assign(metric, source[close], partner[close])


def _assign(metric: Tensor, source: Tensor, target: Tensor) -> Tensor:
    places = torch.arange(metric.shape[-2], device=metric.device).expand(metric.shape[:-1]).clone()
    return places.scatter_(-1, source, target)
