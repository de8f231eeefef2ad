"""P-Sigmoid and G-Search: the curve, the search against trying everything, and both on a model."""

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar

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
from tools.vlm.methods.psigmoid import PSigmoid
from tools.vlm.prefill import Prefill
from tools.vlm.primitives.schedules import best_steepness, g_search, p_sigmoid
from tools.vlm.tokens import VisualTokens
from tools.vlm.tuning import divergence, rank_stability

law = settings(max_examples=40)


@law
@given(st.integers(1, 40), st.floats(0, 1), st.floats(0.05, 20), st.integers(0, 2))
def test_the_curve_falls_and_has_its_mean(layers: int, mean: float, steepness: float, whole: int) -> None:
    if whole > mean * layers:
        with pytest.raises(ValueError, match="has mean"):
            p_sigmoid(layers, mean + (0 if whole > mean * layers + 1e-6 else -1), steepness, whole)
        return
    shares = p_sigmoid(layers, mean, steepness, whole)
    assert len(shares) == layers
    assert sum(shares) / layers == pytest.approx(mean, abs=1e-6)
    assert shares == sorted(shares, reverse=True)
    assert all(0 <= share <= 1 for share in shares)
    assert shares[:whole] == [1.0] * min(whole, layers)


@pytest.mark.parametrize(("steepness", "middle"), [(0.2, 6.42), (0.5, 7.46), (1.0, 7.50)])
def test_middles_of_a_quarter_over_32_layers(steepness: float, middle: float) -> None:
    share = p_sigmoid(32, 0.25, steepness)[7]
    assert 7 - math.log(1 / share - 1) / steepness == pytest.approx(middle, abs=0.005)


def schedules(layers: int, levels: int) -> list[tuple[float, ...]]:
    """All that never rise and begin whole."""
    rest = itertools.combinations_with_replacement(range(levels, -1, -1), layers - 1)
    return [(1.0, *(level / levels for level in part)) for part in rest]


@law
@given(st.integers(2, 5), st.sampled_from([2, 3, 4]), st.data())
def test_search_finds_what_trying_everything_finds(layers: int, levels: int, data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.floats(0, 2), min_size=layers, max_size=layers))
    power = data.draw(st.sampled_from([1, 2, 3]))
    tolerance = data.draw(st.floats(0, 3))
    calls = []

    def loss(schedule: Sequence[float]) -> float:
        calls.append(tuple(schedule))
        return sum(weight * (1 - share) ** power for weight, share in zip(weights, schedule, strict=True))

    found = g_search(loss, layers, tolerance, levels)
    assert len(calls) <= (layers - 1) * (levels.bit_length() + 1)
    assert tuple(found) == min(schedule for schedule in schedules(layers, levels) if loss(schedule) <= tolerance)


@law
@given(st.lists(st.integers(0, 4), min_size=2, max_size=5))
def test_search_is_least_in_every_layer_where_needs_fall(needs: list[int]) -> None:
    def loss(schedule: Sequence[float]) -> float:
        return float(any(share * 4 < need for share, need in zip(schedule, needs, strict=True)))

    found = g_search(loss, len(needs), 0.0, levels=4)
    possible = [schedule for schedule in schedules(len(needs), 4) if loss(schedule) == 0]
    assert found == [min(schedule[layer] for schedule in possible) for layer in range(len(needs))]
    assert sum(found) == min(map(sum, possible))


def test_search_without_tolerance_keeps_everything() -> None:
    assert g_search(lambda schedule: 1.0, 3, 0.5) == [1.0, 1.0, 1.0]
    assert g_search(lambda schedule: 0.0, 3, 0.5) == [1.0, 0.0, 0.0]


def test_best_steepness_comes_close_to_the_best() -> None:
    target = p_sigmoid(24, 0.3, 0.7, whole=1)

    def loss(schedule: Sequence[float]) -> float:
        return sum((one - other) ** 2 for one, other in zip(schedule, target, strict=True))

    found = best_steepness(loss, 24, 0.3, rounds=6)
    assert found == pytest.approx(0.7, rel=0.05)
    assert best_steepness(lambda schedule: 0.0, 24, 0.3) == 0.125


@dataclass(frozen=True, kw_only=True)
class Compare(Method):
    """Before every layer, compares what is kept with the plain top of the last token's attention."""

    stage: ClassVar[Stage] = "prune"

    inner: PSigmoid

    def prune_layers(self, depth: int) -> Collection[int]:
        return self.inner.prune_layers(depth)

    def prune(self, layer: int, tokens: VisualTokens, prefill: Prefill) -> VisualTokens:
        rows = prefill.attention_rows(layer - 1, prefill.last, prefill.visual)[:, 0].mean(0).tolist()
        found = self.inner.prune(layer, tokens, prefill)
        best = sorted(sorted(range(len(rows)), key=lambda i: -rows[i])[: len(found)])
        assert found.index.tolist() == tokens.index[best].tolist()
        return found


def test_each_layer_works_on_its_share(host: Host) -> None:
    compare = Compare(inner=PSigmoid(schedule=(1.0, 0.7, 0.5, 0.21)))
    visual = Engine(host).prefill(Request(make_frames(2), "Where is it?", Compression((compare,)), 1)).visual
    full = visual[0]
    assert visual == [full, math.ceil(0.7 * full - 1e-9), math.ceil(0.5 * full), math.ceil(0.21 * full - 1e-9)]


def test_the_budget_is_the_mean_over_layers() -> None:
    for keep, steepness in ((0.5, 0.5), (0.25, 2.0), (0.1, 0.2)):
        counts = PSigmoid(keep=keep, steepness=steepness).counts(2000, 28)
        assert counts[0] == 2000
        assert 0 <= sum(counts) / 28 - keep * 2000 <= 1
    assert sum(PSigmoid(tokens=500).counts(2000, 28)) / 28 == pytest.approx(500, abs=1)
    # One whole layer of four alone is more than a tenth: nothing is left for the others.
    assert PSigmoid(tokens=200).counts(2000, 4) == [2000, 0, 0, 0]
    searched = PSigmoid(schedule=(1.0, 0.5))
    assert searched.count(9) == 5
    assert searched.with_budget(keep=0.3) == PSigmoid(keep=0.3)


@torch.inference_mode()
def test_search_on_a_model_finds_a_schedule_within_the_tolerance(tiny: LoadHost) -> None:
    engine = Engine(tiny("llava"))
    requests = [Request(make_frames(1, seed=seed), "Is it red?") for seed in range(2)]
    loss = divergence(engine, requests, lambda shares: Compression((PSigmoid(schedule=tuple(shares)),)))
    assert loss([1.0] * 4) < 1e-9
    worst = loss([1.0, 0.0, 0.0, 0.0])
    assert worst > 1e-4
    found = g_search(loss, 4, worst / 4, levels=8)
    assert loss(found) <= worst / 4
    assert [1.0, 0.0, 0.0, 0.0] < found < [1.0] * 4
    k = best_steepness(loss, 4, sum(found) / 4, candidates=(0.5, 2.0), rounds=1)
    assert loss(p_sigmoid(4, sum(found) / 4, k, 1)) <= loss(p_sigmoid(4, sum(found) / 4, 0.5, 1))


@torch.inference_mode()
def test_rank_stability_is_spearmans(tiny: LoadHost) -> None:
    host = tiny("llava")
    seen: list[list[float]] = []

    @dataclass(frozen=True, kw_only=True)
    class Rows(Method):
        stage: ClassVar[Stage] = "prune"

        def prune_layers(self, depth: int) -> Collection[int]:
            return range(1, depth)

        def prune(self, layer: int, tokens: VisualTokens, prefill: Prefill) -> VisualTokens:
            seen.append(prefill.received(layer - 1, prefill.last, prefill.visual).tolist())
            return tokens

    request = Request(make_frames(1), "Is it red?")
    found = rank_stability(Engine(host), request)
    Engine(host).prefill(Request(make_frames(1), "Is it red?", Compression((Rows(),))))
    expected = []
    for one, other in itertools.pairwise(seen):
        places = [sorted(range(len(row)), key=row.__getitem__) for row in (one, other)]
        gaps = sum((places[0].index(i) - places[1].index(i)) ** 2 for i in range(len(one)))
        expected.append(1 - 6 * gaps / (len(one) * (len(one) ** 2 - 1)))
    assert found == pytest.approx(expected)
    assert len(found) == 2


def test_a_schedule_can_be_written_in_a_request() -> None:
    method = PSigmoid(schedule=(1.0, 0.5, 0.25))
    assert Compression.parse("psigmoid:schedule=1/0.5/0.25").methods == (method,)
    for one in (method, *PSigmoid.examples()):
        assert Compression.parse(str(one)).methods == (one,)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"steepness": "0"}, "steepness"),
        ({"schedule": "0.9/0.5"}, "schedule"),
        ({"schedule": "1/0.5/0.6"}, "schedule"),
        ({"schedule": "1/-0.5"}, "schedule"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, str], field: str) -> None:
    with pytest.raises(BadInput) as caught:
        make_method("psigmoid", options)
    assert caught.value.field == field


def test_what_does_not_fit_the_decoder_is_refused(tiny: LoadHost) -> None:
    for method, name in ((PSigmoid(schedule=(1.0, 0.5)), "schedule"), (PSigmoid(keep=0.2), "keep")):
        with pytest.raises(BadInput) as caught:
            method.check(tiny("llava"))
        assert caught.value.field == name
