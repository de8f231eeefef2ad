"""VisionDrop against a slow reference of its stages, and what it must not depend on."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tools.vlm.conftest import LoadHost, make_frames
from tests.tools.vlm.methods.scored import best, frames, random, towerless, visual
from tools.errors import BadInput
from tools.vlm.compression import Compression
from tools.vlm.context import Context
from tools.vlm.engine import Engine
from tools.vlm.host import Host
from tools.vlm.methods.visiondrop import VisionDrop
from tools.vlm.prefill import Prefill
from tools.vlm.primitives import probe
from tools.vlm.primitives.budget import spread
from tools.vlm.signals import Signal
from tools.vlm.tokens import Grid, VisualTokens

law = settings(max_examples=40)
CLS, KEYS = Signal("cls", heads="sum"), Signal("keys")


def test_the_papers_stages() -> None:
    method = VisionDrop()
    counts = method.counts(method.budget(576))
    assert counts == [48, 35, 26, 19]
    assert [method.split(kept, stage) for stage, kept in enumerate(counts)] == [(42, 6), (30, 5), (22, 4), (16, 3)]
    assert method.count(576) == 19


def reference(scores: list[float], keys: torch.Tensor, dominant: int, contextual: int) -> dict[int, list[int]]:
    """The members of every token that one stage leaves, itself first."""
    every = list(range(len(scores)))
    kept = best(scores, every, dominant)
    rest = [i for i in every if i not in kept]
    groups = {i: [i] for i in kept}
    if contextual:
        targets = [rest[at * (len(rest) // contextual)] for at in range(contextual)]
        groups |= {i: [i] for i in targets}
        unit = (keys / keys.norm(dim=1, keepdim=True)).double()
        for i in rest:
            if i not in targets:
                groups[max(targets, key=lambda j: float(unit[i] @ unit[j]))].append(i)
    return dict(sorted(groups.items()))


@law
@given(st.integers(1, 3), st.integers(0, 999), st.integers(2, 19), st.sampled_from(["mean", "added"]))
def test_the_stage_before_the_decoder(count: int, seed: int, each: int, update: Any) -> None:
    method = VisionDrop(tokens=each * count, contextual=(0.25, 0.1, 0.1, 0.1), update=update)
    scores, keys = random(seed, count * 20), random(seed + 1, count * 20, 5)
    whole = visual(frames(count), (CLS, scores), (KEYS, keys))
    found = method.merge(whole, towerless()).check()
    assert len(found) == each * count
    dominant, contextual = method.split(each * count, 0)
    chosen = spread(dominant, [20] * count)
    merged = spread(contextual, [20 - some for some in chosen])
    at = 0
    for frame in range(count):
        inside = slice(frame * 20, frame * 20 + 20)
        groups = reference(scores[inside].tolist(), keys[inside], chosen[frame], merged[frame])
        for place, members in groups.items():
            rows = whole.features[inside][members].double()
            expected = rows.mean(0)
            if update == "added" and len(members) > 1:
                expected = rows[0] + rows[1:].mean(0)
            torch.testing.assert_close(found.features[at].double(), expected, atol=1e-5, rtol=1e-5)
            assert torch.nonzero(found.owner == at)[:, 0].tolist() == sorted(i + frame * 20 for i in members)
            assert int(found.index[at]) == place + frame * 20
            at += 1


def test_tokens_that_agree_double_when_added_and_stay_when_averaged() -> None:
    features = torch.ones(20, 4)
    whole = VisualTokens.full(features, frames(1), {CLS: random(1, 20), KEYS: random(2, 20, 5)})
    for update, length in (("mean", 1.0), ("added", 2.0)):
        found = VisionDrop(tokens=4, contextual=(0.25, 0.1, 0.1, 0.1), update=update).merge(whole, towerless())  # type: ignore[arg-type]
        assert found.features[found.mass > 1].unique().tolist() == [length]
        assert int(found.mass.sum()) == 20


def test_crops_are_stages_of_their_own() -> None:
    grids = (Grid(4, 4, part="base"), Grid(4, 8, part="mosaic", tiles=(1, 2)))
    whole = visual(grids, (CLS, random(1, 48)), (KEYS, random(2, 48, 5)))
    found = VisionDrop(tokens=12, contextual=(0.25, 0.1, 0.1, 0.1)).merge(whole, towerless())
    x = found.position[:, 2] + 8 * found.position[:, 0]
    part = torch.where(x < 8, 0, torch.where(x < 12, 1, 2))
    assert torch.bincount(part).tolist() == [4, 4, 4]
    cells = whole.position
    own = torch.where(cells[:, 0] == 0, 0, torch.where(cells[:, 2] < 4, 1, 2))
    assert torch.equal(part[found.owner], own)


def test_only_the_unmasked_score_has_no_favourite_place() -> None:
    places, quarters = torch.arange(512), {}
    for score in ("published", "null", "unmasked"):
        picks = torch.zeros(4)
        for seed in range(4):
            query, key = random(seed, 4, 512, 16), random(seed + 100, 4, 512, 16)

            def received(layer: int, queries: Any, keys: Any, *, causal: bool, q: Any = query, k: Any = key) -> Any:
                return probe.received(q, k, 0.25, queries, keys, causal=causal)

            fake: Any = SimpleNamespace(visual=places, received=received)
            scores = VisionDrop(score=score).scores(0, fake)  # type: ignore[arg-type]
            picks += torch.bincount(scores.topk(64).indices // 128, minlength=4)
        quarters[score] = (picks / picks.sum()).tolist()
    assert quarters["published"][0] > 0.95
    assert max(quarters["null"]) < 0.5
    assert all(0.15 < share < 0.35 for share in quarters["unmasked"])


@torch.inference_mode()
def test_a_stage_in_the_decoder(tiny: LoadHost) -> None:
    host, shown = tiny("llava"), make_frames(2)
    context = Context(host, shown, "Where?")
    context.enter(shown, host.prepare(shown, "Where?", "video"))
    prefill = Prefill(context, host.connect(host.encode(context.inputs), context.inputs))
    method = VisionDrop(layers=(0.25,), left=(0.3,), contextual=(0.1, 0.3))
    prefill._coming = 1
    whole = prefill.tokens
    found = method.prune(1, whole, prefill).check()
    rows = prefill.attention_rows(1, prefill.visual, prefill.visual, causal=False)
    keys = prefill.keys(1, prefill.visual).mean(0)
    groups = reference(rows.mean((0, 1)).tolist(), keys, *method.split(29, 1))
    assert found.index.tolist() == list(groups)
    for at, members in enumerate(groups.values()):
        torch.testing.assert_close(found.features[at], whole.features[members].mean(0), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("score", ["published", "null", "unmasked"])
def test_the_question_plays_no_part(score: Any, host: Host) -> None:
    method = VisionDrop(keep=0.6, score=score)
    seen = [
        Engine(host).look(make_frames(3), question, Compression((method,)), max_new_tokens=1, media="video")
        for question in ("Where is it?", "What colour has the large square behind the door?")
    ]
    cells = seen[0].report.tokens_in
    assert list(seen[0].report.layers) == method.counts(method.budget(cells))
    np.testing.assert_array_equal(seen[0].provenance.owner, seen[1].provenance.owner)
    np.testing.assert_array_equal(seen[0].provenance.survived, seen[1].provenance.survived)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"left": (0.5,)}, "left"),
        ({"contextual": (0.1,)}, "contextual"),
        ({"contextual": (1.0, 0.1, 0.1, 0.1)}, "contextual"),
        ({"left": (0.5, 0.6, 0.1)}, "left"),
        ({"left": (0.5, 0.2, 0.0)}, "left"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: Any, field: str) -> None:
    with pytest.raises(BadInput) as caught:
        VisionDrop(**options)
    assert caught.value.field == field


def test_layers_that_are_not_there_are_refused(tiny: LoadHost) -> None:
    with pytest.raises(BadInput) as caught:
        VisionDrop(layers=(0.25, 0.5, 1.0)).check(tiny("llava"))
    assert caught.value.field == "layers"
