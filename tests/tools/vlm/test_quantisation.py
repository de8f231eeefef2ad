"""Rounding to few bits: the nearest of even levels, channels of their own, nothing to divide by."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.vlm.primitives.quantisation import quantised, quantised_keys, quantised_values

law = settings(max_examples=60)


@law
@given(st.integers(1, 8), st.integers(1, 12), st.integers(1, 6), st.integers(0, 999), st.booleans())
def test_quantised_is_the_nearest_level(bits: int, tokens: int, width: int, seed: int, last: bool) -> None:
    value = torch.randn(2, tokens, width, generator=torch.Generator().manual_seed(seed)) * 5
    dim = -1 if last else -2
    found, step = quantised(value, bits, dim)
    assert bool(((found - value).abs() <= step / 2 + 1e-5).all())
    rows, ours = (part.transpose(1, 2).flatten(0, 1) if dim == -2 else part.flatten(0, 1) for part in (value, found))
    for row, got in zip(rows.tolist(), ours.tolist(), strict=True):
        low, high = min(row), max(row)
        levels = [low + (high - low) * code / (2**bits - 1) for code in range(2**bits)]
        for x, y in zip(row, got, strict=True):
            assert abs(abs(y - x) - min(abs(level - x) for level in levels)) < 1e-4
            assert min(abs(level - y) for level in levels) < 1e-4


def test_equal_values_and_no_values_stay() -> None:
    constant = torch.full((1, 3, 4), 2.5)
    assert torch.equal(quantised_keys(constant, 2), constant)
    torch.testing.assert_close(quantised_values(constant, 2), constant)
    zero, empty = torch.zeros(1, 3, 4), torch.zeros(1, 0, 4)
    assert torch.equal(quantised_values(zero, 4), zero)
    assert quantised_values(empty, 4).shape == quantised_keys(empty, 4).shape == (1, 0, 4)


def test_a_large_channel_costs_the_others_less_when_channels_are_evened() -> None:
    value = torch.randn(1, 200, 16, generator=torch.Generator().manual_seed(5))
    value[..., 3] *= 40
    plain = quantised(value, 4, -1)[0]
    others = [channel for channel in range(16) if channel != 3]
    error = ((quantised_values(value, 4) - value)[..., others] ** 2).mean()
    assert error < 0.5 * ((plain - value)[..., others] ** 2).mean()
