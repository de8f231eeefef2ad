"""The reasoner that needs no model."""

from collections.abc import Sequence

from agents.question import Question
from agents.reasoner import Decision, Plan, Reasoner
from agents.rules.judge import judge
from agents.rules.looking import Zoom
from agents.rules.plan import plan
from agents.rules.zoom import decide
from agents.state import Draft, State
from tools.media.video import Video


class RuleReasoner(Reasoner):
    """Deterministic rules over words and times: the same question about the same evidence gives the same steps.

    It reads English questions, finds what evidence says in the evidence's own words, and says nothing that the words
    of the evidence do not contain. It does not infer, sum up or translate.

    Args:
        time, space: whether looks at pictures zoom into the seconds, and into the part of the frame, in which something
            happens.
    """

    def __init__(self, *, time: bool = True, space: bool = True) -> None:
        self._zoom = Zoom(time=time, space=space)

    async def plan(self, question: Question, videos: Sequence[Video]) -> Plan:  # noqa: ARG002 - rules need only words
        """Splits the question at its temporal clauses."""
        return Plan(sub_questions=plan(question))

    async def decide(self, state: State) -> Decision:
        """Searches, then perceives the best match, then zooms into it."""
        return Decision(actions=decide(state, self._zoom))

    async def answer(self, state: State) -> Draft:
        """Extracts the answer from the evidence that contains the question's words."""
        return judge(state).draft
