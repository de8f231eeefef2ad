"""DAMRO: outliers are the most attended tokens, and the contrast is classifier-free guidance among plausible tokens."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tools.vlm.conftest import LoadHost, make_frames
from tools.errors import BadInput
from tools.vlm.compression import Compression
from tools.vlm.context import Context
from tools.vlm.engine import Engine, Request, Result
from tools.vlm.host import Host
from tools.vlm.methods.damro import Damro
from tools.vlm.methods.random_keep import RandomKeep
from tools.vlm.prefill import Prefill
from tools.vlm.signals import Signal
from tools.vlm.tokens import Grid, VisualTokens

QUESTION = "Is there a red circle?"
law = settings(max_examples=60)


def context(host: Host, count: int = 3) -> Context:
    frames = make_frames(count)
    found = Context(host, frames, QUESTION)
    found.enter(frames, host.prepare(frames, QUESTION, "video"))
    return found


def seen(host: Host, method: Damro, at: Context) -> VisualTokens:
    return host.connect(host.encode(at.inputs, method.needs(host)), at.inputs)


def tower_with(kind: str) -> Any:
    """A request to a host of whose tower only the kind of signal is known."""
    return SimpleNamespace(host=SimpleNamespace(signal_kinds=frozenset({kind})))


@law
@given(st.integers(2, 12), st.floats(0, 4), st.floats(0, 1), st.integers(0, 999))
def test_contrast_is_guidance_among_plausible_tokens(words: int, alpha: float, beta: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    model, outliers = (torch.randn(words, generator=generator) * 3 for _ in range(2))
    found = Damro(alpha=alpha, beta=beta).decode(model, outliers, None)  # type: ignore[arg-type]
    # Classifier-free guidance by 1 + alpha, as text generation libraries write it over log-probabilities.
    p, q = model.double().log_softmax(-1), outliers.double().log_softmax(-1)
    guided = q + (1 + alpha) * (p - q)
    best = float(p.exp().max())
    plausible = [float(chance) >= beta * best * (1 - 1e-6) for chance in p.exp()]
    kept = found.isfinite()
    assert bool(kept[model.argmax()])
    assert [bool(keep) or abs(float(p[at].exp()) - beta * best) < 1e-6 for at, keep in enumerate(kept)] == plausible
    shift = (found.double() - guided)[kept]
    torch.testing.assert_close(shift, shift[:1].expand_as(shift), atol=1e-4, rtol=0)


def test_no_contrast_leaves_the_logits_alone(tiny: LoadHost) -> None:
    logits = torch.randn(9)
    assert Damro().decode(logits, None, context(tiny("llava"), 1)) is logits


@law
@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.integers(1, 9), st.integers(0, 99))
def test_outliers_are_the_most_attended_tokens_of_each_picture(
    frames: int, height: int, width: int, k: int, seed: int
) -> None:
    method = Damro(k=k)
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, 6, (frames * height * width,), generator=generator).float()
    grids = tuple(Grid(height, width) for _ in range(frames))
    tokens = VisualTokens.full(torch.randn(len(scores), 2), grids, {Signal("cls"): scores})

    branch = method.branch(tokens, tower_with("cls"))
    assert branch is not None
    expected = []
    for frame in range(frames):
        cells = range(frame * height * width, (frame + 1) * height * width)
        expected += sorted(cells, key=lambda cell: (-float(scores[cell]), cell))[:k]
    assert branch.index.tolist() == sorted(expected)


def test_outliers_of_a_mosaic_are_sought_crop_by_crop() -> None:
    grids = (Grid(2, 2, part="base"), Grid(4, 6, part="mosaic", tiles=(2, 3)))
    tokens = VisualTokens.full(torch.randn(28, 2), grids, {Signal("received"): torch.arange(28.0)})

    branch = Damro(k=1).branch(tokens, tower_with("received"))
    assert branch is not None
    # The last cell of the base and of each 2 x 2 crop.
    assert branch.position.tolist() == [[0, 1, 1], *([1, y, x] for y in (1, 3) for x in (1, 3, 5))]


@torch.inference_mode()
def test_one_head_of_all_channels_ranks_as_its_definition(tiny: LoadHost) -> None:
    host = tiny("llava")
    method = Damro(k=5, heads="single")
    at = context(host)
    branch = method.branch(seen(host, method, at), at)
    assert branch is not None
    tower: Any = host.tower
    hidden = tower.embed(at.inputs.pixels)
    for layer in tower.layers[:-2]:
        hidden = layer(hidden)
    attention = tower.layers[-2].module.self_attn
    normed = tower.layers[-2].norm(hidden)
    query, key = attention.q_proj(normed), attention.k_proj(normed)
    weights = (query[:, :1] @ key.transpose(1, 2) * key.shape[-1] ** -0.5).softmax(-1)[:, 0, 1:]
    best = weights.topk(5).indices + torch.arange(len(weights))[:, None] * weights.shape[1]
    assert branch.index.tolist() == sorted(best.flatten().tolist())


def recomputed(host: Host, tokens: list[VisualTokens], at: Context, alpha: float, beta: float, steps: int) -> list[int]:
    """Greedy ids of the two prompts run side by side through the whole model, anew for each token."""
    starts = [Prefill(at, part, repack=place > 0) for place, part in enumerate(tokens)]
    ids: list[int] = []
    for _ in range(steps):
        logits = []
        for start in starts:
            words = host.embedding(torch.tensor([ids], dtype=torch.long))
            more = start.next_position + torch.arange(len(ids))
            found = host.model.model.language_model(
                inputs_embeds=torch.cat([start.hidden, words], 1),
                position_ids=torch.cat([start.positions, more[None]], 1),
                use_cache=False,
            )
            logits.append(host.head(found.last_hidden_state[0, -1]))
        p, q = (part.softmax(-1) for part in logits)
        scores = [
            (1 + alpha) * math.log(a) - alpha * math.log(b) if a >= beta * float(p.max()) else -math.inf
            for a, b in zip(p.tolist(), q.tolist(), strict=True)
        ]
        chosen = max(range(len(scores)), key=lambda place: scores[place])
        if chosen in host.stops:
            break
        ids.append(chosen)
    return ids


@torch.inference_mode()
@pytest.mark.parametrize("name", ["llava", "llava_onevision"])
def test_generates_what_two_full_runs_give(name: str, tiny: LoadHost) -> None:
    host = tiny(name)
    method = Damro(k=3, alpha=1.5, beta=0.01)
    at = context(host)
    result = Engine(host).run([Request(at.frames, QUESTION, Compression((method,)), 6, "video")])[0]
    assert isinstance(result, Result)
    tokens = seen(host, method, at)
    branch = method.branch(tokens, at)
    assert branch is not None
    assert len(branch) == 9
    plain = recomputed(host, [tokens, tokens], at, 0.0, 0.0, 6)
    assert list(result.ids) == recomputed(host, [tokens, branch], at, 1.5, 0.01, 6)
    assert list(result.ids) != plain, "the contrast has to show"


def test_with_every_token_an_outlier_nothing_changes(host: Host) -> None:
    frames, engine = make_frames(2), Engine(host)
    plain = engine.look(frames, QUESTION, max_new_tokens=4)
    # Rotary positions of three rows are those of the first prompt; one row is numbered anew, which gives the same here.
    found = engine.look(frames, QUESTION, Compression((Damro(k=10_000),)), max_new_tokens=4)
    assert found.ids == plain.ids


def test_outliers_are_sought_among_what_an_earlier_method_left(tiny: LoadHost) -> None:
    host = tiny("llava")
    result = Engine(host).look(make_frames(2), QUESTION, Compression((RandomKeep(tokens=5), Damro())), max_new_tokens=2)
    assert result.report.layers[-1] == 5


@pytest.mark.parametrize("option", [{"k": 0}, {"alpha": -1.0}, {"alpha": math.nan}, {"beta": 1.5}])
def test_options_out_of_range_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(BadInput) as caught:
        Damro(**option)
    assert caught.value.field == next(iter(option))


def test_single_head_needs_cls(tiny: LoadHost) -> None:
    Damro(heads="single").check(tiny("llava"))
    with pytest.raises(BadInput, match="cls"):
        Damro(heads="single").check(tiny("llava_onevision"))
