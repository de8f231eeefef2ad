"""The nodes that all strategies share: plan, retrieve, choose, perceive, judge, verify, answer.

Nodes take the state and return the fields that they change. What a tool or a reasoner raises becomes a note and the
question goes on; what goes wrong in a node itself ends the looking (see `agents.agent`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from agents.actions import Finish, Look, Perceiving, Search, key
from agents.answer import Searched, Stopped
from agents.budget import looks
from agents.checking import Checking
from agents.finish import assemble
from agents.reasoner import Decision, Judgement, Plan
from agents.reasoners.rules import RuleReasoner
from agents.retrieval import searches
from agents.rules.judge import bounds
from agents.run import Outcome, Run, explain
from agents.state import Draft, Looked, State
from tools.evidence import Cost, Evidence

T = TypeVar("T", Plan, Decision, Judgement, Draft)
Update = dict[str, Any]
#: Failures after which a tool is not asked again.
PATIENCE = 2


class Nodes:
    """The nodes, bound to one run."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._rules = RuleReasoner()
        self._failures: dict[str, int] = {}

    async def plan(self, state: State) -> Update:
        """Splits the question; from here on there is a (still empty) best answer."""
        started = self.run.wall()
        question, videos = state.question, state.videos
        plan, note = await self._think(
            lambda: self.run.reasoner.plan(question, videos), lambda: self._rules.plan(question, videos)
        )
        event = self.run.record(
            node="plan", cost=plan.cost, started=started, note=note, data={"sub_questions": plan.sub_questions}
        )
        return {
            "sub_questions": plan.sub_questions,
            "cost": self._add(state.cost, plan.cost),
            "notes": _noted(state.notes, note),
            "event": event.n,
        }

    async def retrieve(self, state: State, *, dependents: bool = False) -> Update:
        """The first step: searches the index for every sub-question that can be searched for."""
        return await self._step(state, searches(state, dependents=dependents), node="retrieve")

    async def choose(self, state: State) -> Update:
        """Asks the reasoner for the next looks, or says why there are none: done, no budget left, going in circles."""
        if limit := self.run.meter.spent(state.cost):
            return self._stop(state, "budget", f"the budget of {_plain(limit)} is spent")
        started = self.run.wall()
        decision, note = await self._think(lambda: self.run.reasoner.decide(state), lambda: self._rules.decide(state))
        cost = self._add(state.cost, decision.cost)
        chosen = list({key(action): action for action in looks(decision.actions)}.values())
        fresh = [action for action in chosen if key(action) not in state.done and action.kind not in state.missing]
        payable, refused = self.run.meter.affordable(fresh, cost)
        # A look whose rate was lowered to fit the budget may have become one that was done before.
        payable = [action for action in payable if key(action) not in state.done]
        stopped, why = _ended(state, decision, chosen, fresh, payable)
        event = self.run.record(
            node="choose",
            step=state.cost.steps,
            parent=state.event,
            cost=decision.cost + Cost(steps=0),
            started=started,
            note=note or why,
            data={
                "actions": payable or decision.actions,
                "decision": decision.model_copy(update={"note": note}),
            },
        )
        return {
            "actions": tuple(payable),
            "cost": cost,
            "stopped": stopped,
            "notes": _noted(state.notes, note, *refused, why if stopped != "answered" else None),
            "event": event.n,
        }

    async def perceive(self, state: State) -> Update:
        """One step: runs the chosen looks in parallel."""
        return await self._step(state, [a for a in state.actions if not isinstance(a, Finish)], node="perceive")

    async def judge(self, state: State) -> Update:
        """Says what the evidence answers so far."""
        started = self.run.wall()
        judgement, note = await self._think(lambda: self.run.reasoner.judge(state), lambda: self._rules.judge(state))
        event = self.run.record(
            node="judge",
            step=state.cost.steps,
            parent=state.event,
            cost=judgement.cost,
            started=started,
            note=note,
            data={"sub_questions": judgement.sub_questions, "draft": judgement.draft},
        )
        return {
            "sub_questions": judgement.sub_questions,
            "draft": judgement.draft,
            "cost": self._add(state.cost, judgement.cost),
            "notes": _noted(state.notes, note),
            "event": event.n,
        }

    async def verify(self, state: State) -> Update:
        """The reserved last step: writes the answer, looks at its citations again, and rewrites it without those that
        were not seen again."""
        return await Checking(self.run, partial(self._think, answering=True)).verify(state)

    async def answer(self, state: State) -> Update:
        """Puts the answer together; the event carries it."""
        stopped: Stopped = state.stopped or ("answered" if state.draft.found else "exhausted")
        cost = self._add(state.cost, Cost(steps=1))
        answer = assemble(state, trace_id=self.run.trace_id, cost=cost, stopped=stopped)
        event = self.run.record(
            node="answer", step=cost.steps, parent=state.event, cost=Cost(steps=1), data={"answer": answer}
        )
        return {"answer": answer, "cost": cost, "stopped": stopped, "event": event.n}

    # What the nodes have in common.

    async def _think(
        self, ask: Callable[[], Awaitable[T]], otherwise: Callable[[], Awaitable[T]], *, answering: bool = False
    ) -> tuple[T, str | None]:
        """The reasoner's result in time; where it fails or is late, the rules' one and a note."""
        try:
            result = await self.run.meter.within(ask(), answering=answering)
        except TimeoutError:
            note = "the reasoner was cut off by the time limit; rules took over"
        except Exception as error:  # noqa: BLE001 - a reasoner that fails must not cost the answer
            note = f"the reasoner failed ({explain(error)}); rules took over"
        else:
            return result, result.note
        return await otherwise(), note

    async def _step(self, state: State, actions: Sequence[Perceiving], *, node: str) -> Update:
        """Runs actions in parallel as one step and takes in what they bring."""
        if limit := self.run.meter.spent(state.cost):
            return self._stop(state, "budget", f"the budget of {_plain(limit)} is spent")
        step = state.cost.steps + 1
        parent = state.event
        if node == "retrieve":
            parent = self.run.record(
                node=node, step=step, parent=parent, cost=Cost(steps=1), data={"actions": actions}
            ).n
            spent = Cost()
        else:
            spent = Cost(steps=1)
        outcomes = await asyncio.gather(*(self.run.perform(action) for action in actions))
        taken = _Taken(state)
        for index, outcome in enumerate(outcomes):
            above = taken.event_of(getattr(outcome.action, "parent", None), parent)
            if index == 0 and spent.steps:
                # The step is counted on its first event, so that the events' costs add up to the whole.
                cost = outcome.observation.cost + spent
                outcome = _with_cost(outcome, cost)
            event = self.run.write(outcome, node=node, step=step, parent=above)
            taken.add(outcome, event.n)
            self._failed(outcome, taken)
        return {
            **taken.update(),
            "actions": (),
            "cost": self._add(state.cost, taken.cost if node != "retrieve" else taken.cost + Cost(steps=1)),
            "event": parent,
        }

    def _failed(self, outcome: Outcome, taken: "_Taken") -> None:
        tool = outcome.action.kind
        if outcome.failure and not outcome.late:
            self._failures[tool] = self._failures.get(tool, 0) + 1
        if outcome.unavailable or self._failures.get(tool, 0) >= PATIENCE:
            taken.missing.add(tool)

    def _stop(self, state: State, stopped: Stopped, why: str) -> Update:
        return {"actions": (), "stopped": stopped, "notes": _noted(state.notes, why)}

    def _add(self, cost: Cost, more: Cost) -> Cost:
        """The sum, with the seconds that passed for the one who asked instead of the tools' own."""
        return (cost + more).model_copy(update={"seconds": round(self.run.meter.elapsed(), 6)})


class _Taken:
    """Takes in the outcomes of a step."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._evidence: dict[str, dict[str, Evidence]] = {
            name: {item.id: item for item in items} for name, items in state.evidence.items()
        }
        self._hits: dict[str, dict[str, Evidence]] = {
            name: {item.id: item for item in items} for name, items in state.hits.items()
        }
        self._views = list(state.views)
        self._searched = dict.fromkeys(state.searched)
        self._done = set(state.done)
        self._notes = list(state.notes)
        self.missing = set(state.missing)
        self.cost = Cost()

    def event_of(self, view_id: str | None, otherwise: int | None) -> int | None:
        """The event that looked at this view last."""
        events = [looked.event for looked in self._views if looked.view.id == view_id]
        return events[-1] if events else otherwise

    def add(self, outcome: Outcome, event: int) -> None:
        action, found = outcome.action, outcome.observation.evidence
        self._done.add(key(action))
        self.cost += outcome.observation.cost
        if outcome.note:
            self._notes.append(outcome.note)
        if isinstance(action, Search):
            hits = self._hits.setdefault(action.sub_question, {})
            for item in found:
                hits.setdefault(item.id, item)
        else:
            self._evidence.setdefault(action.sub_question, {}).update((item.id, item) for item in found)
            looked = Looked(
                view=action.view,
                parent=action.parent,
                tool=action.kind,
                sub_question=action.sub_question,
                event=event,
                found=len(found),
            )
            self._views.append(looked)
        if outcome.failure is None and not outcome.unavailable:
            self._searched.update(dict.fromkeys(covered(self._state, action)))

    def update(self) -> Mapping[str, Any]:
        return {
            "evidence": {name: tuple(items.values()) for name, items in self._evidence.items()},
            "hits": {name: tuple(items.values()) for name, items in self._hits.items()},
            "views": tuple(self._views),
            "searched": tuple(self._searched),
            "done": frozenset(self._done),
            "missing": frozenset(self.missing),
            "notes": tuple(dict.fromkeys(self._notes)),
        }


def covered(state: State, action: Perceiving) -> list[Searched]:
    """What one action covers: a view, or the searched part of each video in scope."""
    if not isinstance(action, Search):
        fps = None if action.kind == "listen" else action.view.fps
        query = action.question if isinstance(action, Look) else ""
        return [Searched(tool=action.kind, video_id=action.view.video_id, span=action.view.span, fps=fps, query=query)]
    found = []
    for video_id, span in bounds(state).items():
        if action.scope.video_ids and video_id not in action.scope.video_ids:
            continue
        part = span.intersect(action.scope.span) if action.scope.span is not None else span
        if part is not None:
            found.append(Searched(tool="search", video_id=video_id, span=part, query=action.query))
    return found


def _ended(
    state: State, decision: Decision, chosen: list[Perceiving], fresh: list[Perceiving], payable: list[Perceiving]
) -> tuple[Stopped | None, str | None]:
    """Why the looking ends, if it does."""
    if payable:
        return None, None
    if not chosen:
        reasons = [action.reason for action in decision.actions if action.reason]
        return "answered" if state.draft.found else "exhausted", reasons[0] if reasons else "nothing is left to look at"
    if fresh:
        return "budget", "the budget does not pay for another look"
    return "exhausted", "the same looks were chosen again"


def _with_cost(outcome: Outcome, cost: Cost) -> Outcome:
    observation = outcome.observation.model_copy(update={"cost": cost})
    return Outcome(
        outcome.action,
        observation,
        outcome.started,
        outcome.ended,
        outcome.failure,
        outcome.unavailable,
        outcome.late,
    )


def _noted(notes: tuple[str, ...], *more: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*notes, *(note for note in more if note)]))


def _plain(limit: str) -> str:
    return {"llm_tokens": "language model tokens", "visual_tokens": "visual tokens"}.get(limit, limit)
