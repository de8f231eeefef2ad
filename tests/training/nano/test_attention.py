"""Attention by blocks of rows against torch's own."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from training.nano import attention


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("rows", [3, 128])
def test_it_is_attention(monkeypatch: pytest.MonkeyPatch, causal: bool, rows: int) -> None:
    monkeypatch.setattr(attention, "_ROWS", rows)
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 4, 10, 8), torch.randn(2, 2, 10, 8), torch.randn(2, 2, 10, 8)
    query.requires_grad_()
    # Two questions behind three shared tokens, neither of which sees the other.
    turn = torch.tensor([-1, -1, -1, 0, 0, 0, 1, 1, 1, 1])
    allowed = ((turn[:, None] == turn) | (turn == -1)) & torch.ones(10, 10, dtype=torch.bool).tril()
    mask = torch.zeros(10, 10).masked_fill(~allowed, attention.NEVER)
    seen = mask[None, None].expand(2, 1, 10, 10) if causal else None
    found, weights = attention.by_rows(torch.nn.Identity(), query, key, value, seen, scaling=0.3)
    assert weights is None
    (gradient,) = torch.autograd.grad(found.square().sum(), query)
    expected = scaled_dot_product_attention(query, key, value, seen, scale=0.3, enable_gqa=True).transpose(1, 2)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected.square().sum(), query)[0])
