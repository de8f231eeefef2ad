"""Measurements that a search for a compression's settings needs: what a setting costs on a real model.

The yardstick is the model itself without compression, so no labels are needed: the reference is computed once, and
every setting is compared with it on the same requests.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from tools.vlm.compression import Compression
from tools.vlm.engine import Engine, Request
from tools.vlm.method import Method, Stage
from tools.vlm.prefill import Prefill
from tools.vlm.tokens import VisualTokens


def divergence(
    engine: Engine, requests: Sequence[Request], compression: Callable[[Sequence[float]], Compression]
) -> Callable[[Sequence[float]], float]:
    """A loss for the searches of `tools.vlm.primitives.schedules`.

    Args:
        requests: whose frames and questions to measure on.
        compression: the methods for a schedule, e.g. ``lambda s: Compression((PSigmoid(schedule=tuple(s)),))``.

    Returns:
        The loss of a schedule: Kullback-Leibler divergence, in nats, of the first token's distribution from that of the
        uncompressed model, mean over requests. Zero for a schedule that keeps everything.
    """
    whole = [_first(engine, replace(request, compression=Compression.NONE)) for request in requests]

    def loss(schedule: Sequence[float]) -> float:
        methods = compression(schedule)
        parts = [
            float((truth.exp() * (truth - _first(engine, replace(request, compression=methods)))).sum())
            for request, truth in zip(requests, whole, strict=True)
        ]
        return max(0.0, sum(parts) / len(parts))

    return loss


def rank_stability(engine: Engine, request: Request) -> list[float]:
    """How far each decoder layer ranks visual tokens as the layer before it does, by the last token's attention:
    Spearman correlation, one value a layer from the second on, without the last layer, whose ranking nobody uses.
    G-Search assumes that it is high."""
    ranks = _Ranks()
    engine.prefill(replace(request, compression=Compression((ranks,))))
    return [float(torch.corrcoef(torch.stack(pair))[0, 1]) for pair in pairwise(ranks.seen)]


@dataclass(frozen=True, kw_only=True)
class _Ranks(Method):
    """Notes how each layer ranks the visual tokens."""

    stage: ClassVar[Stage] = "prune"

    seen: list[Tensor] = field(default_factory=list, compare=False)

    def prune_layers(self, depth: int) -> Collection[int]:
        return range(1, depth)

    def prune(self, layer: int, tokens: VisualTokens, prefill: Prefill) -> VisualTokens:
        scores = prefill.received(layer - 1, prefill.last, prefill.visual)
        self.seen.append(torch.argsort(torch.argsort(scores, stable=True)).double())
        return tokens


def _first(engine: Engine, request: Request) -> Tensor:
    return engine.prefill(request).logits.double().log_softmax(-1)
