"""DivPrune: keeps the tokens that differ most from each other."""

from dataclasses import dataclass
from typing import ClassVar

from tools.vlm.context import Context
from tools.vlm.method import Budgeted, Stage
from tools.vlm.primitives.diversity import max_min
from tools.vlm.tokens import VisualTokens


@dataclass(frozen=True, kw_only=True)
class DivPrune(Budgeted):
    """DivPrune, arXiv 2503.02175, section 3: greedy max-min diversity over all visual tokens of the request.

    The first pick is the token whose nearest neighbour is farthest in cosine distance, every further one the token
    farthest from all picked so far. The picks of a small budget are the first of those of a larger one. The question
    plays no part, so the result can be kept for a picture or video; tokens unlike all others, noise included, go first.

    Kept tokens stay at their rotary positions; the released code numbers them anew (``positions=repack``).

    Attributes:
        keep: as in `Budgeted`; the paper's main setting by default.
    """

    title: ClassVar[str] = "DivPrune: Diversity-based Visual Token Pruning for Large Multimodal Models"
    arxiv: ClassVar[str | None] = "2503.02175"
    number: ClassVar[int | None] = 38
    family: ClassVar[str] = "pre-LLM pruning"
    stage: ClassVar[Stage] = "merge"

    keep: float = 0.098

    def merge(self, tokens: VisualTokens, context: Context) -> VisualTokens:
        """Keeps the budget's number of tokens."""
        kept = self.budget(len(tokens))
        return tokens if kept == len(tokens) else tokens.gather(max_min(tokens.features, kept))
