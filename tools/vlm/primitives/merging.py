"""Which token goes to which: the nearest of some targets, and dominant tokens beside contextual ones.

All functions return int64 ``[N]`` as `VisualTokens.merge` takes it: the token that each token goes to.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from tools.vlm.primitives.budget import top

#: Rows of products that are held at once.
BLOCK = 4096


def nearest_target(metric: Tensor, targets: Tensor, alone: Tensor | None = None) -> Tensor:
    """Every token goes to the target with the largest cosine.

    Args:
        metric: ``[N, C]``.
        targets: int64 ``[K]``; a target goes to itself.
        alone: int64, tokens that stay as they are and take nobody in.
    """
    unit = normalize(metric.float(), dim=-1)
    assign = torch.empty(len(metric), dtype=torch.long, device=metric.device)
    for start in range(0, len(metric), BLOCK):
        cosine = unit[start : start + BLOCK] @ unit[targets].T
        assign[start : start + BLOCK] = targets[cosine.argmax(1)]
    assign[targets] = targets
    if alone is not None:
        assign[alone] = alone
    return assign


def dominant_contextual(scores: Tensor, metric: Tensor, dominant: int, contextual: int) -> Tensor:
    """The ``dominant`` tokens with the highest scores stay as they are; the rest goes to ``contextual`` targets.

    Targets lie at even distances among the rest, in order (VisionZip's scheme, as VisionDrop uses it); every other
    token of the rest goes to the most similar target. With no contextual tokens the rest is dropped (-1).

    Args:
        scores: ``[N]``.
        metric: ``[N, C]``, compared by cosine.
        dominant, contextual: how many; together N at most.
    """
    count = len(scores)
    if dominant < 0 or contextual < 0 or not 1 <= dominant + contextual <= count:
        raise ValueError(f"{dominant} dominant and {contextual} contextual of {count} tokens")
    kept = top(scores, dominant)
    if contextual == 0:
        assign = torch.full((count,), -1, dtype=torch.long, device=scores.device)
        assign[kept] = kept
        return assign
    rest = torch.ones(count, dtype=torch.bool, device=scores.device)
    rest[kept] = False
    others = torch.nonzero(rest)[:, 0]
    step = len(others) // contextual
    targets = others[torch.arange(contextual, device=scores.device) * step]
    return nearest_target(metric, targets, alone=kept)
