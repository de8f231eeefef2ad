"""Doing it again: `replay` runs the same decisions, `fork` continues a run from a step with another action."""

import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.actions import Action, Finish, Perceiving
from agents.agent import Agent
from agents.answer import Answer
from agents.events import Event, Fork, Trace
from agents.question import Question
from agents.reasoner import Reasoner
from agents.recorded import NotRecorded, RecordedReasoner, RecordedToolbox, Tape, call, observed, words
from agents.recorder import Recorder
from agents.trace import TraceStore
from tools.errors import BadInput
from tools.evidence import Evidence, Observation
from tools.toolbox import Toolbox


@dataclass(frozen=True)
class Replay:
    """What came of a replay.

    Attributes:
        answer: under the id of the recorded run.
        differences: where calls and the answer differ from the record, a sentence each.
    """

    answer: Answer
    differences: tuple[str, ...]


async def replay(trace: Trace, toolbox: Toolbox | None = None) -> Replay:
    """Runs the same decisions again.

    Without a toolbox every observation comes from the record: no video, model or key is needed, and the same trace
    always gives the same answer. With one, the same calls are made anew, and what has changed is reported.

    Raises:
        BadInput: the run did not come to its end.
        NotRecorded: the run as it would go today makes calls that the record does not hold.
    """
    if trace.result is None:
        raise BadInput(
            f"trace {trace.id} has no answer to come to again ({trace.info.status})",
            remedy="fork it from one of its steps instead",
            field="trace_id",
        )
    tape = Tape(trace)
    reasoner = RecordedReasoner(trace, tape)
    with tempfile.TemporaryDirectory(prefix="loupe-replay-") as folder:
        traces = TraceStore(Path(folder))
        if toolbox is None:
            recorded = RecordedToolbox(trace, tape)
            agent = Agent(recorded, reasoner, traces, profile_name=trace.info.profile, clock=tape.clock)
            answer = await agent.ask(trace.info.question)
            if missed := recorded.missed + reasoner.missed:
                raise NotRecorded.of(trace.id, missed[0])
            seen: list[str] = []
        else:
            live = _Compared(trace, tape, toolbox)
            answer = await Agent(live, reasoner, traces, profile_name=trace.info.profile).ask(trace.info.question)
            seen = live.differences
    answer = answer.model_copy(update={"trace_id": trace.id})
    return Replay(answer, (*seen, *_changes(trace.result, answer)))


def forkable(trace: Trace) -> list[int]:
    """The steps whose actions were chosen, and can be chosen differently."""
    return [event.step + 1 for event in trace.events if event.node == "choose"]


def fork(
    trace: Trace,
    step: int,
    actions: Action | Sequence[Action],
    *,
    toolbox: Toolbox | None,
    reasoner: Reasoner,
    traces: TraceStore,
) -> AsyncIterator[Event]:
    """Continues a run from ``step`` with other actions, as a new trace that says where it comes from.

    Until then everything comes from the record and costs nothing but is counted; from then on ``reasoner`` thinks, and
    ``toolbox`` serves what the record does not hold (without one, such calls fail and the run goes on without them).
    A run that crashed is continued by forking it from its last step.

    Raises:
        BadInput: the step was not chosen by the reasoner, or an action leaves the videos of the question.
    """
    chosen = list(actions) if isinstance(actions, Sequence) else [actions]
    steps = forkable(trace)
    if step not in steps:
        raise BadInput(
            f"trace {trace.id} cannot be forked at step {step}",
            remedy=f"use one of {', '.join(map(str, steps))}" if steps else "ask the question anew",
            field="step",
        )
    known = {video.id for video in trace.videos}
    for video_id in (id_ for action in chosen for id_ in _videos_of(action)):
        if video_id not in known:
            raise BadInput(
                f"video {video_id} is outside the scope of trace {trace.id}",
                remedy=f"use one of {', '.join(sorted(known))}",
                field="action.view.video_id",
            )
    tape = Tape(trace)
    agent = Agent(
        RecordedToolbox(trace, tape, toolbox),
        RecordedReasoner(trace, tape, (step, chosen, reasoner)),
        _Forks(traces, Fork(trace_id=trace.id, step=step)),
        profile_name=trace.info.profile,
        clock=tape.clock,
    )
    return agent.stream(trace.info.question)


def _videos_of(action: Action) -> Iterator[str]:
    if isinstance(action, Finish):
        return
    view = getattr(action, "view", None)
    yield from (view.video_id,) if view is not None else action.scope.video_ids  # type: ignore[union-attr]


class _Forks(TraceStore):
    """Writes into another store's folder and names the run that is continued."""

    def __init__(self, traces: TraceStore, source: Fork) -> None:
        super().__init__(traces.root, traces.clock)
        self._source = source

    def create(self, question: Question, profile: str, **settings: Any) -> Recorder:
        """Starts the forked trace."""
        return super().create(question, profile, **{**settings, "forked_from": self._source})


class _Compared(RecordedToolbox):
    """Makes every call anew and says where it observes something else than the record."""

    def __init__(self, trace: Trace, tape: Tape, toolbox: Toolbox) -> None:
        super().__init__(trace, tape, toolbox)
        self.differences: list[str] = []
        self._toolbox = toolbox

    async def _serve(self, action: Perceiving) -> Observation:
        event = self._take(action)
        if event is None:
            self.differences.append(f"{words(action)} is not in the record")
            return await call(self._toolbox, action)
        try:
            now = await call(self._toolbox, action)
        except Exception as error:
            if event.data.get("failure") is None:
                self.differences.append(f"{words(action)} failed: {error}")
            raise
        if event.data.get("failure") is not None:
            self.differences.append(f"{words(action)} failed in the record and works now")
            return now
        self.differences += _observed_differently(words(action), observed(self._trace, event), now)
        return now


def _observed_differently(name: str, then: Observation, now: Observation) -> list[str]:
    before, after = _texts(then.evidence), _texts(now.evidence)
    found = [f"{name} no longer gives {text}" for text in before if text not in after]
    return found + [f"{name} now gives {text}" for text in after if text not in before]


def _texts(evidence: Sequence[Evidence]) -> dict[str, None]:
    return dict.fromkeys(f"{item.kind} '{item.text}' at {item.span}" for item in evidence)


def _changes(then: Answer, now: Answer) -> list[str]:
    """What differs between two answers; costs in seconds always do and are left out."""
    found = []
    for name in ("answer", "option", "verdict", "confidence", "stopped"):
        before, after = getattr(then, name), getattr(now, name)
        if before != after:
            found.append(f"{name}: was {before!r}, is {after!r}")
    before_ids = [citation.evidence_id for citation in then.citations]
    if before_ids != [citation.evidence_id for citation in now.citations]:
        quotes = ", ".join(f"'{citation.quote}'" for citation in now.citations) or "nothing"
        found.append(f"citations: now {quotes}")
    return found
