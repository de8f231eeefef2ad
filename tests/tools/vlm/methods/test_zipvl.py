"""ZipVL: important tokens by a slow reading of the paper, attention among them alone, and what few bits remember."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from tests.tools.vlm.conftest import make_frames
from tools.errors import BadInput
from tools.vlm.compression import Compression
from tools.vlm.engine import Engine, Request
from tools.vlm.host import Host
from tools.vlm.method import Method, Stage
from tools.vlm.methods.fastv import FastV
from tools.vlm.methods.zipvl import ZipVL, normalised
from tools.vlm.prefill import Prefill, Prefilled, SubBlocks
from tools.vlm.primitives import probe
from tools.vlm.primitives.budget import cumulative_mass
from tools.vlm.primitives.quantisation import quantised_keys, quantised_values

QUESTION = "What is behind the speaker?"


@dataclass(frozen=True, kw_only=True)
class Slow(Method):
    """Does every layer again with dense attention and loops, and compares."""

    stage: ClassVar[Stage] = "prune"

    method: ZipVL
    important: list[list[int]] = field(default_factory=list, hash=False)
    dense: list[tuple[Tensor, Tensor]] = field(default_factory=list, hash=False)

    def observe(self, layer: int, parts: SubBlocks, prefill: Prefill) -> None:
        module, normed, length = prefill.host.layers[layer], parts.attention_in, len(prefill.places)
        rows = torch.arange(length)
        query, key = probe.queries(module, normed, prefill.rotary, rows), probe.keys(module, normed, prefill.rotary)
        value = probe.values(module, normed)
        self.dense.append((key, value))
        share = len(query) // len(key)
        products = query @ key.repeat_interleave(share, 0).transpose(1, 2) * module.self_attn.scaling
        causal = torch.ones(length, length, dtype=torch.bool).tril()
        chosen = self._important(products.masked_fill(~causal, -torch.inf).softmax(-1), layer, prefill)
        # Among the important alone; everyone else gets nothing.
        hidden = torch.ones(length, length, dtype=torch.bool)
        for i in chosen:
            for j in chosen:
                hidden[i, j] = j > i
        weights = products.masked_fill(hidden, -torch.inf).softmax(-1).nan_to_num(0.0)
        mixed = (weights @ value.repeat_interleave(share, 0)).transpose(0, 1).flatten(1)
        expected = torch.zeros(length, normed.shape[-1])
        expected[chosen] = module.self_attn.o_proj(mixed[chosen])
        torch.testing.assert_close(parts.attention_out[0], expected, atol=1e-4, rtol=1e-4)
        self.important.append(chosen)

    def _important(self, weights: Tensor, layer: int, prefill: Prefill) -> list[int]:
        method, length = self.method, weights.shape[-1]
        before = max(0, length - method.recent)
        drawn = torch.randperm(before, generator=torch.Generator().manual_seed(method.seed + layer))[: method.random]
        probes = sorted(drawn.tolist()) + list(range(before, length))
        mean = weights.mean(0)
        mass = [sum(float(mean[i, j]) for i in probes) for j in range(length)]
        count, held = 0, 0.0
        for value in sorted(mass, reverse=True):
            if held >= method.tau * sum(mass) * (1 - 1e-6):
                break
            held, count = held + value, count + 1
        if method.score == "published":
            even = [sum(i >= j for i in probes) for j in range(length)]
        else:
            even = [sum(1 / (i + 1) for i in probes if i >= j) for j in range(length)]
        end = {*prefill.instruction.tolist(), length - 1}
        order = sorted(range(length), key=lambda j: (j not in end, -mass[j] / even[j], j))
        return sorted(order[: max(count, len(end))])


def run(host: Host, method: ZipVL, *more: Method) -> tuple[Prefilled, Slow]:
    slow = Slow(method=method)
    request = Request(make_frames(3), QUESTION, Compression((method, *more, slow)), 2, "video")
    return Engine(host).prefill(request), slow


@pytest.mark.parametrize(
    "method",
    [
        ZipVL(tau=0.9, recent=6, random=9, kv="full"),
        ZipVL(tau=0.8, recent=5, random=5, score="null", kv="evict", seed=3),
    ],
)
def test_each_layer_is_dense_attention_among_its_important_tokens(method: ZipVL, host: Host) -> None:
    prefilled, slow = run(host, method, FastV(layer=2, keep=0.6))
    counts = [len(chosen) for chosen in slow.important]
    assert len(set(counts)) > 1, "the content decides, layer by layer"
    for chosen, length, pairs in zip(counts, prefilled.lengths, prefilled.pairs, strict=True):
        assert chosen < length
        assert pairs == chosen * (chosen + 1) // 2
    for cache, chosen, (key, value) in zip(prefilled.caches, slow.important, slow.dense, strict=True):
        rows = torch.tensor(chosen) if method.kv == "evict" else torch.arange(key.shape[1])
        torch.testing.assert_close(cache.keys[0], key[:, rows], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(cache.values[0], value[:, rows], atol=1e-5, rtol=1e-5)
        assert bool((cache.places[1:] > cache.places[:-1]).all())


def test_mixed_bits_are_those_of_each_group(host: Host) -> None:
    method = ZipVL(tau=0.9, recent=6, random=9)
    prefilled, slow = run(host, method)
    for cache, chosen, (key, value) in zip(prefilled.caches, slow.important, slow.dense, strict=True):
        important = torch.zeros(key.shape[1], dtype=torch.bool)
        important[chosen] = True
        for group, bits in ((important, 4), (~important, 2)):
            torch.testing.assert_close(cache.keys[0][:, group], quantised_keys(key[:, group], bits))
            torch.testing.assert_close(cache.values[0][:, group], quantised_values(value[:, group], bits))
            # No more levels than the bits can name.
            channels = cache.keys[0][:, group].transpose(1, 2).flatten(0, 1)
            assert all(len(channel.unique()) <= 2**bits for channel in channels)


def test_counts_named_by_the_mass() -> None:
    assert cumulative_mass(torch.ones(1000), 0.975) == 975
    assert cumulative_mass(1 / torch.arange(1, 1001, dtype=torch.float64) ** 2, 0.975) == 24


def test_more_mass_takes_more_tokens(host: Host) -> None:
    counts = [run(host, ZipVL(tau=tau, recent=6, random=9))[1].important for tau in (0.5, 0.8, 0.95)]
    # Later layers read what earlier ones made of the tokens; the first reads the same.
    first = [len(chosen[0]) for chosen in counts]
    assert first == sorted(set(first))


def test_ranking_by_position_alone() -> None:
    """On random queries and keys the published score still likes the beginning; over the null all quarters share."""
    generator = torch.Generator().manual_seed(0)
    length, heads, quarters = 1024, 8, {"published": torch.zeros(4), "null": torch.zeros(4)}
    rows = torch.arange(length)
    for _ in range(4):
        query, key = (torch.randn(heads, length, 16, generator=generator) for _ in range(2))
        before = length - 64
        drawn = torch.randperm(before, generator=generator)[:64].sort().values
        probes = torch.cat([drawn, torch.arange(before, length)])
        mass = probe.received(query[:, probes], key, 0.5, probes, rows)
        for score, share in quarters.items():
            best = normalised(mass, probes, rows, score).topk(128).indices  # type: ignore[arg-type]
            share += torch.bincount(best // (length // 4), minlength=4) / (4 * 128)
    assert quarters["published"][0] > 0.6
    assert quarters["null"].max() < 0.5
    assert quarters["null"].min() > 0.1


@pytest.mark.parametrize(
    "option", [{"tau": 0.0}, {"tau": 1.1}, {"bits": (4, 0)}, {"bits": (9, 2)}, {"recent": 0}, {"random": -1}]
)
def test_options_out_of_range_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(BadInput) as caught:
        ZipVL(**option)
    assert caught.value.field == next(iter(option))


def test_options_are_written_as_they_are_read() -> None:
    for method in ZipVL.examples():
        assert Compression.parse(str(method)).methods == (method,)
