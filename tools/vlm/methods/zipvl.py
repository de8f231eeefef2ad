"""ZipVL: each layer's attention runs on as many tokens as hold most of its mass, and remembers the others coarsely."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from tools.errors import BadInput
from tools.vlm.cache import LayerCache
from tools.vlm.method import Method, Stage
from tools.vlm.prefill import Prefill
from tools.vlm.primitives.budget import cumulative_mass, top
from tools.vlm.primitives.probe import null_normalised
from tools.vlm.primitives.quantisation import quantised_keys, quantised_values


@dataclass(frozen=True, kw_only=True)
class ZipVL(Method):
    """ZipVL, arXiv 2410.08584: how many tokens matter is decided layer by layer, from the layer's own attention.

    A few probe queries give the attention mass of every token. The smallest number of tokens whose masses reach ``tau``
    of the whole is the layer's p, and the p tokens with the highest normalised mass are its important ones, text
    included. Only they attend and are attended in prefill; the others go through the layer by residual and MLP alone
    and may be important again in the next. The prompt's end is always important: without it no answer starts.

    Attributes:
        tau: share of the attention mass that the important tokens hold, above 0 and at most 1, which keeps all.
        kv: what is kept to decode with. ``mixed``, of the paper's first version: all tokens, important ones in
            ``bits[0]`` and the rest in ``bits[1]`` bits; ``evict``, of its second: the important ones alone; ``full``:
            all as they are. ``mixed`` shows what few bits do to the answer: the numbers are held in the model's dtype,
            so that of the three only ``evict`` takes less memory. Generated tokens stay as they are, where the paper
            compresses anew after every 100.
        bits: of important tokens and of the rest, 1 to 8.
        recent, random: probe queries, the last ones of the prompt and others drawn among the rest.
        seed: of the draw, which is another one in each layer.
        score: what ranks tokens. ``published``, the default because it is the paper's: mass over the number of probes
            that see the token, which on random queries and keys still favours the beginning of the prompt; ``null``:
            mass over what even attention of the probes would give, which is nearly level.
    """

    title: ClassVar[str] = (
        "ZipVL: Efficient Large Vision-Language Models with Dynamic Token Sparsification and KV Cache Compression"
    )
    arxiv: ClassVar[str | None] = "2410.08584"
    number: ClassVar[int | None] = 65
    family: ClassVar[str] = "sparse attention and cache"
    stage: ClassVar[Stage] = "cache"
    #: It fills the cache itself, so that what another method evicted before would come back.
    conflicts: ClassVar[frozenset[Stage]] = frozenset({"cache"})

    tau: float = 0.975
    kv: Literal["mixed", "evict", "full"] = "mixed"
    bits: tuple[int, int] = (4, 2)
    recent: int = 64
    random: int = 64
    seed: int = 0
    score: Literal["published", "null"] = "published"

    def __post_init__(self) -> None:
        if not 0 < self.tau <= 1:
            raise BadInput(f"tau={self.tau} is no share", remedy="use a share above 0 and at most 1", field="tau")
        if not all(1 <= bits <= 8 for bits in self.bits):
            raise BadInput(f"bits={self.bits} cannot be stored", remedy="use 1 to 8 bits", field="bits")
        if self.recent < 1:
            raise BadInput("the end of the prompt must be among the probes", remedy="use recent=1", field="recent")
        if self.random < 0:
            raise BadInput(f"{self.random} queries cannot be drawn", remedy="use random=0", field="random")

    def attend(self, layer: int, normed: Tensor, prefill: Prefill) -> Tensor | None:
        """Attention among the layer's important tokens, zero for the others."""
        rows = self._important(layer, prefill)
        prefill.context.memory(self)["rows"] = rows
        if len(rows) == normed.shape[1]:
            return None
        return torch.zeros_like(normed).index_copy(1, rows, prefill.attention(layer, normed, rows=rows))

    def cache(self, layer: int, cache: LayerCache, prefill: Prefill) -> LayerCache:
        """The keys and values of the important tokens, with those of the rest unless they are evicted."""
        if self.kv == "evict":
            return cache
        rows = prefill.context.memory(self)["rows"]
        rest = torch.ones(len(prefill.places), dtype=torch.bool, device=rows.device)
        rest[rows] = False
        others = torch.nonzero(rest)[:, 0]
        keys = [cache.keys, prefill.keys(layer, others)[None]]
        values = [cache.values, prefill.values(layer, others)[None]]
        if self.kv == "mixed":
            keys = [quantised_keys(part, bits) for part, bits in zip(keys, self.bits, strict=True)]
            values = [quantised_values(part, bits) for part, bits in zip(values, self.bits, strict=True)]
        places, order = torch.sort(torch.cat([cache.places, prefill.places[others]]))
        return LayerCache(torch.cat(keys, 2)[:, :, order], torch.cat(values, 2)[:, :, order], places)

    def _important(self, layer: int, prefill: Prefill) -> Tensor:
        """int64, increasing: the rows that attend in this layer."""
        every = torch.arange(len(prefill.places), device=prefill.places.device)
        if self.tau == 1:
            return every
        probes = self._probes(layer, prefill)
        mass = prefill.received(layer, probes, every)
        forced = torch.zeros_like(every, dtype=torch.bool)
        forced[torch.cat([prefill.instruction, prefill.last])] = True
        ranked = normalised(mass, probes, every, self.score).masked_fill(forced, float("inf"))
        return top(ranked, max(cumulative_mass(mass, self.tau), int(forced.sum())))

    def _probes(self, layer: int, prefill: Prefill) -> Tensor:
        """int64, increasing: the last rows and some drawn among those before."""
        length = len(prefill.places)
        before = max(0, length - self.recent)
        drawn = torch.randperm(before, generator=prefill.context.random(self.seed + layer))[: self.random]
        return torch.cat([drawn.sort().values, torch.arange(before, length)]).to(prefill.places.device)

    @classmethod
    def identity(cls) -> "ZipVL":
        """All tokens important, and remembered as they are."""
        return cls(tau=1.0, kv="full")

    @classmethod
    def examples(cls) -> tuple["ZipVL", ...]:
        """The published setting, and a stricter one that evicts."""
        return (cls(), cls(tau=0.8, kv="evict", score="null", recent=4, random=8))


def normalised(mass: Tensor, probes: Tensor, keys: Tensor, score: Literal["published", "null"]) -> Tensor:
    """Attention mass ``[K]`` of the rows ``keys`` from the rows ``probes`` without the advantage of early keys."""
    if score == "null":
        return null_normalised(mass, probes, keys)
    seeing = len(probes) - torch.searchsorted(probes, keys)
    return mass / seeing.clamp(min=1)
