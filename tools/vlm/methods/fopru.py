"""FoPru: keeps the patches, or the rows of patches, that receive most attention in the vision tower."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from tools.vlm.context import Context
from tools.vlm.host import Host
from tools.vlm.method import Budgeted, Stage
from tools.vlm.primitives.budget import spread, top
from tools.vlm.primitives.crops import parts, top_of_parts
from tools.vlm.signals import Signal
from tools.vlm.tokens import VisualTokens


@dataclass(frozen=True, kw_only=True)
class FoPru(Budgeted):
    """FoPru, arXiv 2411.14164: a patch's significance is the attention that it receives, mean over heads and queries,
    in the layer that the connector reads (the last but one of a CLIP tower). No CLS token is needed.

    ``rank`` keeps the most significant patches of each frame, whole picture and crop. ``row`` keeps whole grid rows, by
    the sum of their significance, so that lines of text and neighbouring parts of an object stay together: of each part
    the share of the budget, rounded up to rows, so it may leave more tokens than were asked for. Details of the row
    strategy are reconstructed from the paper's description; no code was published.

    Attributes:
        variant: the strategy.
    """

    title: ClassVar[str] = "FoPru: Focal Pruning for Efficient Large Vision-Language Models"
    arxiv: ClassVar[str | None] = "2411.14164"
    number: ClassVar[int | None] = 19
    family: ClassVar[str] = "pre-LLM pruning"
    stage: ClassVar[Stage] = "merge"

    variant: Literal["rank", "row"] = "rank"

    def needs(self, host: Host) -> Sequence[Signal]:
        """Attention received."""
        return (Signal("received"),)

    def count(self, tokens: int) -> int | None:
        """The budget; with whole rows the grids decide."""
        kept = self.budget(tokens)
        return kept if self.variant == "rank" or kept == tokens else None

    def merge(self, tokens: VisualTokens, context: Context) -> VisualTokens:
        """Keeps the best tokens or rows."""
        kept, scores, pieces = self.budget(len(tokens)), tokens.signals[Signal("received")], parts(tokens)
        if self.variant == "rank":
            return tokens.gather(top_of_parts(scores, pieces, spread(kept, [len(piece) for piece in pieces])))
        rows = [best_rows(tokens.position[piece, 1], scores[piece], kept, len(tokens)) for piece in pieces]
        return tokens.gather(torch.cat([piece[inside] for piece, inside in zip(pieces, rows, strict=True)]))

    @classmethod
    def examples(cls) -> tuple["FoPru", ...]:
        """Both strategies."""
        return (cls(keep=0.5), cls(keep=0.5, variant="row"), cls(keep=0.2))


def best_rows(row: Tensor, scores: Tensor, kept: int, total: int) -> Tensor:
    """Which tokens lie in the best rows of one picture, bool ``[N]``: ``kept / total`` of its rows, rounded up.

    Args:
        row: int64 ``[N]``, the row of each token; scores: ``[N]``.
    """
    names, place = torch.unique(row, return_inverse=True)
    sums = torch.zeros(len(names), dtype=torch.float64, device=row.device).index_add_(0, place, scores.double())
    # In integers, so that a share that comes out even is not rounded up by the last bit of a float.
    best = top(sums, -(-kept * len(names) // total))
    chosen = torch.zeros(len(names), dtype=torch.bool, device=row.device)
    chosen[best] = True
    return chosen[place]
