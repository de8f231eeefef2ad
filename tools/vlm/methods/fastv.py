"""FastV: after the first decoder layers, most visual tokens go."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, Literal

from tools.errors import BadInput
from tools.vlm.host import Host
from tools.vlm.method import Budgeted, Stage
from tools.vlm.prefill import Prefill
from tools.vlm.primitives.budget import top
from tools.vlm.primitives.probe import null_normalised
from tools.vlm.tokens import VisualTokens


@dataclass(frozen=True, kw_only=True)
class FastV(Budgeted):
    """Baseline of every table: "An Image is Worth 1/2 Tokens After Layer 2", arXiv 2403.06764, section 4.

    Before decoder layer ``layer`` it keeps the tokens to which the last prompt token attends most (mean over heads) and
    drops the rest for all later layers. The attention is that of the layer just run, ``layer - 1``.

    Attributes:
        layer: the first decoder layer that works on fewer tokens (the paper's K), 1 at least.
        score: ``published``: the attention row as it is; ``null``: divided by what uniform attention would give. One
            query sees all keys alike, so for this method the two rank tokens in the same order.
    """

    title: ClassVar[str] = "An Image is Worth 1/2 Tokens After Layer 2"
    arxiv: ClassVar[str | None] = "2403.06764"
    family: ClassVar[str] = "baseline"
    stage: ClassVar[Stage] = "prune"

    layer: int = 2
    score: Literal["published", "null"] = "published"

    def check(self, host: Host) -> None:
        """Refuses a layer that the decoder does not have."""
        super().check(host)
        if not 1 <= self.layer < host.depth:
            raise BadInput(
                f"fastv cannot prune before decoder layer {self.layer} of {host.depth}",
                remedy=f"use layer=1 to layer={host.depth - 1}",
                field="layer",
            )

    def prune_layers(self, depth: int) -> Collection[int]:
        """The one layer."""
        return (self.layer,)

    def prune(self, layer: int, tokens: VisualTokens, prefill: Prefill) -> VisualTokens:
        """Keeps the budget's number of tokens."""
        scores = prefill.received(layer - 1, prefill.last, prefill.visual)
        if self.score == "null":
            scores = null_normalised(scores, prefill.last, prefill.visual)
        return tokens.gather(top(scores, self.budget(len(tokens))))
