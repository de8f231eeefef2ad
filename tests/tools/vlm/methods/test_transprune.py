"""TransPrune: both scores and the steps, against a slow definition run alongside on real decoder layers."""

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tools.vlm.conftest import LoadHost, make_frames
from tests.tools.vlm.methods.scored import random
from tools.errors import BadInput
from tools.vlm.compression import Compression, make_method
from tools.vlm.engine import Engine, Request
from tools.vlm.host import Host
from tools.vlm.method import Method, Stage
from tools.vlm.methods.transprune import TransPrune, _transition
from tools.vlm.prefill import Prefill, SubBlocks
from tools.vlm.tokens import VisualTokens

LAYERS = (0.25, 0.5, 0.75)


def naive(entered: torch.Tensor, left: torch.Tensor, over: list[int]) -> dict[int, float]:
    """Transition variation of the rows ``over``, the softmax running over these."""

    def length(row: torch.Tensor) -> float:
        return math.sqrt(sum(float(value) ** 2 for value in row))

    turns = {i: 1 - float(entered[i] @ left[i]) / (length(entered[i]) * length(left[i])) for i in over}
    total = sum(math.exp(turn) for turn in turns.values())
    return {i: length(left[i]) / length(entered[i]) * math.exp(turns[i]) / total for i in over}


@settings(max_examples=30)
@given(st.integers(2, 8), st.integers(0, 9999), st.booleans(), st.data())
def test_transition_is_its_definition(count: int, seed: int, everything: bool, data: st.DataObject) -> None:
    entered, left = random(seed, count, 5), random(seed + 1, count, 5)
    rows = sorted(data.draw(st.sets(st.integers(0, count - 1), min_size=1)))
    found = _transition(entered, left, torch.tensor(rows), everything=everything)
    expected = naive(entered, left, list(range(count)) if everything else rows)
    torch.testing.assert_close(found, torch.tensor([expected[i] for i in rows]))
    # A block that gives twice as much counts twice as much; its input's length does not turn it.
    torch.testing.assert_close(_transition(entered, 2 * left, torch.tensor(rows), everything=everything), 2 * found)


def test_a_token_of_zeros_is_no_trouble() -> None:
    assert bool(_transition(torch.zeros(3, 4), torch.ones(3, 4), torch.arange(3), everything=True).isfinite().all())
    assert _transition(torch.ones(3, 4), torch.zeros(3, 4), torch.arange(3), everything=True).tolist() == [0, 0, 0]


@dataclass(frozen=True, kw_only=True)
class Compare(Method):
    """Runs the method and its definition side by side."""

    stage: ClassVar[Stage] = "prune"

    inner: TransPrune
    seen: list[dict[int, float]] = field(default_factory=list, hash=False)

    def prune_layers(self, depth: int) -> Collection[int]:
        return self.inner.prune_layers(depth)

    def observe(self, layer: int, parts: SubBlocks, prefill: Prefill) -> None:
        self.inner.observe(layer, parts, prefill)
        over = list(range(len(prefill.places))) if self.inner.over == "sequence" else prefill.visual.tolist()
        attention = naive(parts.attention_in[0], parts.attention_out[0], over)
        feed = naive(parts.feed_in[0], parts.feed_out[0], over)
        cells = zip(prefill.tokens.index.tolist(), prefill.visual.tolist(), strict=True)
        self.seen.append({cell: attention[row] + feed[row] for cell, row in cells})

    def prune(self, layer: int, tokens: VisualTokens, prefill: Prefill) -> VisualTokens:
        assert len(self.seen) == layer
        cells = tokens.index.tolist()
        history = torch.tensor([sum(layer[cell] for layer in self.seen) for cell in cells])
        rows = prefill.attention_rows(layer, prefill.instruction, prefill.visual).mean((0, 1))
        parts = {"ttv": history / history.sum(), "iga": rows / rows.sum()}
        scores = sum(value for name, value in parts.items() if self.inner.criterion in (name, "both"))
        assert isinstance(scores, torch.Tensor)
        found = self.inner.prune(layer, tokens, prefill)
        kept = torch.isin(tokens.index, found.index)
        assert float(scores[kept].min()) >= float(scores[~kept].max()) - 1e-6
        return found


@pytest.mark.parametrize(
    ("criterion", "over", "score"),
    [("both", "sequence", "published"), ("both", "sequence", "null"), ("ttv", "visual", "published"),
     ("iga", "sequence", "published")],
)  # fmt: skip
def test_steps_keep_the_highest_sums(criterion: Any, over: Any, score: Any, host: Host) -> None:
    inner = TransPrune(keep=0.2, layers=LAYERS, start=0.0, criterion=criterion, over=over, score=score)
    compare = Compare(inner=inner)
    visual = Engine(host).prefill(Request(make_frames(2), "Where is it?", Compression((compare,)), 1)).visual
    full = visual[0]
    assert visual == [full, int(0.875 * full + 0.5), int(0.625 * full + 0.5), int(0.2 * full + 0.5)]
    assert len(compare.seen) == host.depth


def test_published_layers_and_shares() -> None:
    method = TransPrune()
    assert list(method.prune_layers(32)) == [7, 9, 12]
    assert [int(share * 576 + 0.5) for share in (*method.before, method.keep)] == [504, 360, 72]
    assert method.count(576) == 72
    assert list(method.prune_layers(28)) == [6, 8, 11]


def test_steps_on_one_layer_of_a_shallow_decoder_are_one(tiny: LoadHost) -> None:
    host = tiny("llava")
    visual = Engine(host).prefill(Request(make_frames(2), "Where is it?", Compression((TransPrune(),)), 1)).visual
    assert visual == [98, 61, 12, 12]


def test_a_budget_above_the_steps_before_it_holds_them_up(tiny: LoadHost) -> None:
    method = TransPrune(keep=0.8, layers=LAYERS, start=0.0)
    visual = Engine(tiny("llava")).prefill(Request(make_frames(2), "Where?", Compression((method,)), 1)).visual
    assert visual == [98, 86, 78, 78]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"layers": "0.5/0.75"}, "layers"),
        ({"layers": "0.75/0.5/0.9"}, "layers"),
        ({"before": "0.5/0.75"}, "before"),
        ({"before": "1.5/0.75"}, "before"),
        ({"start": "0.5"}, "start"),
    ],
)
def test_options_that_make_no_steps_are_refused(options: dict[str, str], field: str) -> None:
    with pytest.raises(BadInput) as caught:
        make_method("transprune", options)
    assert caught.value.field == field


@pytest.mark.parametrize("layers", [(0.05, 0.5, 0.75), (0.5, 0.75, 1.0)])
def test_steps_outside_the_decoder_are_refused(layers: tuple[float, ...], tiny: LoadHost) -> None:
    with pytest.raises(BadInput, match="transprune cannot prune before decoder layers") as caught:
        TransPrune(layers=layers, start=0.0).check(tiny("llava"))
    assert caught.value.field == "layers"
