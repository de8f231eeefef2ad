"""Uniform stride: tokens at even distances in reading order."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from tools.vlm.context import Context
from tools.vlm.method import Budgeted, Stage
from tools.vlm.tokens import VisualTokens


@dataclass(frozen=True, kw_only=True)
class UniformStride(Budgeted):
    """Baseline, no paper: of N tokens in (t, y, x) order it keeps those in the middle of k even runs."""

    title: ClassVar[str] = "Uniform stride"
    family: ClassVar[str] = "baseline"
    stage: ClassVar[Stage] = "merge"

    def merge(self, tokens: VisualTokens, context: Context) -> VisualTokens:
        """Keeps the budget's number of tokens."""
        count, kept = len(tokens), self.budget(len(tokens))
        # Integer arithmetic, so that no two runs can round to the same token.
        index = (2 * torch.arange(kept) + 1) * count // (2 * kept)
        return tokens.gather(index.to(tokens.features.device))
