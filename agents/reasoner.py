"""The part that plans, decides and writes: rules, or a chat model. One file each in ``agents/reasoners``."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from agents.actions import Action, Detect, Finish, Listen, Look, Looking, Perceiving, Read, Search
from agents.answer import SubQuestion
from agents.question import Question
from agents.state import Claim, Draft, State
from tools.evidence import Cost
from tools.media.video import Video
from tools.registry import Registry

__all__ = [
    "REASONERS",
    "Action",
    "Claim",
    "Decision",
    "Detect",
    "Draft",
    "Finish",
    "Judgement",
    "Listen",
    "Look",
    "Looking",
    "Perceiving",
    "Plan",
    "Read",
    "Reasoner",
    "Search",
    "State",
]


class _Result(BaseModel):
    """What a reasoner hands back; ``note`` is one sentence for the trace, e.g. that a reply had to be repaired."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cost: Cost = Cost()
    note: str | None = None


class Plan(_Result):
    """The parts of a question, one at least, in the order in which they are to be worked on; the last is the one whose
    answer is the answer. Anchors are written in the small language of `agents.rules.anchors`."""

    sub_questions: tuple[SubQuestion, ...]


class Decision(_Result):
    """What to do in the next step; several actions run in parallel. `Finish`, or nothing at all, ends the looking."""

    actions: tuple[Action, ...] = ()


class Judgement(_Result):
    """What is known after a step: the sub-questions with their state and answers, and the best answer so far."""

    sub_questions: tuple[SubQuestion, ...]
    draft: Draft


class Reasoner(ABC):
    """Thinks about one question at a time; keeps no state of its own between calls, so one serves many questions.

    Every method may be cut short by the question's time limit (`asyncio.CancelledError`).
    """

    #: Name of the chat model that thinks, for the trace; None without one.
    model: str | None = None

    def prompts(self) -> Mapping[str, str]:
        """SHA-256 of every prompt in use by name, for the trace."""
        return {}

    @abstractmethod
    async def plan(self, question: Question, videos: Sequence[Video]) -> Plan:
        """Splits the question into sub-questions."""

    @abstractmethod
    async def decide(self, state: State) -> Decision:
        """Chooses what to do next from what is known."""

    async def judge(self, state: State) -> Judgement:
        """Says what the evidence answers so far. By default without a model, by `agents.rules.judge`."""
        from agents.rules.judge import judge

        return judge(state)

    @abstractmethod
    async def answer(self, state: State) -> Draft:
        """Writes the answer and names the evidence of each claim."""


REASONERS: Registry[Reasoner] = Registry("agents.reasoners", Reasoner, "reasoner")  # type: ignore[type-abstract]
