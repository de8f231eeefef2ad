"""Attention by blocks of rows against torch's own."""

import shutil
from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from evals.synth.scenes import Scenes
from training.nano import attention
from training.nano.batches import pack
from training.nano.config import Mix, Sizes, Stage
from training.nano.learner import Learner
from training.nano.models import Models, build


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


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no compiler")
# torch asks fake tensors for gradients while it compiles.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl"])
def test_fused_layers_learn_the_same(family: str, tiny: Callable[[str], Models], sizes: dict[str, Sizes]) -> None:
    plain = Learner(tiny(family))
    fused = Learner(build(sizes[family], plain.models.tokenizer), fused=True)
    assert fused.fused
    fused.parts.load_state_dict(plain.parts.state_dict())
    samples = [Scenes("train").clip(index, turns=2) for index in range(2)]
    batch = pack(samples, [sample.turns for sample in samples], Mix("clip"), plain.models.tokenizer)
    stage = Stage("all", 1.0, (Mix(),), dense=0.5, words=0.3, course=0.5)
    expected = plain.learn(batch, stage)
    assert fused.learn(batch, stage) == pytest.approx(expected, rel=1e-4)
    for (name, one), other in zip(plain.parts.named_parameters(), fused.parts.parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(other.grad, one.grad, rtol=1e-3, atol=1e-5, msg=name)
    plain.parts.zero_grad()
