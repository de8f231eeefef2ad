"""AIM: similar neighbours merge before the decoder, and a ramp of layers inside it lets go of the rest."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor

from tools.errors import BadInput
from tools.vlm.context import Context
from tools.vlm.host import Host
from tools.vlm.method import Budgeted, Stage
from tools.vlm.prefill import Prefill
from tools.vlm.primitives import probe
from tools.vlm.primitives.budget import spread, top
from tools.vlm.primitives.matching import merge_count
from tools.vlm.primitives.pagerank import even_pagerank, pagerank
from tools.vlm.primitives.schedules import layer_at
from tools.vlm.tokens import VisualTokens


@dataclass(frozen=True, kw_only=True)
class AIM(Budgeted):
    """AIM, arXiv 2412.03248, sections 3.2 (merging) and 3.3 (pruning).

    Merging: within each picture, bipartite matching pairs off the most similar tokens, round after round, until the
    budget is met; a pair becomes its plain mean. Pruning: from layer ``first`` of the decoder on, the number of visual
    tokens falls in equal steps to none at layer ``stop``; the ones with the highest PageRank over the layer's attention
    stay. Text always stays.

    The paper's budget of 25 % is two rounds of one half; other budgets end with a round of just as many pairs as are
    still to go. The released code hides tokens behind a mask, and so computes as much as before; here they are gone.
    ``keep`` and ``tokens`` are those of the merging; which tokens enter the decoder, not what the ramp leaves of them.

    Attributes:
        first: first decoder layer with fewer tokens, as a share of the depth (layer 14 of 28; the paper's 32-layer
            decoder begins at 13, a share of 0.41). 1 with ``stop=1`` switches pruning off.
        stop: first decoder layer without visual tokens, likewise (21 of 28); 1 for none.
        temperature: of the softmax over the attention products.
        steps: of the walk.
        score: ``published``: PageRank as it is, the default since it is the paper's; ``null``: divided by the PageRank
            of even attention, without which a causal walk drifts to early tokens whatever they show.
    """

    title: ClassVar[str] = "AIM: Adaptive Inference of Multi-Modal LLMs via Token Merging and Pruning"
    arxiv: ClassVar[str | None] = "2412.03248"
    number: ClassVar[int | None] = 12
    family: ClassVar[str] = "pre-LLM merging and in-LLM pruning"
    stage: ClassVar[Stage] = "merge"

    first: float = 0.5
    stop: float = 0.75
    temperature: float = 0.1
    steps: int = 5
    score: Literal["published", "null"] = "published"

    def __post_init__(self) -> None:
        if not 0 < self.first <= self.stop <= 1:
            raise BadInput(
                f"aim: a ramp from {self.first} to {self.stop} of the depth is none",
                remedy="give shares with 0 < first <= stop <= 1",
                field="first",
            )
        if self.temperature <= 0:
            raise BadInput("aim: the temperature must be above 0", remedy="the paper's is 0.1", field="temperature")
        if self.steps < 1:
            raise BadInput("aim: the walk needs a step", remedy="the paper's has 5", field="steps")

    def check(self, host: Host) -> None:
        """Refuses a ramp that starts before the first layer has run."""
        super().check(host)
        if layer_at(self.first, host.depth) < 1:
            raise BadInput(
                f"aim cannot prune before decoder layer 0 of {host.depth}",
                remedy=f"use first={1 / host.depth:.3g} or more",
                field="first",
            )

    def count(self, tokens: int) -> int | None:
        """None are left where the ramp comes to its end; without a ramp what merging leaves."""
        merged = self.budget(tokens)
        if self.stop < 1:
            return 0
        return merged if self.first == 1 else None

    @classmethod
    def identity(cls) -> Self | None:
        """Nothing merged, no ramp."""
        return cls(keep=1.0, first=1.0, stop=1.0)

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        """Both parts, each alone, and a budget between two rounds."""
        return (
            cls(),
            cls(keep=0.4, first=1.0, stop=1.0),
            cls(keep=1.0, first=0.25, stop=1.0, score="null"),
            cls(keep=0.3),
        )

    def merge(self, tokens: VisualTokens, context: Context) -> VisualTokens:
        """Merges within every picture."""
        pictures = [index for _, index in tokens.by_grid()]
        # With less than a token a picture, some go without.
        quotas = spread(self.budget(len(tokens)), [len(index) for index in pictures])
        assign = torch.full((len(tokens),), -1, device=tokens.features.device)
        weights = torch.ones_like(tokens.mass)
        for index, quota in zip(pictures, quotas, strict=True):
            if quota:
                target, weights[index] = _rounds(tokens.features[index].float(), quota)
                assign[index] = index[target]
        return tokens.merge(assign, weights=weights)

    def rate(self, layer: int, depth: int) -> float:
        """Share of the merged tokens that decoder layer ``layer`` works on."""
        first, stop = layer_at(self.first, depth), layer_at(self.stop, depth)
        if self.stop < 1:
            stop = min(stop, depth - 1)
        return min(1.0, max(0.0, (stop - layer) / (stop - first + 1)))

    def prune_layers(self, depth: int) -> Collection[int]:
        """The layers of the ramp."""
        stop = layer_at(self.stop, depth) + 1
        return [layer for layer in range(depth) if self.rate(layer, depth) < 1 and layer < stop]

    def prune(self, layer: int, tokens: VisualTokens, prefill: Prefill) -> VisualTokens:
        """Takes the next step of the ramp."""
        merged = prefill.context.memory(self).setdefault("merged", len(tokens))
        kept = int(self.rate(layer, prefill.host.depth) * merged + 0.5)
        if kept >= len(tokens):
            return tokens
        if kept == 0:
            return tokens.gather(torch.zeros(len(tokens), dtype=torch.bool, device=tokens.features.device))
        module, normed = prefill.host.layers[layer], prefill.normed(layer)
        rows = torch.arange(len(prefill.places), device=prefill.places.device)
        query = probe.queries(module, normed, prefill.rotary, rows)
        key = probe.keys(module, normed, prefill.rotary)
        walk = pagerank(query, key, float(module.self_attn.scaling) / self.temperature, self.steps)
        # Root mean square over heads; late tokens of long prompts have squares below what float32 holds.
        scores = walk.double().square().mean(0).sqrt()
        if self.score == "null":
            scores = scores / even_pagerank(len(rows), self.steps, rows.device)
        return tokens.gather(top(scores[prefill.visual], kept))


def _rounds(rows: Tensor, kept: int) -> tuple[Tensor, Tensor]:
    """Merges ``rows [n, D]`` pair by pair down to ``kept``, half of them at most in a round.

    Returns:
        int64 ``[n]``, the row that each goes to, and ``[n]``, its weight in the mean of means that the group becomes.
    """
    alive = group = torch.arange(len(rows), device=rows.device)
    weights = torch.ones(len(rows), device=rows.device)
    while len(alive) > kept:
        goes = merge_count(rows, min(len(alive) // 2, len(alive) - kept))
        sizes = torch.bincount(goes, minlength=len(alive))
        stays = sizes > 0
        weights = weights / sizes[goes[group]]
        group = (torch.cumsum(stays, 0) - 1)[goes[group]]
        rows = (torch.zeros_like(rows).index_add_(0, goes, rows) / sizes[:, None])[stays]
        alive = alive[stays]
    return alive[group], weights
