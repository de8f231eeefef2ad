"""A run played back from its trace: the reasoner that decides as recorded, the toolbox that observes as recorded."""

import time
from collections.abc import Sequence

from pydantic import TypeAdapter

from agents.actions import Action, Detect, Finish, Listen, Look, Perceiving, Read, Search, key
from agents.answer import SubQuestion
from agents.budget import Meter
from agents.events import Event, Trace
from agents.question import Question
from agents.reasoner import Decision, Judgement, Plan, Reasoner
from agents.state import Draft, State
from tools.errors import LoupeError, ToolUnavailable
from tools.evidence import Observation, Scope
from tools.media.video import Video
from tools.media.view import View
from tools.toolbox import Toolbox

_PARTS = TypeAdapter(tuple[SubQuestion, ...])
_ACTION: TypeAdapter[Perceiving] = TypeAdapter(Perceiving)
#: The note of an answer whose looking the time limit ended (`agents.graph`).
_OUT_OF_TIME = "the budget of seconds is spent"


class NotRecorded(LoupeError):
    """A call or a thought that a trace does not hold."""

    status = 409

    @classmethod
    def of(cls, trace_id: str, what: str) -> "NotRecorded":
        """The error for a trace that does not hold ``what``."""
        remedy = "replay it with a live toolbox, or fork it"
        return cls(f"the trace {trace_id} holds no {what}", remedy=remedy, field="trace_id")


class Tape:
    """The clock of a played-back run: it stands where the record stands, and runs on once it is let go.

    So time limits bite in the same places as they did when the run was recorded, however fast it plays.
    """

    def __init__(self, trace: Trace) -> None:
        self._created = trace.info.created
        self._starts = {event.n: later.started for event, later in zip(trace.events, trace.events[1:], strict=False)}
        self._now = 0.0
        self._free: float | None = None
        choices = [event.n for event in trace.events if event.node == "choose"]
        self._last_choice = choices[-1] if choices else -1
        self._deadline = _deadline(trace.info.question) if _timed_out(trace) else None

    def clock(self) -> float:
        """Seconds since the run began."""
        return self._now + (time.monotonic() - self._free if self._free is not None else 0.0)

    def played(self, event: Event) -> None:
        """Moves on to where the record went after ``event``."""
        if self._free is None:
            self._now = max(self._now, event.ended - self._created, self._starts.get(event.n, 0.0) - self._created)
            if self._deadline is not None and event.n > self._last_choice and event.node in ("perceive", "judge"):
                self._now = max(self._now, self._deadline)

    def let_go(self) -> None:
        """From here on time passes by itself."""
        self._free = time.monotonic()


def _timed_out(trace: Trace) -> bool:
    return trace.result is not None and _OUT_OF_TIME in trace.result.notes


def _deadline(question: Question) -> float | None:
    """Seconds at which looking must end."""
    return Meter(question.budget, lambda: 0.0).time_left()


class RecordedReasoner(Reasoner):
    """Decides as a recorded run did; serves one run.

    Args:
        instead: another decision for this step, and the reasoner that thinks from there on.
    """

    def __init__(self, trace: Trace, tape: Tape, instead: tuple[int, Sequence[Action], Reasoner] | None = None) -> None:
        self.model = trace.info.model
        self._prompts = trace.info.prompts
        self._trace_id = trace.id
        self._tape = tape
        self._instead = instead
        #: The thoughts that were not recorded, in words.
        self.missed: list[str] = []
        self._live: Reasoner | None = None
        self._left = {
            node: [event for event in trace.events if event.node == node] for node in ("plan", "choose", "judge")
        }
        # The writing of the answer has no tool; the looks that check it have.
        self._left["verify"] = [event for event in trace.events if event.node == "verify" and event.tool is None]

    def prompts(self) -> dict[str, str]:
        """Those of the recorded run."""
        return dict(self._prompts)

    async def plan(self, question: Question, videos: Sequence[Video]) -> Plan:  # noqa: ARG002 - the record knows
        """The recorded plan."""
        event = self._next("plan")
        parts = _PARTS.validate_python(event.data["sub_questions"])
        return Plan(sub_questions=parts, cost=event.cost, note=event.note)

    async def decide(self, state: State) -> Decision:
        """The next recorded decision, or the other one; after the last one, to finish."""
        if self._live is not None:
            return await self._live.decide(state)
        if self._instead is not None and state.cost.steps + 1 == self._instead[0]:
            _, actions, self._live = self._instead
            self._tape.let_go()
            return Decision(actions=tuple(actions), note=f"step {self._instead[0]} was chosen by hand")
        if not self._left["choose"]:
            return Decision(actions=(Finish(reason="the record ends here"),))
        return Decision.model_validate(self._next("choose").data["decision"])

    async def judge(self, state: State) -> Judgement:
        """The next recorded judgement."""
        if self._live is not None:
            return await self._live.judge(state)
        event = self._next("judge")
        return Judgement(
            sub_questions=_PARTS.validate_python(event.data["sub_questions"]),
            draft=Draft.model_validate(event.data["draft"]),
            cost=event.cost,
            note=event.note,
        )

    async def answer(self, state: State) -> Draft:
        """The next recorded draft."""
        if self._live is not None:
            return await self._live.answer(state)
        event = self._next("verify")
        return Draft.model_validate(event.data["draft"]).model_copy(update={"cost": event.cost, "note": event.note})

    def _next(self, node: str) -> Event:
        if not self._left[node]:
            self.missed.append(f"further '{node}'")
            raise NotRecorded.of(self._trace_id, self.missed[-1])
        event = self._left[node].pop(0)
        self._tape.played(event)
        return event


class RecordedToolbox:
    """Observes what a recorded run observed; equal calls in the order in which they were recorded, the last one again
    and again.

    Attributes:
        missed: the calls that were not recorded, in words.

    Args:
        live: serves the calls that were not recorded; without it they raise `NotRecorded`.
    """

    def __init__(self, trace: Trace, tape: Tape, live: Toolbox | None = None) -> None:
        self.missed: list[str] = []
        self._trace = trace
        self._tape = tape
        self._live = live
        self._events = recorded_calls(trace)

    async def videos(self, scope: Scope) -> list[Video]:  # noqa: ARG002 - one run has one scope
        """The videos that were in scope."""
        return list(self._trace.videos)

    async def search(self, query: str, scope: Scope, limit: int = 10) -> Observation:
        """A recorded search."""
        return await self._serve(Search(query=query, scope=scope, limit=limit))

    async def listen(self, view: View) -> Observation:
        """A recorded hearing."""
        return await self._serve(Listen(view=view))

    async def read(self, view: View) -> Observation:
        """A recorded reading."""
        return await self._serve(Read(view=view))

    async def detect(self, view: View, labels: Sequence[str] = ()) -> Observation:
        """A recorded detection."""
        return await self._serve(Detect(view=view, labels=tuple(labels)))

    async def look(self, view: View, question: str, method: str | None = None) -> Observation:
        """A recorded look."""
        return await self._serve(Look(view=view, question=question, method=method))

    async def _serve(self, action: Perceiving) -> Observation:
        event = self._take(action)
        if event is None:
            self.missed.append(words(action))
            if self._live is None:
                raise NotRecorded.of(self._trace.id, self.missed[-1])
            return await call(self._live, action)
        return observed(self._trace, event)

    def _take(self, action: Perceiving) -> Event | None:
        """The record of the call, None where there is none."""
        events = self._events.get(key(action))
        if not events:
            return None
        event = events.pop(0) if len(events) > 1 else events[0]
        self._tape.played(event)
        return event


def recorded_calls(trace: Trace) -> dict[str, list[Event]]:
    """The events of each call, by `agents.actions.key`."""
    calls: dict[str, list[Event]] = {}
    for event in trace.events:
        if event.tool is not None:
            calls.setdefault(key(_action_of(event)), []).append(event)
    return calls


def _action_of(event: Event) -> Perceiving:
    fields: dict[str, object] = {"kind": event.tool, **event.args}
    if event.view is not None:
        fields["view"] = event.view
    return _ACTION.validate_python(fields)


def observed(trace: Trace, event: Event) -> Observation:
    """What the call of ``event`` returned; raises what it raised, as far as the agent could tell."""
    failure = event.data.get("failure")
    if failure == "late":
        raise TimeoutError
    if failure == "unavailable":
        raise _Gone((event.note or "").removeprefix(f"{event.tool} is not available: "))
    if failure == "failed":
        raise RuntimeError((event.note or "").removeprefix(f"{event.tool} failed: "))
    cost = event.cost.model_copy(update={"steps": 0})
    report = event.data.get("report")
    return Observation(
        evidence=event.evidence,
        cost=cost,
        frames=trace.frames(event),
        heat=trace.heat(event),
        report=report if isinstance(report, dict) else None,
        note=event.note,
    )


class _Gone(ToolUnavailable):
    """A tool that was not there, in the words of that time."""

    def __init__(self, said: str) -> None:
        super().__init__(said, remedy="")

    def __str__(self) -> str:
        return self.message


async def call(toolbox: Toolbox, action: Perceiving) -> Observation:
    """Calls the verb that the action stands for."""
    if isinstance(action, Search):
        return await toolbox.search(action.query, action.scope, action.limit)
    if isinstance(action, Listen):
        return await toolbox.listen(action.view)
    if isinstance(action, Read):
        return await toolbox.read(action.view)
    if isinstance(action, Detect):
        return await toolbox.detect(action.view, action.labels)
    return await toolbox.look(action.view, action.question, action.method)


def words(action: Perceiving) -> str:
    """The call in a few words."""
    if isinstance(action, Search):
        return f"call search('{action.query}')"
    return f"call {action.kind}({action.view.span} at {action.view.fps:.3g} fps, {action.view.short_side} px)"
