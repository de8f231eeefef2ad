"""Decoding from caches of unequal length equals a masked full-length run of the same model, token for token."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from tests.tools.vlm.conftest import make_frames
from tools.vlm.cache import LayerCache, RaggedCache
from tools.vlm.compression import Compression
from tools.vlm.context import Context
from tools.vlm.engine import Engine, Request, Result
from tools.vlm.host import Host
from tools.vlm.method import Method, Stage
from tools.vlm.prefill import Prefill, SubBlocks
from tools.vlm.tokens import VisualTokens

QUESTION = "What moves?"


@dataclass(frozen=True, kw_only=True)
class Steps(Method):
    """Keeps every ``keep[layer]``-th token from each of some layers on, and every third cache entry of one layer."""

    stage: ClassVar[Stage] = "prune"

    steps: tuple[tuple[int, int], ...] = ((1, 2), (3, 2))
    evict: int = 2

    def prune_layers(self, depth: int) -> Collection[int]:
        return [layer for layer, _ in self.steps]

    def prune(self, layer: int, tokens: VisualTokens, prefill: Prefill) -> VisualTokens:
        return tokens.gather(torch.arange(0, len(tokens), dict(self.steps)[layer]))

    def cache(self, layer: int, cache: LayerCache, prefill: Prefill) -> LayerCache:
        if layer != self.evict:
            return cache
        visual = torch.isin(cache.places, prefill.places[prefill.visual])
        return cache.gather(~visual | (cache.places % 3 == 0))


@dataclass(frozen=True, kw_only=True)
class Record(Method):
    """Writes down the places that each layer worked on."""

    stage: ClassVar[Stage] = "prune"

    seen: dict[int, Tensor] = field(default_factory=dict)

    def observe(self, layer: int, parts: SubBlocks, prefill: Prefill) -> None:
        self.seen[layer] = prefill.places.clone()


def masked_run(host: Host, request: Request, places: dict[int, Tensor], evicted: Tensor, steps: int) -> list[int]:
    """Greedy ids of a full-length run in eager arithmetic: all tokens go through all layers, and what a layer does not
    have is masked out of its attention. No cache at all: the whole sequence is computed anew for each token."""
    context = Context(host, request.frames, request.question)
    inputs = host.prepare(request.frames, request.question, "video")
    context.enter(request.frames, inputs)
    prompt = inputs.prompt
    tokens = host.connect(host.encode(inputs), inputs)
    start = Prefill(context, tokens)
    generated: list[int] = []
    for _ in range(steps):
        length = len(prompt) + len(generated)
        hidden = start.hidden
        positions = prompt.positions
        if generated:
            words = host.embedding(torch.tensor([generated]))
            hidden = torch.cat([hidden, words], dim=1)
            more = prompt.next_position + torch.arange(len(generated))
            positions = torch.cat([positions, more.expand(host.position_rows, -1)], dim=1)
        rotary = host.rotate(hidden, positions[:, None])
        causal = torch.ones(length, length, dtype=torch.bool).tril()
        for layer, module in enumerate(host.layers):
            there = torch.ones(length, dtype=torch.bool)
            there[: len(prompt)] = False
            there[places[layer]] = True
            mask = causal & there[None]
            if layer == 2:
                # Evicted entries are seen in prefill, but by no generated token.
                mask[len(prompt) :, evicted] = False
            # A token that a layer does not have attends to itself, so that its row is a number; nobody reads it.
            mask |= torch.eye(length, dtype=torch.bool)
            hidden = module(hidden, attention_mask=mask[None, None], position_ids=None, position_embeddings=rotary)
            if layer < len(tokens.extras):
                hidden = hidden.index_add(1, prompt.cells, tokens.extras[layer][None])
        chosen = int(host.logits(hidden[0, -1]).argmax())
        if chosen in host.stops:
            break
        generated.append(chosen)
    return generated


def test_unequal_caches_equal_a_masked_full_length_run(host: Host) -> None:
    record = Record()
    request = Request(make_frames(4), QUESTION, Compression((Steps(), record)), 6, "video")
    engine = Engine(host)
    result = engine.run([request])[0]
    assert isinstance(result, Result)
    prefilled = engine.prefill(request)
    lengths = [len(cache) for cache in prefilled.caches]
    assert len(set(lengths)) == 4, "the test needs four different lengths"
    kept = prefilled.caches[2].places
    evicted = record.seen[2][~torch.isin(record.seen[2], kept)]
    assert len(evicted)
    with torch.inference_mode():
        assert list(result.ids) == masked_run(host, request, dict(record.seen), evicted, 6)


def test_a_cache_that_forgets_the_wrong_entry_is_noticed(host: Host) -> None:
    """The comparison above has teeth: with one more entry evicted the logits differ."""
    request = Request(make_frames(4), QUESTION, Compression((Steps(),)), 2, "video")
    other = Request(make_frames(4), QUESTION, Compression((Steps(evict=1),)), 2, "video")
    engine = Engine(host)
    with torch.inference_mode():
        first, second = (engine.prefill(item) for item in (request, other))
        logits = []
        for start in (first, second):
            cache = RaggedCache([start.caches], 1)
            cache.advance()
            hidden = host.embedding(torch.tensor([[5]]))
            rotary = host.rotate(hidden, torch.full((host.position_rows, 1, 1), start.next_position))
            for layer, module in enumerate(host.layers):
                hidden = module(
                    hidden, attention_mask=cache.mask(layer), past_key_values=cache, position_embeddings=rotary
                )
            logits.append(host.logits(hidden[:, 0]))
    assert float((logits[0] - logits[1]).abs().max()) > 1e-3


def test_ragged_rows_equal_single_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = [[5, 2], [3, 3], [1, 4]]

    def entry(length: int) -> LayerCache:
        keys, values = (torch.randn(1, 2, length, 4, generator=generator) for _ in range(2))
        return LayerCache(keys, values, torch.arange(length))

    rows = [[entry(length) for length in row] for row in lengths]
    ragged = RaggedCache(rows, room=2)
    singles = [RaggedCache([row], room=2) for row in rows]
    query = torch.randn(3, 2, 1, 4, generator=generator)
    for step in range(2):
        fresh = torch.randn(2, 3, 2, 1, 4, generator=generator)
        if step == 1:
            ragged.keep(torch.tensor([0, 2]))
            singles, query, fresh = [singles[0], singles[2]], query[[0, 2]], fresh[:, [0, 2]]
        for cache in (ragged, *singles):
            cache.advance()
        for layer in range(2):
            keys, values = ragged.update(fresh[0], fresh[1], layer)
            mixed = torch.nn.functional.scaled_dot_product_attention(query, keys, values, ragged.mask(layer))
            for row, single in enumerate(singles):
                assert single.mask(layer) is None
                own = single.update(fresh[0, row : row + 1], fresh[1, row : row + 1], layer)
                alone = torch.nn.functional.scaled_dot_product_attention(query[row : row + 1], *own)
                torch.testing.assert_close(mixed[row : row + 1], alone)


@pytest.mark.parametrize("limit", [1, 3])
def test_generation_stops_at_its_limit_and_at_the_end_token(host: Host, limit: int) -> None:
    request = Request(make_frames(2), QUESTION, max_new_tokens=limit)
    result = Engine(host).run([request])[0]
    assert isinstance(result, Result)
    assert len(result.ids) <= limit
    assert not set(result.ids) & host.stops


def test_the_end_token_ends_the_answer(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(host)
    free = engine.look(make_frames(2), QUESTION, max_new_tokens=6)
    assert len(free.ids) == 6
    monkeypatch.setattr(host, "stops", frozenset({free.ids[3]}))
    stopped = engine.look(make_frames(2), QUESTION, max_new_tokens=6)
    assert stopped.ids == free.ids[: list(free.ids).index(free.ids[3])]


@dataclass(frozen=True, kw_only=True)
class Contrast(Method):
    """Subtracts what the model says when it sees only two tokens."""

    stage: ClassVar[Stage] = "decode"

    weight: float = 0.0

    def branch(self, tokens: VisualTokens, context: Context) -> VisualTokens | None:
        return tokens.gather(torch.tensor([0, len(tokens) - 1]))

    def decode(self, logits: Tensor, branch: Tensor | None, context: Context) -> Tensor:
        assert branch is not None
        context.memory(self).setdefault("gaps", []).append(float((logits - branch).abs().max()))
        return (1 + self.weight) * logits - self.weight * branch


def test_a_second_branch_decodes_alongside(host: Host) -> None:
    engine = Engine(host)
    frames = [make_frames(3), make_frames(2, seed=5)]
    plain = [engine.look(item, QUESTION, max_new_tokens=5) for item in frames]
    with_branch = engine.run([Request(item, QUESTION, Compression((Contrast(),)), 5) for item in frames])
    strong = engine.run([Request(item, QUESTION, Compression((Contrast(weight=3.0),)), 5) for item in frames])
    for one, other, third in zip(plain, with_branch, strong, strict=True):
        assert isinstance(other, Result)
        assert isinstance(third, Result)
        assert one.ids == other.ids
        assert one.ids != third.ids
