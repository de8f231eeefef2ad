"""Keeping a question inside its budget: when looking must stop, and which looks can still be paid."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from agents.actions import Action, Detect, Finish, Look, Perceiving, Read
from agents.question import Budget
from tools.evidence import Cost

T = TypeVar("T")

#: Share of the time, and at most so many seconds, kept back for checking and writing the answer.
_RESERVE_SHARE, _RESERVE_SECONDS = 0.15, 15.0
#: Share of the frames kept back for looking at citations again, and at most so many.
_FRAMES_SHARE, _FRAMES = 0.25, 48
#: A run without any limit on steps ends here.
MOST_STEPS = 1000


class Meter:
    """The budget of one question against the clock.

    Args:
        clock: seconds that only grow, e.g. ``time.monotonic``.
    """

    def __init__(self, budget: Budget, clock: Callable[[], float]) -> None:
        self._budget = budget
        self._clock = clock
        self._start = clock()

    def elapsed(self) -> float:
        """Seconds since the question came in."""
        return self._clock() - self._start

    def time_left(self, *, answering: bool = False) -> float | None:
        """Seconds until looking must end (``answering``: until the answer must be there); None without a limit."""
        limit = self._budget.seconds
        if limit is None:
            return None
        reserve = 0.0 if answering else min(_RESERVE_SHARE * limit, _RESERVE_SECONDS)
        return max(0.0, limit - reserve - self.elapsed())

    async def within(self, work: Awaitable[T], *, answering: bool = False) -> T:
        """The result of ``work``; raises `TimeoutError` where it takes longer than there is time left."""
        return await asyncio.wait_for(work, self.time_left(answering=answering))

    def spent(self, cost: Cost) -> str | None:
        """The name of the limit that forbids another step, or None. One step stays reserved for answering."""
        steps = self._budget.steps if self._budget.steps is not None else MOST_STEPS
        if cost.steps + 1 >= steps:
            return "steps"
        if self.time_left() == 0.0:
            return "seconds"
        tokens, limit = cost.llm_tokens_in + cost.llm_tokens_out, self._budget.llm_tokens
        if limit is not None and tokens and tokens >= limit:
            return "llm_tokens"
        return None

    def can_write(self, cost: Cost) -> bool:
        """Whether the reasoner may still be asked to write."""
        tokens, limit = cost.llm_tokens_in + cost.llm_tokens_out, self._budget.llm_tokens
        return self.time_left(answering=True) != 0.0 and not (limit is not None and tokens and tokens >= limit)

    def frames_left(self, cost: Cost, *, answering: bool = False) -> int | None:
        """How many frames may still be decoded; None without a limit."""
        limit = self._budget.frames
        if limit is None:
            return None
        reserve = 0 if answering else min(int(limit * _FRAMES_SHARE), _FRAMES)
        return max(0, limit - reserve - cost.frames_decoded)

    def affordable(
        self, actions: Sequence[Perceiving], cost: Cost, *, answering: bool = False
    ) -> tuple[list[Perceiving], list[str]]:
        """The actions that can be paid, at a lower frame rate where need be, and a note for each that cannot."""
        left = self.frames_left(cost, answering=answering)
        kept: list[Perceiving] = []
        notes: list[str] = []
        tokens = self._budget.visual_tokens
        for action in actions:
            if isinstance(action, Look) and tokens is not None and cost.visual_tokens_kept >= tokens:
                notes.append("the budget of visual tokens is spent: no look")
                continue
            if isinstance(action, Read | Detect | Look) and left is not None:
                if left == 0:
                    notes.append(f"the budget of frames is spent: no {action.kind}")
                    continue
                count = len(action.view.sample_times())
                if count > left:
                    # One frame less than fits, for the last sample may fall on the end of the span.
                    fps = max(left - 1, 0.5) / max(action.view.span.duration, 1e-3)
                    action = action.model_copy(update={"view": action.view.zoom(fps=min(fps, action.view.fps))})
                    count = len(action.view.sample_times())
                left = max(0, left - count)
            kept.append(action)
        return kept, notes

    def recursion_limit(self, nodes_a_step: int) -> int:
        """More supersteps than a graph can need within the budget, so that its own limit never ends a run."""
        steps = self._budget.steps if self._budget.steps is not None else MOST_STEPS
        return math.ceil((min(steps, MOST_STEPS) + 4) * nodes_a_step) + 16


def looks(actions: Sequence[Action]) -> list[Perceiving]:
    """The actions that call a tool."""
    return [action for action in actions if not isinstance(action, Finish)]
