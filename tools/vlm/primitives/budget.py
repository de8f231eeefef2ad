"""How many tokens to keep: resolving a budget, sharing it out, and letting the scores decide."""

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from tools.errors import BadInput


def resolve(count: int, keep: float, tokens: int | None = None) -> int:
    """The number of tokens to keep of ``count``: ``tokens`` if given, else the share ``keep`` rounded half up.

    Raises:
        BadInput: a share outside (0, 1], or a budget below one token or above the input.
    """
    if tokens is not None:
        if tokens < 1 or tokens > count:
            raise BadInput(
                f"a budget of {tokens} visual tokens does not fit an input of {count}",
                remedy=f"ask for 1 to {count} tokens",
                field="tokens",
            )
        return tokens
    if not 0 < keep <= 1:
        raise BadInput(f"keep={keep} is no share", remedy="give a share above 0 and at most 1", field="keep")
    kept = int(keep * count + 0.5)
    if kept < 1:
        raise BadInput(
            f"keep={keep} leaves less than one of {count} visual tokens",
            remedy=f"keep at least {1 / count:.4f}, or look at more frames",
            field="keep",
        )
    return kept


def allocate(total: int, weights: Tensor, caps: Tensor, floor: int = 0) -> Tensor:
    """Shares ``total`` out in proportion to ``weights``, exactly, by largest remainder with caps.

    What a capped part cannot take goes to the others in proportion to their weights. Ties go to the lower index.

    Args:
        total: units to give out; at most the sum of ``caps``, at least ``floor`` for every part.
        weights: ``[M]``, not negative; all zero means equal weights.
        caps: int64 ``[M]``, most that each part takes.
        floor: least that each part gets (never more than its cap).

    Returns:
        int64 ``[M]``, sum ``total``.
    """
    caps = caps.long()
    share = torch.clamp(caps, max=floor)
    rest = total - int(share.sum())
    if rest < 0 or total > int(caps.sum()):
        raise ValueError(f"{total} units do not fit between {int(share.sum())} and {int(caps.sum())}")
    weights = weights.double().clamp(min=0)
    while rest > 0:
        room = caps - share
        active = torch.where(room > 0, weights, 0.0)
        if float(active.sum()) <= 0:
            active = (room > 0).double()
        ideal = rest * active / active.sum()
        full = (room > 0) & (ideal >= room)
        if bool(full.any()):
            # Parts that get all they can take leave the game; the rest is shared anew among the others.
            share = torch.where(full, caps, share)
        else:
            whole = ideal.floor().long()
            order = torch.argsort(ideal - whole, descending=True, stable=True)
            whole[order[: rest - int(whole.sum())]] += 1
            share = share + whole
        rest = total - int(share.sum())
    return share


def spread(total: int, sizes: Sequence[int]) -> list[int]:
    """Shares ``total`` out in proportion to ``sizes``, exactly, what rounding leaves over evenly along the row.

    Of 64 frames and 32 tokens every second frame gets one, where `allocate` would give one to each of the first 32.

    Args:
        total: at most the sum of ``sizes``.

    Returns:
        One share a part, never more than its size.
    """
    whole = sum(sizes)
    if not 0 <= total <= whole:
        raise ValueError(f"{total} units do not fit into {whole}")
    # Running sums rounded half up, in integers.
    bounds = [(2 * total * end + whole) // (2 * whole) for end in accumulate(sizes, initial=0)] if whole else []
    return [end - start for start, end in pairwise(bounds)] if whole else [0] * len(sizes)


def cumulative_mass(scores: Tensor, share: float) -> int:
    """Smallest count, one at least, whose largest ``scores`` (``[N]``, not negative) reach ``share`` of their sum."""
    if len(scores) == 0:
        return 0
    ordered = torch.sort(scores.double(), descending=True).values
    total = float(ordered.sum())
    if total <= 0:
        # No score says anything: all are equal, and the share itself is the count.
        return max(1, -int(-share * len(scores) // 1))
    reached = torch.cumsum(ordered, 0) >= share * total * (1 - 1e-12)
    return int(torch.argmax(reached.long())) + 1 if bool(reached.any()) else len(scores)


def top(scores: Tensor, count: int) -> Tensor:
    """Indices int64 ``[count]`` of the largest ``scores`` ``[N]``, increasing; ties go to the lower index."""
    order = torch.argsort(scores, descending=True, stable=True)
    return torch.sort(order[:count]).values
