"""The agent's own time: seconds a step without tools, over a toolbox that answers at once."""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.actions import Action, Listen
from agents.agent import Agent
from agents.answer import Answer, SubQuestion
from agents.question import Budget, Question
from agents.reasoner import Decision, Judgement, Plan, Reasoner
from agents.reasoners.rules import RuleReasoner
from agents.state import Draft, State
from agents.strategy import STRATEGIES
from agents.trace import TraceStore
from tools.evidence import Evidence, Observation, Scope
from tools.media.span import Span
from tools.media.video import Video, VideoInfo
from tools.media.view import View

#: Steps of the run that measures the machinery alone.
STEPS = 40
_QUESTION = "What does the speaker say right after the mention of topic 117?"


class InstantToolbox:
    """A video of an hour with an utterance every four seconds; every verb answers at once."""

    def __init__(self, count: int = 900) -> None:
        span = Span.of(0, 4 * count)
        info = VideoInfo(
            span=span, width=640, height=360, fps=25, video_codec="h264", audio_codec="aac", subtitle_codec=None
        )
        self._video = Video(id="v", name="v.mp4", path="/v.mp4", info=info)
        self._said = [
            Evidence.make(
                video_id="v",
                kind="speech",
                span=Span.of(4 * n, 4 * n + 3),
                text=f"now we come to topic {n} and to what follows from it",
                score=0.9,
                tool="listen",
                model="instant",
            )
            for n in range(count)
        ]

    async def videos(self, scope: Scope) -> list[Video]:  # noqa: ARG002
        """The one video."""
        return [self._video]

    async def search(self, query: str, scope: Scope, limit: int = 10) -> Observation:
        """Utterances with one of the query's numbers first, else in order of time."""
        first, last = (0, len(self._said)) if scope.span is None else (scope.span.start / 4, scope.span.end / 4)
        if not query:
            return Observation(evidence=tuple(self._said[int(first) : int(last)][:limit]))
        topics = [int(word) for word in query.split() if word.isdigit()]
        return Observation(evidence=tuple(self._said[topic] for topic in topics if first <= topic < last))

    async def listen(self, view: View) -> Observation:
        """The utterances in the view's span."""
        first, last = int(view.span.start / 4), int(view.span.end / 4) + 1
        inside = (item for item in self._said[first:last] if item.span.overlaps(view.span))
        return Observation(evidence=tuple(item.model_copy(update={"view": view}) for item in inside))

    async def read(self, view: View) -> Observation:  # noqa: ARG002
        """Nothing is written."""
        return Observation()

    async def detect(self, view: View, labels: Sequence[str] = ()) -> Observation:  # noqa: ARG002
        """Nothing is to be seen."""
        return Observation()

    async def look(self, view: View, question: str, method: str | None = None) -> Observation:  # noqa: ARG002
        """Nothing is to be seen."""
        return Observation()


class _Tireless(Reasoner):
    """Thinks nothing and always looks on: what is left is the graph, the state and the trace."""

    async def plan(self, question: Question, videos: Sequence[Video]) -> Plan:  # noqa: ARG002
        return Plan(sub_questions=(SubQuestion(id="q1", text=question.text, kinds=("speech",), query="topic"),))

    async def decide(self, state: State) -> Decision:
        start = float(len(state.views))
        action: Action = Listen(view=View(video_id="v", span=Span.of(start, start + 1)), sub_question="q1")
        return Decision(actions=(action,))

    async def judge(self, state: State) -> Judgement:
        return Judgement(sub_questions=state.sub_questions, draft=state.draft)

    async def answer(self, state: State) -> Draft:
        return state.draft


def run(out_dir: Path, repeats: int = 20) -> list[dict[str, Any]]:
    """A row for the machinery alone, and one for each strategy with the rules; times in milliseconds.

    Traces are written under ``out_dir``, as they are when a question is asked.
    """
    rows = [_measure(out_dir, "zoom", "none", _Tireless(), "?", Budget(steps=STEPS), max(3, repeats // 4))]
    rows += [_measure(out_dir, name, "rules", RuleReasoner(), _QUESTION, Budget(), repeats) for name in STRATEGIES]
    return rows


def _measure(
    out_dir: Path, strategy: str, thinks: str, reasoner: Reasoner, text: str, budget: Budget, repeats: int
) -> dict[str, Any]:
    async def ask(agent: Agent) -> Answer:
        return await agent.ask(Question(text=text, budget=budget, strategy=strategy))

    seconds, answer = [], None
    with tempfile.TemporaryDirectory(dir=out_dir) as root:
        agent = Agent(InstantToolbox(), reasoner, TraceStore(Path(root)), profile_name="bench")
        asyncio.run(ask(agent))  # the first question also pays for imports
        for _ in range(repeats):
            started = time.perf_counter()
            answer = asyncio.run(ask(agent))
            seconds.append(time.perf_counter() - started)
    assert answer is not None
    question = 1000 * statistics.median(seconds)
    return {
        "strategy": strategy,
        "reasoner": thinks,
        "steps": answer.cost.steps,
        "tool_calls": sum(answer.cost.tool_calls.values()),
        "question_ms": round(question, 2),
        "step_ms": round(question / answer.cost.steps, 2),
        "answered": answer.verdict,
    }
