"""One question while it is being answered: who thinks, who perceives, who writes it down."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from agents.actions import Detect, Listen, Look, Perceiving, Read, Search
from agents.budget import Meter
from agents.events import Event
from agents.question import Question
from agents.reasoner import Reasoner
from tools.errors import ToolUnavailable
from tools.evidence import Cost, Evidence, HeatMap, Observation, SeenFrame
from tools.media.view import View
from tools.toolbox import Toolbox


class Record(Protocol):
    """Writes one event; see `agents.recorder.Recorder.record`."""

    def __call__(
        self,
        *,
        node: str,
        step: int = 0,
        parent: int | None = None,
        tool: str | None = None,
        view: View | None = None,
        args: Mapping[str, Any] | None = None,
        evidence: Sequence[Evidence] = (),
        frames: Sequence[SeenFrame] = (),
        heat: Sequence[HeatMap] = (),
        cost: Cost | None = None,
        started: float | None = None,
        ended: float | None = None,
        note: str | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> Event: ...


@dataclass(frozen=True)
class Outcome:
    """What came of one action: an observation, or the sentence that says why there is none.

    Attributes:
        unavailable: the tool is not there at all, so that asking again is no use.
        late: the time limit cut the call off.
    """

    action: Perceiving
    observation: Observation
    started: float
    ended: float
    failure: str | None = None
    unavailable: bool = False
    late: bool = False

    @property
    def why(self) -> Literal["late", "unavailable", "failed"] | None:
        """The kind of failure, for the trace."""
        if self.failure is None:
            return None
        return "late" if self.late else "unavailable" if self.unavailable else "failed"

    @property
    def note(self) -> str | None:
        """The failure, or what the tool wants to be known."""
        return self.failure or self.observation.note


@dataclass(frozen=True)
class Run:
    """What the nodes of a graph work with.

    Attributes:
        wall: seconds since 1970-01-01 UTC, for events.
    """

    question: Question
    reasoner: Reasoner
    toolbox: Toolbox
    record: Record
    meter: Meter
    trace_id: str
    wall: Callable[[], float] = time.time

    async def perform(self, action: Perceiving, *, answering: bool = False) -> Outcome:
        """Calls the action's tool. Never raises: a tool that fails is an outcome too."""
        started = self.wall()
        failure, unavailable, late, observation = None, False, False, Observation()
        try:
            observation = await self.meter.within(self._call(action), answering=answering)
        except TimeoutError:
            failure, late = f"{action.kind} was cut off by the time limit", True
        except ToolUnavailable as error:
            failure, unavailable = f"{action.kind} is not available: {error}", True
        except Exception as error:  # noqa: BLE001 - whatever a tool raises, the question goes on without it
            failure = f"{action.kind} failed: {explain(error)}"
        if isinstance(action, Look) and observation.note and not observation.evidence:
            unavailable = True
        # Verbs are what a caller counts; how many tools stand behind one is the toolbox's business.
        cost = observation.cost.model_copy(update={"steps": 0, "tool_calls": {action.kind: 1}})
        observation = observation.model_copy(update={"cost": cost})
        return Outcome(action, observation, started, self.wall(), failure, unavailable, late)

    async def _call(self, action: Perceiving) -> Observation:
        if isinstance(action, Search):
            return await self.toolbox.search(action.query, action.scope, action.limit)
        if isinstance(action, Listen):
            return await self.toolbox.listen(action.view)
        if isinstance(action, Read):
            return await self.toolbox.read(action.view)
        if isinstance(action, Detect):
            return await self.toolbox.detect(action.view, action.labels)
        return await self.toolbox.look(action.view, action.question, action.method)

    def write(
        self, outcome: Outcome, *, node: str, step: int, parent: int | None, data: Mapping[str, Any] | None = None
    ) -> Event:
        """Records an outcome."""
        action = outcome.action
        view = None if isinstance(action, Search) else action.view
        args = action.model_dump(mode="json", exclude={"kind", "view", "reason", "parent", "sub_question"})
        return self.record(
            node=node,
            step=step,
            parent=parent,
            tool=action.kind,
            view=view,
            args=args,
            evidence=outcome.observation.evidence,
            frames=outcome.observation.frames,
            heat=outcome.observation.heat,
            cost=outcome.observation.cost,
            started=outcome.started,
            ended=outcome.ended,
            note=outcome.note,
            data={
                "sub_question": action.sub_question,
                "reason": action.reason,
                **({"failure": outcome.why} if outcome.why else {}),
                **({"report": outcome.observation.report} if outcome.observation.report else {}),
                **(data or {}),
            },
        )


def explain(error: BaseException) -> str:
    """An error as part of a sentence; a bare one by the name of its kind."""
    return str(error) or type(error).__name__
