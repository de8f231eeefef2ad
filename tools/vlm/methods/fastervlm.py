"""FasterVLM: keeps the patches to which the vision tower's CLS token attends most."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from tools.vlm.context import Context
from tools.vlm.host import Host
from tools.vlm.method import Budgeted, Stage
from tools.vlm.primitives.budget import spread
from tools.vlm.primitives.crops import parts, top_of_parts
from tools.vlm.signals import Signal, saliency
from tools.vlm.tokens import VisualTokens


@dataclass(frozen=True, kw_only=True)
class FasterVLM(Budgeted):
    """FasterVLM, arXiv 2412.01818, section 4: CLS attention, mean over heads, of the layer that the connector reads.

    Each frame, whole picture and crop keeps its own best patches, in equal shares. The default budget is one of the
    paper's (a quarter); it goes down to one twentieth.

    A tower without CLS token (SigLIP, Qwen) scores by the attention that a patch receives from all others, as the
    authors advise; the paper has no results with it.

    Attributes:
        source: the signal of the vision tower to score by.
    """

    title: ClassVar[str] = "[CLS] Attention is All You Need for Training-Free Visual Token Pruning"
    arxiv: ClassVar[str | None] = "2412.01818"
    number: ClassVar[int | None] = 4
    family: ClassVar[str] = "pre-LLM pruning"
    stage: ClassVar[Stage] = "merge"

    source: Literal["auto", "cls", "received", "head"] = "auto"

    def needs(self, host: Host) -> Sequence[Signal]:
        """One score a patch."""
        return (saliency(host.signal_kinds, self.source),)

    def merge(self, tokens: VisualTokens, context: Context) -> VisualTokens:
        """Keeps the budget's number of tokens."""
        (signal,) = self.needs(context.host)
        pieces = parts(tokens)
        shares = spread(self.budget(len(tokens)), [len(piece) for piece in pieces])
        return tokens.gather(top_of_parts(tokens.signals[signal], pieces, shares))
