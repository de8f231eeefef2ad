"""G-Search and P-Sigmoid: every decoder layer has its own share of tokens, searched for once or drawn as a curve."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from math import ceil
from typing import ClassVar, Literal, Self

from tools.errors import BadInput
from tools.vlm.host import Host
from tools.vlm.method import Budgeted, Stage
from tools.vlm.prefill import Prefill
from tools.vlm.primitives.budget import top
from tools.vlm.primitives.probe import null_normalised
from tools.vlm.primitives.schedules import p_sigmoid
from tools.vlm.tokens import VisualTokens


@dataclass(frozen=True, kw_only=True)
class PSigmoid(Budgeted):
    """G-Search and P-Sigmoid, arXiv 2412.00556, section 3: layer l works on the share of tokens that its schedule says,
    those to which the last token attended most in layer l - 1.

    The schedule is either given, found by `tools.vlm.primitives.schedules.g_search` on measurements of the model
    (`tools.vlm.tuning`), or a falling sigmoid over the layers whose mean is the budget. The first layer always works on
    all tokens, for there is no layer before it to rank them by; the curve's mean includes it. Counts are rounded up.
    Whether rankings agree from layer to layer, which the paper builds on, `tools.vlm.tuning.rank_stability` measures.
    The paper is not explicit on which text attends; we take the last token, as FastV does.

    The budget, ``keep`` or ``tokens``, is the mean over layers, not what is left at the end.

    Attributes:
        steepness: of the sigmoid, per layer (k in the paper); high values make a step. Best is
            `tools.vlm.primitives.schedules.best_steepness` of the model.
        schedule: share of tokens for every decoder layer, never rising, the first 1, in place of curve and budget.
        score: ``published``: the attention row as it is; ``null``: divided by what uniform attention would give. One
            query sees all keys alike, so the two rank tokens in the same order.
    """

    title: ClassVar[str] = "Accelerating Multimodal Large Language Models by Searching Optimal Vision Token Reduction"
    arxiv: ClassVar[str | None] = "2412.00556"
    number: ClassVar[int | None] = 28
    family: ClassVar[str] = "in-LLM pruning"
    stage: ClassVar[Stage] = "prune"

    keep: float = 0.5
    steepness: float = 0.5
    schedule: tuple[float, ...] | None = None
    score: Literal["published", "null"] = "published"

    def __post_init__(self) -> None:
        if self.steepness <= 0:
            raise BadInput("psigmoid: the steepness must be above 0", remedy="try 0.5", field="steepness")
        shares = list(self.schedule or [1.0])
        if shares != sorted(shares, reverse=True) or shares[0] != 1 or shares[-1] < 0:
            raise BadInput(
                "psigmoid: a schedule is 1 for the first layer and falls from there, to 0 at least",
                remedy="give one share a decoder layer, such as 1/1/0.5/0.25",
                field="schedule",
            )

    def check(self, host: Host) -> None:
        """Refuses a schedule for a decoder of another depth, and a mean that one whole layer exceeds."""
        super().check(host)
        if self.schedule and len(self.schedule) != host.depth:
            raise BadInput(
                f"psigmoid: a schedule of {len(self.schedule)} layers does not fit a decoder of {host.depth}",
                remedy="give one share a decoder layer",
                field="schedule",
            )
        if not self.schedule and self.tokens is None and 0 < self.keep < 1 / host.depth:
            raise BadInput(
                f"psigmoid: the first of {host.depth} layers works on all tokens, so their mean is no less than "
                f"{1 / host.depth:.4f}",
                remedy=f"use keep={1 / host.depth:.4f} or more",
                field="keep",
            )

    def count(self, tokens: int) -> int | None:
        """What the last layer of a given schedule works on; a curve's depends on the depth of the decoder."""
        mean = self.budget(tokens)
        if self.schedule:
            return _ceil(self.schedule[-1] * tokens)
        return tokens if mean == tokens else None

    def with_budget(self, *, keep: float | None = None, tokens: int | None = None) -> Self:
        """The curve with another budget; a given schedule gives way to it."""
        return replace(super().with_budget(keep=keep, tokens=tokens), schedule=None)

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        """A gentle and a steep curve, and a given schedule for the four layers of the smallest hosts."""
        return (cls(), cls(keep=0.4, steepness=3.0, score="null"), cls(schedule=(1.0, 0.6, 0.6, 0.2)))

    def prune_layers(self, depth: int) -> Collection[int]:
        """Every layer but the first."""
        return range(1, depth)

    def prune(self, layer: int, tokens: VisualTokens, prefill: Prefill) -> VisualTokens:
        """Goes down to the layer's share."""
        memory = prefill.context.memory(self)
        if "counts" not in memory:
            memory["counts"] = self.counts(len(tokens), prefill.host.depth)
        kept = memory["counts"][layer]
        if kept >= len(tokens):
            return tokens
        scores = prefill.received(layer - 1, prefill.last, prefill.visual)
        if self.score == "null":
            scores = null_normalised(scores, prefill.last, prefill.visual)
        return tokens.gather(top(scores, kept))

    def counts(self, tokens: int, depth: int) -> list[int]:
        """How many of ``tokens`` each layer works on."""
        if self.schedule:
            shares = list(self.schedule)
        else:
            # A count of tokens may ask for less than one whole layer; the curve then has the first layer alone.
            mean = max(self.budget(tokens) / tokens if self.tokens is not None else self.keep, 1 / depth)
            shares = p_sigmoid(depth, mean, self.steepness, whole=1)
        return [_ceil(share * tokens) for share in shares]


def _ceil(value: float) -> int:
    """Rounded up, but for what floating point added."""
    return ceil(value - 1e-9)
