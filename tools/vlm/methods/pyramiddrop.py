"""PyramidDrop: visual tokens are dropped in stages, ever more with the depth of the decoder."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from tools.vlm.host import Host
from tools.vlm.method import Budgeted, Stage
from tools.vlm.prefill import Prefill
from tools.vlm.primitives.budget import top
from tools.vlm.primitives.probe import null_normalised
from tools.vlm.primitives.schedules import stage_layers
from tools.vlm.tokens import VisualTokens


@dataclass(frozen=True, kw_only=True)
class PyramidDrop(Budgeted):
    """PyramidDrop, arXiv 2410.17247, section 3: before each of a few decoder layers, evenly placed, it keeps the tokens
    to which the last token of the instruction attends most (mean over heads) in that coming layer; the rest is dropped
    for all later layers. Every stage leaves the same share of the one before.

    Tokens keep their rotary positions, where the released code numbers them anew after each stage. Counts of the stages
    are rounded half up, the released code's down.

    Attributes:
        keep: share of the visual tokens left after the last stage; by default an eighth, half at each
            of three stages, as in the paper.
        tokens: number of visual tokens left after the last stage.
        layers: the decoder layers before which it drops, as shares of the depth; the paper's 8, 16 and 24 of 32.
        query: whose attention counts: that of the ``last`` token, the paper's, which may belong to the chat template;
            or the mean over the ``question``'s own tokens.
        score: ``published``: the attention as it is; ``null``: divided by what uniform attention would give. All
            queries stand behind all visual tokens and see them alike, so the two rank tokens in the same order.
    """

    title: ClassVar[str] = (
        "PyramidDrop: Accelerating Your Large Vision-Language Models via Pyramid Visual Redundancy Reduction"
    )
    arxiv: ClassVar[str | None] = "2410.17247"
    number: ClassVar[int | None] = 46
    family: ClassVar[str] = "in-LLM pruning"
    stage: ClassVar[Stage] = "prune"

    keep: float = 0.125
    layers: tuple[float, ...] = (0.25, 0.5, 0.75)
    query: Literal["last", "question"] = "last"
    score: Literal["published", "null"] = "published"

    def check(self, host: Host) -> None:
        """Refuses layers that the decoder does not have."""
        super().check(host)
        stage_layers(self.layers, host.depth, self.name)

    def prune_layers(self, depth: int) -> Collection[int]:
        """One layer a stage."""
        return stage_layers(self.layers, depth, self.name)

    def counts(self, tokens: int) -> list[int]:
        """How many of ``tokens`` each stage leaves; the last leaves the budget."""
        kept, stages = self.budget(tokens), len(self.layers)
        share = self.keep if self.tokens is None else kept / tokens
        return [int(tokens * share ** (stage / stages) + 0.5) for stage in range(1, stages)] + [kept]

    def prune(self, layer: int, tokens: VisualTokens, prefill: Prefill) -> VisualTokens:
        """Keeps the stage's number of tokens."""
        memory = prefill.context.memory(self)
        if "counts" not in memory:
            # Shares are of what entered the first stage.
            memory["counts"] = self.counts(len(tokens))
        kept = memory["counts"][stage_layers(self.layers, prefill.host.depth, self.name).index(layer)]
        return tokens if kept >= len(tokens) else tokens.gather(top(self._scores(layer, prefill), kept))

    def _scores(self, layer: int, prefill: Prefill) -> Tensor:
        queries = prefill.question if self.query == "question" else prefill.last
        scores = prefill.received(layer, queries, prefill.visual)
        return null_normalised(scores, queries, prefill.visual) if self.score == "null" else scores

    @classmethod
    def examples(cls) -> tuple["PyramidDrop", ...]:
        """The paper's stages, and a hard budget in two by the question's words."""
        return (cls(), cls(keep=0.2, layers=(0.25, 0.75), query="question", score="null"))
