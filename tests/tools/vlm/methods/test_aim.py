"""AIM: merging in rounds, the ramp, and PageRank over attention, each against a slow definition."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tools.vlm.conftest import LoadHost, make_frames
from tools.errors import BadInput
from tools.vlm.compression import Compression, make_method
from tools.vlm.engine import Engine, Request
from tools.vlm.host import Host
from tools.vlm.method import Method, Stage
from tools.vlm.methods.aim import AIM
from tools.vlm.prefill import Prefill
from tools.vlm.primitives.pagerank import even_pagerank, pagerank
from tools.vlm.tokens import Grid, VisualTokens

law = settings(max_examples=40)
CONTEXT: Any = None


def naive_round(rows: list[torch.Tensor], owners: list[list[int]], pairs: int) -> tuple[list[Any], list[Any]]:
    """One round on one picture: rows and, in step with them, the patches that each stands for."""
    best = {}
    for source in range(0, len(rows), 2):
        near = [(float(torch.cosine_similarity(rows[source], rows[to], 0)), -to) for to in range(1, len(rows), 2)]
        best[source] = max(near)
    going = sorted(best, key=lambda source: (-best[source][0], source))[:pairs]
    groups = {place: [place] for place in range(len(rows)) if place not in going}
    for source in going:
        groups[-best[source][1]].append(source)
    means = [torch.stack([rows[i] for i in members]).mean(0) for members in groups.values()]
    return means, [sorted(patch for i in members for patch in owners[i]) for members in groups.values()]


@law
@given(st.integers(1, 3), st.integers(2, 4), st.integers(0, 9999), st.floats(0.05, 1))
def test_merging_is_rounds_of_pairs_within_each_picture(frames: int, width: int, seed: int, keep: float) -> None:
    size = 3 * width
    features = torch.randn(frames * size, 5, generator=torch.Generator().manual_seed(seed))
    tokens = VisualTokens.full(features, tuple(Grid(3, width) for _ in range(frames)))
    method = AIM(keep=max(keep, 1 / len(features)))
    found = method.merge(tokens, CONTEXT).check()
    kept = method.budget(len(tokens))
    assert len(found) == kept
    for t in range(frames):
        mine = torch.nonzero(found.position[:, 0] == t)[:, 0].tolist()
        quota = len(mine)
        assert abs(quota - kept / frames) < 1 + 1e-9
        if quota == 0:
            continue
        rows, owners = list(features[t * size : (t + 1) * size]), [[t * size + i] for i in range(size)]
        while len(rows) > quota:
            rows, owners = naive_round(rows, owners, min(len(rows) // 2, len(rows) - quota))
        for place, row, owned in zip(mine, rows, owners, strict=True):
            torch.testing.assert_close(found.features[place], row)
            assert torch.nonzero(found.owner == place)[:, 0].tolist() == owned


def test_the_papers_quarter_is_two_halvings() -> None:
    tokens = VisualTokens.full(torch.randn(2 * 196, 8), (Grid(14, 14), Grid(14, 14)))
    found = AIM().merge(tokens, CONTEXT)
    assert [len(index) for _, index in found.by_grid()] == [49, 49]
    assert float(found.mass.sum()) == 392


def test_fewer_tokens_than_pictures_are_spread_along_the_video() -> None:
    tokens = VisualTokens.full(torch.randn(64, 4), tuple(Grid(2, 2) for _ in range(16)))
    found = AIM(tokens=4).merge(tokens, CONTEXT)
    assert [t // 4 for t in found.position[:, 0].tolist()] == [0, 1, 2, 3]


def test_the_ramp_is_the_published_one() -> None:
    method = AIM()
    rates = [method.rate(layer, 28) for layer in range(28)]
    assert rates == [1.0] * 14 + [1 - 0.125 * (layer - 13) for layer in range(14, 21)] + [0.0] * 7
    assert list(method.prune_layers(28)) == list(range(14, 22))
    assert sum(rates) / 28 == 0.625
    llama = AIM(first=0.41, stop=0.66)
    assert next(layer for layer in range(32) if llama.rate(layer, 32) < 1) == 13
    whole = AIM(first=1.0, stop=1.0)
    assert list(whole.prune_layers(28)) == []
    slow = AIM(first=0.5, stop=1.0)
    assert slow.rate(27, 28) == pytest.approx(1 / 15)


@law
@given(st.integers(1, 2), st.integers(1, 2), st.integers(1, 9), st.integers(0, 9999), st.integers(1, 6))
def test_pagerank_is_a_power_of_the_attention_map(kv: int, share: int, length: int, seed: int, steps: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(kv * share, length, 4, generator=generator)
    key = torch.randn(kv, length, 4, generator=generator)
    found = pagerank(query, key, 2.0, steps)
    torch.testing.assert_close(found.sum(-1), torch.ones(kv * share))
    for head in range(kv * share):
        products = (query[head] @ key[head // share].T * 2.0).double()
        products = products.masked_fill(~torch.ones(length, length, dtype=torch.bool).tril(), float("-inf"))
        power = torch.linalg.matrix_power(products.softmax(-1), steps)
        expected = torch.full((length,), 1 / length, dtype=torch.float64) @ power
        torch.testing.assert_close(found[head].double(), expected, rtol=1e-4, atol=1e-7)


@law
@given(st.integers(1, 12), st.integers(1, 6))
def test_even_pagerank_is_that_of_equal_products(length: int, steps: int) -> None:
    alike = pagerank(torch.zeros(1, length, 4), torch.zeros(1, length, 4), 1.0, steps)[0]
    torch.testing.assert_close(even_pagerank(length, steps), alike.double(), rtol=1e-4, atol=1e-12)


def test_null_takes_the_drift_to_early_tokens_out() -> None:
    generator = torch.Generator().manual_seed(5)
    query, key = (torch.randn(8, 400, 16, generator=generator) for _ in range(2))
    walk = pagerank(query, key, 0.25, 5).double().square().mean(0).sqrt()

    def first_quarter(scores: torch.Tensor) -> float:
        return float((scores.topk(40).indices < 100).double().mean())

    assert first_quarter(walk) == 1.0
    assert first_quarter(walk / even_pagerank(400, 5)) < 0.5


@dataclass(frozen=True, kw_only=True)
class Compare(Method):
    """Before every layer of the ramp, compares what AIM keeps with the slow definition."""

    stage: ClassVar[Stage] = "prune"

    aim: AIM

    def prune_layers(self, depth: int) -> Collection[int]:
        return self.aim.prune_layers(depth)

    def prune(self, layer: int, tokens: VisualTokens, prefill: Prefill) -> VisualTokens:
        every = torch.arange(len(prefill.places))
        maps = prefill.attention_rows(layer, every, every, temperature=self.aim.temperature).double()
        start = torch.full((len(every),), 1 / len(every), dtype=torch.float64)
        scores = torch.stack([start @ torch.linalg.matrix_power(part, self.aim.steps) for part in maps])
        scores = scores.square().mean(0).sqrt()[prefill.visual]
        found = self.aim.prune(layer, tokens, prefill)
        kept = torch.isin(tokens.index, found.index)
        if 0 < len(found) < len(tokens):
            assert float(scores[kept].min()) >= float(scores[~kept].max()) * (1 - 1e-4)
        prefill.context.memory(self).setdefault("layers", []).append(layer)
        return found


def test_the_ramp_keeps_the_highest_pagerank_of_the_coming_layer(host: Host) -> None:
    compare = Compare(aim=AIM(first=0.25, stop=0.75))
    request = Request(make_frames(2), "Where is it?", Compression((compare,)), 1)
    visual = Engine(host).prefill(request).visual
    full = visual[0]
    assert visual == [full, int(full * 2 / 3 + 0.5), int(full / 3 + 0.5), 0]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"first": "0"}, "first"),
        ({"first": "0.8", "stop": "0.7"}, "first"),
        ({"stop": "1.2"}, "first"),
        ({"temperature": "0"}, "temperature"),
        ({"steps": "0"}, "steps"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, str], field: str) -> None:
    with pytest.raises(BadInput) as caught:
        make_method("aim", options)
    assert caught.value.field == field


def test_a_ramp_from_the_first_layer_on_is_refused(tiny: LoadHost) -> None:
    with pytest.raises(BadInput, match="aim cannot prune before decoder layer 0") as caught:
        AIM(first=0.05).check(tiny("llava"))
    assert caught.value.field == "first"
