"""Recomputed attention equals the rows of the eager model, in decoders and towers; accounting equals counted work."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tests.tools.vlm.conftest import make_frames
from tools.vlm import signals
from tools.vlm.compression import Compression
from tools.vlm.context import Context
from tools.vlm.engine import Engine, Request
from tools.vlm.host import Host
from tools.vlm.method import Method, Stage
from tools.vlm.prefill import Prefill
from tools.vlm.primitives import accounting, probe, saliency
from tools.vlm.signals import Signal
from tools.vlm.tokens import VisualTokens
from tools.vlm.towers import PatchTower

QUESTION = "Where is it?"
law = settings(max_examples=40)


def started(host: Host, count: int = 3) -> Prefill:
    frames = make_frames(count)
    context = Context(host, frames, QUESTION)
    context.enter(frames, host.prepare(frames, QUESTION, "video"))
    return Prefill(context, host.connect(host.encode(context.inputs), context.inputs))


@dataclass(frozen=True, kw_only=True)
class Compare(Method):
    """Before every layer, compares what the probe says of it and of the one before with the eager maps."""

    stage: ClassVar[Stage] = "prune"

    truth: list[Tensor] = field(hash=False)

    def prune_layers(self, depth: int) -> Collection[int]:
        return range(depth)

    def prune(self, layer: int, tokens: VisualTokens, prefill: Prefill) -> VisualTokens:
        every = torch.arange(len(prefill.places))
        queries = torch.cat([prefill.question, prefill.last])
        for at in range(max(0, layer - 1), layer + 1):
            found = prefill.attention_rows(at, queries, every)
            torch.testing.assert_close(found, self.truth[at][:, queries], atol=1e-5, rtol=0)
            received = prefill.received(at, prefill.visual, prefill.visual)
            block = self.truth[at][:, prefill.visual][:, :, prefill.visual]
            torch.testing.assert_close(received, block.mean((0, 1)), atol=1e-5, rtol=0)
        prefill.context.memory(self)["layers"] = layer + 1
        return tokens


@torch.inference_mode()
def test_probe_equals_eager_rows_at_every_layer(host: Host) -> None:
    prefill = started(host)
    raw = host.prepare(prefill.context.frames, QUESTION, "video").raw
    host.model.set_attn_implementation("eager")
    try:
        maps = host.model(**raw, output_attentions=True).attentions
    finally:
        host.model.set_attn_implementation("sdpa")
    compare = Compare(truth=[part[0] for part in maps])
    Prefill(prefill.context, prefill.tokens, [compare]).run()
    assert prefill.context.memory(compare)["layers"] == host.depth


@torch.inference_mode()
def test_only_the_coming_layer_and_the_last_one_can_be_read(host: Host) -> None:
    prefill = started(host)
    with pytest.raises(ValueError, match="can be read"):
        prefill.normed(1)
    with pytest.raises(ValueError, match="can be read"):
        prefill.normed(-1)


@torch.inference_mode()
def test_rows_of_the_parts_of_a_prompt(host: Host) -> None:
    prefill = started(host)
    ids = prefill.prompt.ids[prefill.places]
    assert host.tokenizer.decode(ids[prefill.question]) == QUESTION
    assert int(prefill.last) == len(ids) - 1
    assert int(prefill.instruction[-1]) == len(ids) - 1
    assert int(prefill.instruction[0]) > int(prefill.visual[-1])


@law
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 9), st.integers(0, 999), st.booleans())
def test_rows_are_a_masked_softmax_with_shared_keys(kv: int, share: int, length: int, seed: int, causal: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(kv * share, length, 4, generator=generator)
    key = torch.randn(kv, length, 4, generator=generator)
    places = torch.arange(length)
    found = probe.rows(query, key, 0.5, places, places, causal=causal)
    products = query @ key.repeat_interleave(share, 0).transpose(-1, -2) * 0.5
    if causal:
        products = products.masked_fill(~torch.ones(length, length, dtype=torch.bool).tril(), float("-inf"))
    torch.testing.assert_close(found, products.softmax(-1))
    blocked = probe.received(query, key, 0.5, places, places, causal=causal, block=2)
    torch.testing.assert_close(blocked, found.mean((0, 1)))


def test_a_query_that_sees_no_key_gives_zeros() -> None:
    query, key = torch.randn(2, 1, 4), torch.randn(2, 3, 4)
    found = probe.rows(query, key, 1.0, torch.tensor([1]), torch.tensor([2, 3, 4]))
    assert torch.equal(found, torch.zeros(2, 1, 3))


@law
@given(st.sets(st.integers(0, 30), min_size=1), st.sets(st.integers(0, 30), min_size=1))
def test_uniform_null_is_what_even_attention_gives(queries: set[int], keys: set[int]) -> None:
    query, key = torch.tensor(sorted(queries)), torch.tensor(sorted(keys))
    direct = [sum(1 / (i + 1) for i in queries if i >= j) / len(queries) for j in sorted(keys)]
    torch.testing.assert_close(probe.uniform_null(query, key), torch.tensor(direct))


def test_null_takes_the_advantage_of_early_keys_out() -> None:
    generator = torch.Generator().manual_seed(1)
    length, places = 512, torch.arange(512)
    raw_early, null_early = 0, 0
    for _ in range(5):
        query, key = (torch.randn(4, length, 16, generator=generator) for _ in range(2))
        score = probe.received(query, key, 0.25, places, places)
        raw_early += int((score.topk(64).indices < length // 4).sum())
        null_early += int((probe.null_normalised(score, places, places).topk(64).indices < length // 4).sum())
    assert raw_early > 0.9 * 5 * 64
    assert null_early < 0.5 * 5 * 64


# Towers.


@torch.inference_mode()
def test_signals_of_a_patch_tower_equal_the_eager_maps(host: Host) -> None:
    tower = host.tower
    if not isinstance(tower, PatchTower):
        pytest.skip("a packed tower")
    inputs = host.prepare(make_frames(3), QUESTION, "video")
    tower.module.set_attn_implementation("eager")
    try:
        truth = tower.module(inputs.pixels, output_attentions=True).attentions
    finally:
        tower.module.set_attn_implementation("sdpa")
    start = 1 if tower.has_cls else 0
    for layer in range(tower.depth):
        wanted = [Signal("received", layer), Signal("received", layer, heads="sum")]
        wanted += [Signal("cls", layer)] if tower.has_cls else []
        found = host.encode(inputs, wanted).signals
        maps = truth[layer]
        for signal in wanted:
            kept = maps[:, :, 0, start:] if signal.kind == "cls" else maps.mean(2)[..., start:]
            expected = kept.sum(1) if signal.heads == "sum" else kept.mean(1)
            torch.testing.assert_close(found[signal], expected.flatten(), atol=1e-5, rtol=1e-5)


def test_saliency_takes_cls_where_there_is_one(host: Host) -> None:
    assert signals.saliency(host.signal_kinds).kind == ("cls" if host.tower.has_cls else "received")
    assert signals.saliency(host.signal_kinds, "head") == Signal("head")


@torch.inference_mode()
def test_received_attention_of_a_packed_tower_in_raster_order(host: Host) -> None:
    if isinstance(host.tower, PatchTower):
        pytest.skip("a patch tower")
    inputs = host.prepare(make_frames(3), QUESTION, "video")
    visual = host.model.model.visual
    layer = host.tower.full_layers[-1]  # type: ignore[attr-defined]
    signal = Signal("received")
    found = host.encode(inputs, [signal]).signals[signal]
    maps: list[torch.Tensor] = []
    eager = type(visual.blocks[layer].attn).forward.__globals__["eager_attention_forward"]

    def spy(module: object, *args: object, **kwargs: object) -> object:
        result = eager(module, *args, **kwargs)
        if module is visual.blocks[layer].attn:
            maps.append(result[1][0])
        return result

    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register("spy", spy)
    visual.set_attn_implementation("spy")
    try:
        size = inputs.raw["video_grid_thw"]
        visual(inputs.pixels, grid_thw=size)
    finally:
        visual.set_attn_implementation("sdpa")
    received = torch.cat([part.mean((0, 1)) for part in maps]).view(-1, host.tower.unit).mean(1)  # type: ignore[attr-defined]
    order = torch.arange(len(received))
    if hasattr(visual, "window_size"):
        from transformers.vision_utils import get_vision_window_index

        order, _ = get_vision_window_index(size, visual.spatial_merge_size, visual.window_size, visual.patch_size)
    torch.testing.assert_close(found, received[torch.argsort(order)], atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_pooling_head_row_equals_its_own_weights(host: Host) -> None:
    if "head" not in host.signal_kinds:
        pytest.skip("no pooling head")
    module = host.tower.module  # type: ignore[attr-defined]
    inputs = host.prepare(make_frames(2), QUESTION, "video")
    last = module(inputs.pixels).last_hidden_state
    probe_ = module.head.probe.expand(len(last), -1, -1)
    _, weights = module.head.attention(probe_, last, last, need_weights=True)
    found = host.encode(inputs, [Signal("head")]).signals[Signal("head")]
    torch.testing.assert_close(found, weights[:, 0].flatten(), atol=1e-5, rtol=1e-4)


def test_blocked_received_attention_is_the_dense_mean() -> None:
    generator = torch.Generator().manual_seed(2)
    query, key = (torch.randn(2, 3, 11, 4, generator=generator) for _ in range(2))
    dense = (query @ key.transpose(-1, -2) * 0.5).softmax(-1)
    torch.testing.assert_close(saliency.received(query, key, 0.5, block=4), dense.mean((1, 2)))
    torch.testing.assert_close(saliency.cls_row(query, key, 0.5), dense[:, :, 0].mean(1))
    logits = saliency.cls_row(query, key, 0.5, logits=True)
    torch.testing.assert_close(logits, (query[:, :, :1] @ key.transpose(-1, -2) * 0.5)[:, :, 0].mean(1))


# Accounting.


@torch.inference_mode()
def test_flops_equal_the_counted_matrix_products(host: Host) -> None:
    prefill = started(host)
    length = len(prefill.places)
    with FlopCounterMode(display=False) as counter:
        prefill.run()
    # The counter takes a fused causal kernel for a full one.
    extra = host.depth * (length**2 - accounting.causal_pairs(length)) * host.shape.pair_flops
    assert counter.get_total_flops() == accounting.prefill_flops(host.shape, [length] * host.depth) + extra


@torch.inference_mode()
def test_kv_bytes_equal_the_caches(host: Host) -> None:
    request = Request(make_frames(4), QUESTION, Compression.parse("fastv:keep=0.4,layer=1"), 1, "video")
    engine = Engine(host)
    result = engine.look(request.frames, QUESTION, request.compression, max_new_tokens=1, media="video")
    caches = engine.prefill(request).caches
    held = sum(part.nbytes for cache in caches for part in (cache.keys, cache.values))
    assert result.report.kv_bytes == held
    assert held == accounting.kv_bytes(host.shape, [len(cache) for cache in caches], 4)
    assert result.report.kv_bytes < result.report.kv_bytes_full
    assert result.report.flops < result.report.flops_full
