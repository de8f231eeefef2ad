"""Few bits a number: what keys and values are worth after being stored that way.

Values come back in their own dtype: this says what a cache of few bits remembers, it does not make the cache smaller.
"""

import torch
from torch import Tensor


def quantised(value: Tensor, bits: int, dim: int) -> tuple[Tensor, Tensor]:
    """``value`` rounded to ``2 ** bits`` even levels between the least and the greatest along ``dim``.

    Returns:
        The rounded values, and float32 the distance of two levels (size 1 along ``dim``): before they are put back into
        their dtype, no value is further than half of it from what it was.
    """
    if value.shape[dim] == 0:
        return value, value.float().sum(dim, keepdim=True)
    wide = value.float()
    low, high = wide.aminmax(dim=dim, keepdim=True)
    step = (high - low) / (2**bits - 1)
    # Where all values are equal there is one level, and no distance to divide by.
    codes = torch.round((wide - low) / torch.where(step > 0, step, 1.0))
    return (low + codes * step).to(value.dtype), step


def quantised_keys(key: Tensor, bits: int) -> Tensor:
    """Keys ``[..., L, d]`` with levels of its own for each channel, whose sizes differ more than those of tokens."""
    return quantised(key, bits, -2)[0]


def quantised_values(value: Tensor, bits: int) -> Tensor:
    """Values ``[..., L, d]`` with levels of its own for each token, after every channel was divided by the square root
    of its largest size: one large channel then costs the others less (ZipCache's channel-separable scheme)."""
    if value.shape[-2] == 0:
        return value
    size = value.float().abs().amax(-2, keepdim=True).sqrt()
    size = torch.where(size > 0, size, 1.0)
    return (quantised(value.float() / size, bits, -1)[0] * size).to(value.dtype)
