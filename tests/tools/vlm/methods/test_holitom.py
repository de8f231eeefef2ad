"""HoliTom: the best segmentation, what becomes of still and moving tokens, and the step inside the decoder."""

import itertools
from collections.abc import Collection
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tools.vlm.conftest import LoadHost, make_frames
from tools.errors import BadInput
from tools.vlm.compression import Compression, make_method
from tools.vlm.engine import Engine, Request
from tools.vlm.method import Method, Stage
from tools.vlm.methods.holitom import HoliTom
from tools.vlm.prefill import Prefill
from tools.vlm.signals import Signal
from tools.vlm.tokens import Grid, VisualTokens

law = settings(max_examples=60)
CONTEXT: Any = SimpleNamespace(host=SimpleNamespace(signal_kinds=frozenset({"received"})))
SIGNAL = Signal("received")


def video(features: torch.Tensor, scores: torch.Tensor | None = None) -> VisualTokens:
    """``features [T, H, W, D]`` as tokens."""
    frames, height, width, _ = features.shape
    grids = tuple(Grid(height, width, time=float(t)) for t in range(frames))
    flat = features.flatten(0, 2)
    return VisualTokens.full(flat, grids, {SIGNAL: torch.rand(len(flat)) if scores is None else scores.flatten()})


def random_video(seed: int, frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames in which most positions stay about the same, and scores."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(1, 2, 3, 4, generator=generator).repeat(frames, 1, 1, 1)
    jump = torch.rand(frames, 2, 3, 1, generator=generator) < 0.3
    features = torch.where(jump, torch.randn(frames, 2, 3, 4, generator=generator), first)
    return features, torch.rand(frames, 2, 3, generator=generator)


@law
@given(st.integers(1, 6), st.integers(0, 9999), st.floats(0.2, 1), st.sampled_from([0.0, 0.5, 0.9, 1.5]))
def test_count_is_the_budget_or_what_the_best_segmentation_leaves(
    frames: int, seed: int, keep: float, tau: float
) -> None:
    features, scores = random_video(seed, frames)
    flat = features.flatten(1, 2)
    cosine = torch.nn.functional.cosine_similarity(flat[1:], flat[:-1], dim=-1)
    most = 0
    for cuts in itertools.product([False, True], repeat=frames - 1):
        bounds = [0, *[place + 1 for place, cut in enumerate(cuts) if cut], frames]
        removed = 0
        for begin, end in itertools.pairwise(bounds):
            still = [p for p in range(6) if all(float(cosine[t, p]) > tau for t in range(begin, end - 1))]
            removed += len(still) * (end - begin - 1)
        most = max(most, removed)
    tokens = video(features, scores)
    method = HoliTom(keep=keep, tau=tau, inner_keep=1.0)
    found = method.merge(tokens, CONTEXT).check()
    assert len(found) == min(method.budget(len(tokens)), len(tokens) - most)
    assert method.count(len(tokens)) in (None, len(found))


@law
@given(st.integers(1, 5), st.integers(0, 9999), st.floats(0.2, 0.9), st.sampled_from([0.0, 0.4, 1.0]))
def test_every_kept_token_is_the_centred_mean_of_what_it_owns(
    frames: int, seed: int, keep: float, contextual: float
) -> None:
    features, scores = random_video(seed, frames)
    method = HoliTom(keep=keep, tau=1.5, contextual=contextual, centre=0.7, inner_keep=1.0)
    tokens = video(features, scores)
    found = method.merge(tokens, CONTEXT)
    for place, cell in enumerate(found.index.tolist()):
        others = [i for i in torch.nonzero(found.owner == place)[:, 0].tolist() if i != cell]
        expected = tokens.features[cell]
        if others:
            expected = 0.7 * expected + 0.3 * torch.stack([tokens.features[i] for i in others]).mean(0)
        torch.testing.assert_close(found.features[place], expected)
        assert {i // 6 for i in others} <= {cell // 6}, "a moving token joins only its own frame"
    if contextual == 0:
        for t in range(frames):
            kept = [cell for cell in found.index.tolist() if cell // 6 == t]
            best = sorted(range(6), key=lambda p: -float(scores.flatten()[t * 6 + p]))[: len(kept)]
            assert sorted(cell - t * 6 for cell in kept) == sorted(best)


def test_still_positions_become_their_mean_and_moving_ones_are_ranked() -> None:
    generator = torch.Generator().manual_seed(3)
    scene = torch.randn(2, 2, 3, 16, generator=generator)
    features = scene.repeat_interleave(3, 0) + 0.01 * torch.randn(6, 2, 3, 16, generator=generator)
    features[:, 0, 0] = torch.randn(6, 16, generator=generator)
    scores = torch.zeros(6, 2, 3)
    scores[2, 0, 0] = 1
    tokens = video(features, scores)
    # Two scenes of three frames: five still positions each, and six tokens of the moving one.
    found = HoliTom(keep=1.0, tau=0.9, inner_keep=1.0).merge(tokens, CONTEXT)
    assert found.mass.tolist() == [1, 3, 3, 3, 3, 3, 1, 1, 1, 3, 3, 3, 3, 3, 1, 1]
    torch.testing.assert_close(found.features[1], features[:3, 0, 1].mean(0))
    torch.testing.assert_close(found.features[-3], features[3:, 1, 2].mean(0))
    # Twelve for the 16 that are left: the moving ones share some of them, and the one with a score comes first.
    few = HoliTom(tokens=12, tau=0.9, inner_keep=1.0).merge(tokens, CONTEXT)
    assert len(few) == 12
    assert 12 in few.index.tolist(), "the moving token that is attended stays"


def test_a_video_that_stands_still_is_one_frame() -> None:
    frame = torch.randn(1, 3, 4, 8)
    found = HoliTom(keep=0.5, inner_keep=1.0).merge(video(frame.repeat(7, 1, 1, 1)), CONTEXT)
    assert len(found) == 12
    torch.testing.assert_close(found.features, frame.flatten(0, 2))
    assert found.mass.tolist() == [7.0] * 12
    assert found.position[:, 0].tolist() == [0] * 12


def test_pictures_of_different_shapes_have_no_still_positions() -> None:
    grids = (Grid(2, 2, part="base"), Grid(2, 3, part="mosaic"))
    tokens = VisualTokens.full(torch.ones(10, 4), grids, {SIGNAL: torch.rand(10)})
    assert len(HoliTom(keep=1.0, tau=0.5, inner_keep=1.0).merge(tokens, CONTEXT)) == 10


def test_thresholds_follow_the_budget() -> None:
    assert HoliTom(keep=0.1)._tau(10, 100) == 0.65
    assert HoliTom(keep=0.15)._tau(15, 100) == 0.8
    assert HoliTom(tau=0.3)._tau(15, 100) == 0.3


@dataclass(frozen=True, kw_only=True)
class Compare(Method):
    """Runs the inner step and its slow definition side by side."""

    stage: ClassVar[Stage] = "prune"

    inner: HoliTom

    def prune_layers(self, depth: int) -> Collection[int]:
        return self.inner.prune_layers(depth)

    def prune(self, layer: int, tokens: VisualTokens, prefill: Prefill) -> VisualTokens:
        rows = prefill.attention_rows(layer - 1, prefill.last, prefill.visual)[:, 0].mean(0)
        kept = sorted(sorted(range(len(tokens)), key=lambda i: -float(rows[i]))[: (len(tokens) + 1) // 2])
        groups: dict[int, list[int]] = {i: [i] for i in kept}
        for i in set(range(len(tokens))) - set(kept):
            near = [float(torch.cosine_similarity(tokens.features[i], tokens.features[j], 0)) for j in kept]
            groups[kept[near.index(max(near))]].append(i)
        found = self.inner.prune(layer, tokens, prefill)
        for place, (head, members) in enumerate(groups.items()):
            assert int(found.index[place]) == int(tokens.index[head])
            torch.testing.assert_close(found.features[place], tokens.features[members].mean(0), rtol=1e-4, atol=1e-5)
        prefill.context.memory(self)["layer"] = layer
        return found


@pytest.mark.parametrize("score", ["published", "null"])
def test_inner_step_merges_into_the_most_similar_survivor(tiny: LoadHost, score: Any) -> None:
    compare = Compare(inner=HoliTom(keep=1.0, tau=1.5, score=score))
    prefilled = Engine(tiny("llava_onevision")).prefill(
        Request(make_frames(2), "Where is it?", Compression((compare,)), 1)
    )
    full = prefilled.visual[0]
    assert prefilled.visual == [full, full, full, (full + 1) // 2]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"inner_keep": "0"}, "inner_keep"),
        ({"contextual": "1.5"}, "contextual"),
        ({"centre": "-0.1"}, "centre"),
        ({"longest": "0"}, "longest"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, str], field: str) -> None:
    with pytest.raises(BadInput) as caught:
        make_method("holitom", options)
    assert caught.value.field == field


@pytest.mark.parametrize("inner", [0.05, 1.0])
def test_an_inner_step_outside_the_decoder_is_refused(inner: float, tiny: LoadHost) -> None:
    with pytest.raises(BadInput, match="holitom cannot merge before decoder layer") as caught:
        HoliTom(inner=inner).check(tiny("llava"))
    assert caught.value.field == "inner"
    HoliTom(inner=inner, inner_keep=1.0).check(tiny("llava"))
