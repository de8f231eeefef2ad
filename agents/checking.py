"""The last step: write the answer, look at its citations again, and write it anew where one does not hold."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from agents.answer import CitationVerdict
from agents.reasoners.rules import RuleReasoner
from agents.rules.judge import bounds, judge
from agents.run import Run
from agents.state import Draft, State
from agents.verifier import check, second_look
from tools.evidence import Cost, Evidence

#: How often an answer is written anew after citations were rejected.
ROUNDS = 3
#: Citations that are checked; the rest of a long list stays unverified.
MOST_CHECKS = 6

Think = Callable[[Callable[[], Awaitable[Draft]], Callable[[], Awaitable[Draft]]], Awaitable[tuple[Draft, str | None]]]


class Checking:
    """Checks a draft within what is left of the budget."""

    def __init__(self, run: Run, think: Think) -> None:
        self._run = run
        self._think = think
        self._rules = RuleReasoner()
        self._cost = Cost()
        self._notes: list[str] = []

    async def verify(self, state: State) -> dict[str, Any]:
        """The draft whose citations were checked, the verdicts, cost and notes."""
        checks: dict[str, CitationVerdict] = dict(state.checks)
        draft = state.draft
        for round_ in range(ROUNDS):
            now = _changed(state, draft=draft, checks=dict(checks), cost=state.cost + self._cost)
            draft = await self._write(now, first=round_ == 0)
            cited = _cited(now, draft)
            rejected = await self._check(now, draft, [item for item in cited if item.id not in checks], checks)
            if not rejected:
                break
        else:
            draft = judge(_changed(state, checks=dict(checks))).draft
        items = judge(_changed(state, checks=dict(checks))).sub_questions if draft.found else state.sub_questions
        cost = (state.cost + self._cost).model_copy(update={"seconds": round(self._run.meter.elapsed(), 6)})
        return {
            "draft": draft,
            "checks": checks,
            "cost": cost,
            "notes": tuple(dict.fromkeys([*state.notes, *self._notes])),
            "sub_questions": items,
        }

    async def _write(self, state: State, *, first: bool) -> Draft:
        """The reasoner's answer; without time or tokens for it, the best one so far."""
        if not self._run.meter.can_write(state.cost):
            return state.draft if first else judge(state).draft
        started = self._run.wall()
        draft, note = await self._think(lambda: self._run.reasoner.answer(state), lambda: self._rules.answer(state))
        self._cost += draft.cost
        if note:
            self._notes.append(note)
        self._run.record(
            node="verify",
            step=state.cost.steps + 1,
            parent=state.event,
            cost=draft.cost,
            started=started,
            note=note,
            data={"draft": draft},
        )
        return draft

    async def _check(
        self, state: State, draft: Draft, cited: list[Evidence], checks: dict[str, CitationVerdict]
    ) -> list[str]:
        """Looks at each citation again; fills ``checks`` and returns the ids that were rejected."""
        limits = bounds(state)
        asked = {id_: claim.sub_question for claim in draft.claims for id_ in claim.evidence_ids}
        texts = {item.id: item.text for item in state.sub_questions}
        actions = []
        room = MOST_CHECKS - len(checks)
        for item in cited[: max(room, 0)]:
            action = second_look(item, texts.get(asked[item.id], state.question.text), limits[item.video_id])
            payable, refused = self._run.meter.affordable([action], state.cost + self._cost, answering=True)
            self._notes += refused
            if payable and action.kind not in state.missing and self._run.meter.time_left(answering=True) != 0.0:
                actions.append((item, payable[0]))
        performed = await asyncio.gather(*(self._run.perform(action, answering=True) for _, action in actions))
        rejected = []
        for (item, _), outcome in zip(actions, performed, strict=True):
            result = check(item, outcome)
            checks[item.id] = result.verdict
            self._cost += outcome.observation.cost
            if outcome.note:
                self._notes.append(outcome.note)
            if result.verdict == "rejected":
                rejected.append(item.id)
            self._run.write(
                outcome,
                node="verify",
                step=state.cost.steps + 1,
                parent=_event_of(state, item),
                data={"evidence_id": item.id, **vars(result)},
            )
        return rejected


def _cited(state: State, draft: Draft) -> list[Evidence]:
    known = state.all_evidence()
    limits = bounds(state)
    ids = dict.fromkeys(id_ for claim in draft.claims for id_ in claim.evidence_ids)
    return [known[id_] for id_ in ids if id_ in known and known[id_].video_id in limits]


def _event_of(state: State, item: Evidence) -> int | None:
    """The look that a citation came from; the main line for one that came from the index."""
    if item.view is None:
        return state.event
    return next((looked.event for looked in state.views if looked.view.id == item.view.id), state.event)


def _changed(state: State, **fields: Any) -> State:
    return State(**{**vars(state), **fields})
