"""TransPrune: tokens stay that the decoder's blocks change most and that the question reads."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor

from tools.errors import BadInput
from tools.vlm.host import Host
from tools.vlm.method import Budgeted, Stage
from tools.vlm.prefill import Prefill, SubBlocks
from tools.vlm.primitives.budget import top
from tools.vlm.primitives.probe import null_normalised
from tools.vlm.primitives.schedules import layer_at
from tools.vlm.tokens import VisualTokens


@dataclass(frozen=True, kw_only=True)
class TransPrune(Budgeted):
    """TransPrune, arXiv 2507.20630, section 3: before a few decoder layers, tokens stay by the sum of two scores.

    Transition variation (TTV): how much an attention or MLP block stretches and turns a token,
    ``|out| / |in| * softmax over tokens of (1 - cos(in, out))``, input after its norm, output before the residual;
    added up over both blocks and over the layers since ``start``. Instruction-guided attention (IGA): what the coming
    layer's attention from the text after the pictures gives to a token. Each is divided by its sum over visual tokens.

    Counts are shares of the tokens that enter the decoder. The released code numbers positions anew after each step
    (``positions=repack`` comes closest); here tokens keep theirs.

    Attributes:
        keep: share that is left by the last step (the paper's 0.125).
        before: shares that are left by the steps before it; never fewer than the last.
        layers: where the steps are, as shares of the depth (before layers 7, 9 and 12 of 32, counted from 0). Steps
            that fall on one layer of a shallow decoder become one.
        start: first layer whose transitions count, likewise (6 of 32).
        criterion: ``both`` scores, or one alone; ``ttv`` reads no attention at all.
        over: which tokens the softmax runs over: the whole ``sequence`` as published, which weighs layers by their
            text, or ``visual`` tokens alone, with which the question has no say in TTV up to the first step.
        score: ``published``: IGA as it is; ``null``: divided by what uniform attention would give. The text after the
            pictures sees all of them alike, so the two are the same.
    """

    title: ClassVar[str] = "TransPrune: Token Transition Pruning for Efficient Large Vision-Language Model"
    arxiv: ClassVar[str | None] = "2507.20630"
    number: ClassVar[int | None] = 55
    family: ClassVar[str] = "in-LLM pruning"
    stage: ClassVar[Stage] = "prune"

    keep: float = 0.125
    before: tuple[float, ...] = (0.875, 0.625)
    layers: tuple[float, ...] = (7 / 32, 9 / 32, 12 / 32)
    start: float = 6 / 32
    criterion: Literal["both", "ttv", "iga"] = "both"
    over: Literal["sequence", "visual"] = "sequence"
    score: Literal["published", "null"] = "published"

    def __post_init__(self) -> None:
        if len(self.layers) != len(self.before) + 1 or list(self.layers) != sorted(self.layers):
            raise BadInput(
                f"transprune: {len(self.layers)} layers for {len(self.before) + 1} steps, or not in order",
                remedy="give one increasing share of the depth for each of `before` and one for `keep`",
                field="layers",
            )
        if not 0 <= self.start < self.layers[0]:
            raise BadInput(
                f"transprune: no transition from start={self.start} to the first step at {self.layers[0]:.3g}",
                remedy="start before the first step",
                field="start",
            )
        if not all(0 < share <= 1 for share in self.before) or list(self.before) != sorted(self.before, reverse=True):
            raise BadInput(
                f"transprune: shares {'/'.join(map(str, self.before))} do not fall from step to step",
                remedy="give shares above 0 and at most 1, none above the one before",
                field="before",
            )

    def check(self, host: Host) -> None:
        """Refuses steps outside the decoder, or before there is a transition to see."""
        super().check(host)
        steps = self.prune_layers(host.depth)
        if min(steps) < 1 or max(steps) >= host.depth:
            raise BadInput(
                f"transprune cannot prune before decoder layers {'/'.join(map(str, sorted(steps)))} of {host.depth}",
                remedy=f"give shares of the depth that fall on layers 1 to {host.depth - 1}",
                field="layers",
            )

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        """The paper's, which a shallow decoder shortens, and three steps of four layers with each part's other way."""
        layers = (0.25, 0.5, 0.75)
        return (
            cls(),
            cls(keep=0.3, layers=layers, start=0.0, criterion="ttv", over="visual"),
            cls(keep=0.2, layers=layers, start=0.0, score="null"),
        )

    def prune_layers(self, depth: int) -> Collection[int]:
        """The layers of the steps."""
        return sorted({layer_at(share, depth) for share in self.layers})

    def observe(self, layer: int, parts: SubBlocks, prefill: Prefill) -> None:
        """Adds up what both blocks of a layer did to the visual tokens, by cell, so that it outlives a step."""
        steps = list(self.prune_layers(prefill.host.depth))
        # In a shallow decoder start and first step may round to one layer.
        start = min(layer_at(self.start, prefill.host.depth), steps[0] - 1)
        if self.criterion == "iga" or not start <= layer < steps[-1]:
            return
        tokens, rows, memory = prefill.tokens, prefill.visual, prefill.context.memory(self)
        if "history" not in memory:
            memory["history"] = torch.zeros(tokens.patches, device=rows.device)
        for entered, left in ((parts.attention_in, parts.attention_out), (parts.feed_in, parts.feed_out)):
            variation = _transition(entered[0], left[0], rows, everything=self.over == "sequence")
            memory["history"][tokens.index] += variation

    def prune(self, layer: int, tokens: VisualTokens, prefill: Prefill) -> VisualTokens:
        """Keeps what the last step at this layer leaves."""
        memory = prefill.context.memory(self)
        entered = memory.setdefault("entered", len(tokens))
        due = [place for place, share in enumerate(self.layers) if layer_at(share, prefill.host.depth) == layer]
        kept = self.budget(entered)
        if due[-1] < len(self.before):
            kept = max(kept, int(self.before[due[-1]] * entered + 0.5))
        if kept >= len(tokens):
            return tokens
        scores = torch.zeros(len(tokens), device=prefill.visual.device)
        if self.criterion != "iga":
            scores += _share(memory["history"][tokens.index])
        if self.criterion != "ttv":
            attention = prefill.received(layer, prefill.instruction, prefill.visual)
            if self.score == "null":
                attention = null_normalised(attention, prefill.instruction, prefill.visual)
            scores += _share(attention)
        return tokens.gather(top(scores, kept))


def _transition(entered: Tensor, left: Tensor, rows: Tensor, *, everything: bool) -> Tensor:
    """How much one block changed the tokens ``rows`` of ``[L, D]``, float32 ``[N]``; its softmax runs over all rows or
    over these."""
    if not everything:
        entered, left, rows = entered[rows], left[rows], torch.arange(len(rows), device=rows.device)
    entered, left = entered.float(), left.float()
    before, after = torch.linalg.vector_norm(entered, dim=-1), torch.linalg.vector_norm(left, dim=-1)
    turn = (1 - torch.cosine_similarity(entered, left, dim=-1)).softmax(0)
    stretch: Tensor = after[rows] / before[rows].clamp(min=torch.finfo(torch.float32).tiny)
    return stretch * turn[rows]


def _share(scores: Tensor) -> Tensor:
    """``scores`` divided by their sum."""
    return scores / (scores.sum() + 1e-8)
