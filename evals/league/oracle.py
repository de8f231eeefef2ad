"""A chooser that no method can be: it knows which patches show something."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from evals.league.coverage import shows
from evals.league.questions import Question
from tools.vlm.context import Context
from tools.vlm.method import Method, Stage
from tools.vlm.tokens import VisualTokens


@dataclass(frozen=True, kw_only=True)
class Oracle(Method):
    """Keeps every token whose patch shows a thing, and a random part of all others.

    What it loses is not lost by a bad choice among things, but because the model misses the rest.

    Attributes:
        rest: part of the other tokens to keep.
        question: which is asked; its things are those that count.
        seed: of the draw.
    """

    title: ClassVar[str] = "What shows something"
    family: ClassVar[str] = "oracle"
    stage: ClassVar[Stage] = "merge"

    rest: float = 0.0
    question: Question | None = None
    seed: int = 0

    def count(self, tokens: int) -> int | None:  # noqa: ARG002 - the content decides
        """Unknown beforehand."""
        return None

    def merge(self, tokens: VisualTokens, context: Context) -> VisualTokens:
        """Keeps one token at least."""
        assert self.question is not None
        found = shows(tokens.grids, self.question.things, self.question.frames.times)
        kept = torch.from_numpy(np.concatenate([one.ravel() for one in found]))[tokens.index.cpu()]
        others = torch.nonzero(~kept)[:, 0]
        drawn = torch.randperm(len(others), generator=context.random(self.seed))
        kept[others[drawn[: max(round(self.rest * len(others)), int(not kept.any()))]]] = True
        return tokens.gather(kept.to(tokens.index.device))
