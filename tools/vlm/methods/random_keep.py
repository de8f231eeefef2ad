"""Random keep: the least that a method must beat."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from tools.vlm.context import Context
from tools.vlm.method import Budgeted, Stage
from tools.vlm.tokens import VisualTokens


@dataclass(frozen=True, kw_only=True)
class RandomKeep(Budgeted):
    """Baseline, no paper: keeps tokens drawn evenly without replacement; the same seed draws the same ones.

    Attributes:
        seed: of the draw.
    """

    title: ClassVar[str] = "Random keep"
    family: ClassVar[str] = "baseline"
    stage: ClassVar[Stage] = "merge"

    seed: int = 0

    def merge(self, tokens: VisualTokens, context: Context) -> VisualTokens:
        """Keeps the budget's number of tokens."""
        order = torch.randperm(len(tokens), generator=context.random(self.seed))
        return tokens.gather(order[: self.budget(len(tokens))].to(tokens.features.device))
