"""Replay and fork: the same decisions give the same answer, other decisions lead elsewhere."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from world import World, WorldToolbox, documentary, unavailable, written

from agents.actions import Action, Finish, Listen, Read, Search
from agents.agent import Agent
from agents.answer import Answer
from agents.events import Event, Trace
from agents.question import Budget, Question
from agents.reasoner import Decision
from agents.reasoners.rules import RuleReasoner
from agents.recorded import NotRecorded, RecordedReasoner, RecordedToolbox, Tape
from agents.replay import fork, forkable, replay
from agents.trace import TraceStore
from tools.errors import BadInput
from tools.evidence import Scope
from tools.media.span import Span
from tools.media.view import View

QUESTIONS = [
    "How deep is the lake?",
    "What is written on screen right after the speaker mentions the lighthouse?",
    "How many times is the glacier mentioned?",
    "What does the man say about elephants?",
    "Is there a face in the video?",
    "What is seen on the lake?",
]


def asked(agent: Agent, traces: TraceStore, text: str, **changes: Any) -> Trace:
    return traces.open(asyncio.run(agent.ask(Question(text=text, **changes))).trace_id)


def without_time(answer: Answer) -> dict[str, Any]:
    data = answer.model_dump()
    data["cost"]["seconds"] = 0
    return data


def recorded(trace: Trace) -> Answer:
    assert trace.result is not None
    return trace.result


@pytest.mark.parametrize("strategy", ["zoom", "single_pass"])
@pytest.mark.parametrize("text", QUESTIONS)
def test_a_replay_needs_nothing_and_gives_the_same_answer(
    make_agent: Callable[..., Agent], toolbox: WorldToolbox, traces: TraceStore, text: str, strategy: str
) -> None:
    trace = asked(make_agent(), traces, text, strategy=strategy)
    calls = len(toolbox.calls)
    first, second = (asyncio.run(replay(trace)) for _ in range(2))
    assert first == second
    assert first.differences == ()
    assert without_time(first.answer) == without_time(recorded(trace))
    assert len(toolbox.calls) == calls
    assert len(traces.list()) == 1, "a replay leaves no trace behind"


@pytest.mark.parametrize(
    "trouble",
    [
        {"broken": {"read": unavailable("ocr")}},
        {"broken": {"listen": RuntimeError("the model fell over")}},
        {"indexed": ("speech", "text", "object")},
    ],
)
@pytest.mark.parametrize("text", QUESTIONS)
def test_failures_are_replayed_too(
    make_agent: Callable[..., Agent], world: World, traces: TraceStore, text: str, trouble: dict[str, Any]
) -> None:
    trace = asked(make_agent(toolbox=WorldToolbox(world, **trouble)), traces, text)
    again = asyncio.run(replay(trace))
    assert again.differences == ()
    assert without_time(again.answer) == without_time(recorded(trace))


@pytest.mark.parametrize(
    "budget",
    [
        Budget(steps=1, frames=None),
        Budget(steps=3, frames=None),
        Budget(frames=0),
        Budget(frames=5),
        Budget(frames=None, seconds=0.4),
        Budget(frames=None, seconds=1e-3),
    ],
)
def test_a_budget_bites_in_the_same_place(
    make_agent: Callable[..., Agent], world: World, traces: TraceStore, budget: Budget
) -> None:
    slow = WorldToolbox(world, slow={"read": 0.2, "listen": 0.2})
    trace = asked(make_agent(toolbox=slow), traces, QUESTIONS[1], budget=budget)
    again = asyncio.run(replay(trace))
    assert without_time(again.answer) == without_time(recorded(trace))
    if budget.frames is None or budget.frames == 0:
        assert again.answer.stopped == "budget"


class Talkative(RuleReasoner):
    """Says something with everything it decides, and decides in vain now and then."""

    async def decide(self, state: Any) -> Decision:
        decision = await super().decide(state)
        return decision.model_copy(update={"note": f"step {state.cost.steps} was hard"})


def test_notes_and_costs_of_thoughts_are_replayed(make_agent: Callable[..., Agent], traces: TraceStore) -> None:
    trace = asked(make_agent(reasoner=Talkative()), traces, QUESTIONS[1])
    assert any("was hard" in note for note in recorded(trace).notes)
    assert without_time(asyncio.run(replay(trace)).answer) == without_time(recorded(trace))


def test_a_live_replay_of_an_unchanged_world_differs_in_nothing(
    make_agent: Callable[..., Agent], toolbox: WorldToolbox, traces: TraceStore
) -> None:
    trace = asked(make_agent(), traces, QUESTIONS[1])
    calls = list(toolbox.calls)
    again = asyncio.run(replay(trace, toolbox))
    assert again.differences == ()
    assert toolbox.calls[len(calls) :] == calls, "the same calls in the same order"


def test_a_live_replay_reports_what_has_changed(
    make_agent: Callable[..., Agent], world: World, traces: TraceStore
) -> None:
    trace = asked(make_agent(), traces, QUESTIONS[1])
    assert "1887" in recorded(trace).answer
    facts = [fact for fact in documentary() if "1887" not in fact.text] + [written(46, 58, "Closed for repairs")]
    changed = WorldToolbox(replace(world, videos=world.videos | {"documentary": (300.0, facts)}))
    differences = asyncio.run(replay(trace, changed)).differences
    assert any("no longer gives text 'Built 1887 by Henrik Olsen'" in text for text in differences)
    assert any("now gives text 'Closed for repairs'" in text for text in differences)

    broken = WorldToolbox(world, broken={"read": unavailable("ocr")})
    differences = asyncio.run(replay(trace, broken)).differences
    assert any(text.startswith("call read(") and "failed: this profile has no tool" in text for text in differences)


def test_what_was_not_recorded_is_a_clear_error(make_agent: Callable[..., Agent], traces: TraceStore) -> None:
    trace = asked(make_agent(), traces, QUESTIONS[1])
    box = RecordedToolbox(trace, Tape(trace))
    with pytest.raises(NotRecorded, match=r"holds no call listen\(02:00-02:07 at 1 fps, 360 px\)") as caught:
        asyncio.run(box.listen(View(video_id="documentary", span=Span.of(120, 127))))
    assert caught.value.field == "trace_id"
    with pytest.raises(NotRecorded, match="search"):
        asyncio.run(box.search("elephants", Scope()))
    assert asyncio.run(box.videos(Scope())) == list(trace.videos)

    def cut(node: str) -> Trace:
        kept = [event for event in trace.events if event.node != node]
        return replace(trace, events=tuple(event.model_copy(update={"parent": None}) for event in kept))

    for node in ("perceive", "judge", "plan"):
        with pytest.raises(NotRecorded, match="holds no"):
            asyncio.run(replay(cut(node)))


def test_a_run_without_an_answer_is_not_replayed(traces: TraceStore) -> None:
    with traces.create(Question(text="why?"), "test") as recorder:
        recorder.record(node="plan")
    with pytest.raises(BadInput, match="no answer to come to again"):
        asyncio.run(replay(traces.open(recorder.id)))


def forked(trace: Trace, step: int, actions: Any, toolbox: Any, traces: TraceStore) -> tuple[list[Event], Trace]:
    async def run() -> list[Event]:
        stream = fork(trace, step, actions, toolbox=toolbox, reasoner=RuleReasoner(), traces=traces)
        return [event async for event in stream]

    events = asyncio.run(run())
    return events, traces.open(traces.list(limit=1)[0].id)


def prefix(trace: Trace, step: int) -> list[tuple[Any, ...]]:
    """What happened before the choice of ``step``, without times."""
    found: list[tuple[Any, ...]] = []
    for event in trace.events:
        if event.node == "choose" and event.step + 1 == step:
            break
        found.append(
            (event.n, event.step, event.parent, event.node, event.tool, event.args, event.evidence, event.frames)
        )
    return found


def test_a_fork_shares_the_past_and_goes_its_own_way(
    make_agent: Callable[..., Agent], toolbox: WorldToolbox, traces: TraceStore
) -> None:
    trace = asked(make_agent(), traces, QUESTIONS[1])
    step = forkable(trace)[-1]
    toolbox.calls.clear()
    elsewhere = Read(view=View(video_id="documentary", span=Span.of(96, 104)), reason="have a look there")
    events, other = forked(trace, step, elsewhere, toolbox, traces)
    assert other.id != trace.id
    assert other.info.forked_from is not None
    assert (other.info.forked_from.trace_id, other.info.forked_from.step) == (trace.id, step)
    assert prefix(other, step) == prefix(trace, step)
    assert list(other.events) == events
    assert events[-1].node == "answer"
    assert toolbox.calls[0] == ("read", elsewhere.view), "only what is new is perceived"
    chosen = next(event for event in events if event.node == "choose" and event.step + 1 == step)
    assert chosen.note == f"step {step} was chosen by hand"
    assert any(
        item.text == "Professor Lena Fischer" for event in events if event.step == step for item in event.evidence
    )


def test_a_fork_that_finishes_early_answers_from_the_past(make_agent: Callable[..., Agent], traces: TraceStore) -> None:
    trace = asked(make_agent(), traces, QUESTIONS[1])
    step = forkable(trace)[0]
    events, other = forked(trace, step, Finish(reason="enough"), None, traces)
    assert other.info.status == "done"
    assert not [event for event in events if event.node == "perceive"]


def test_a_fork_without_a_toolbox_goes_on_without_new_looks(
    make_agent: Callable[..., Agent], traces: TraceStore
) -> None:
    trace = asked(make_agent(), traces, QUESTIONS[0])
    step = forkable(trace)[0]
    view = View(video_id="documentary", span=Span.of(0, 9))
    _, other = forked(trace, step, [Listen(view=view), Search(query="elephants")], None, traces)
    assert other.info.status == "done"
    failed = [event for event in other.events if event.data.get("failure")]
    assert failed
    assert all("holds no call" in (event.note or "") for event in failed)


def test_a_crashed_run_is_continued_by_a_fork(
    make_agent: Callable[..., Agent], toolbox: WorldToolbox, traces: TraceStore
) -> None:
    trace = asked(make_agent(), traces, QUESTIONS[1])
    step = forkable(trace)[-1]
    recorder = traces.create(trace.info.question, "test", videos=trace.videos)
    for event in trace.events:
        fields = dict(event) | {"frames": trace.frames(event)}
        assert recorder.record(**{name: value for name, value in fields.items() if name != "n"}) == event
        if event.node == "choose" and event.step + 1 == step:
            break
    crashed_id = recorder.id
    del recorder  # gone without a word, as by a crash
    crashed = traces.open(crashed_id)
    assert crashed.info.status == "crashed"
    actions = Decision.model_validate(crashed.events[-1].data["decision"]).actions
    _, other = forked(crashed, step, actions, toolbox, traces)
    assert recorded(other).answer == recorded(trace).answer


def test_forks_that_cannot_be_are_refused_before_they_begin(
    make_agent: Callable[..., Agent], toolbox: WorldToolbox, traces: TraceStore
) -> None:
    trace = asked(make_agent(), traces, QUESTIONS[0])
    for step in (-1, 0, 99):
        with pytest.raises(BadInput) as caught:
            fork(trace, step, Finish(), toolbox=toolbox, reasoner=RuleReasoner(), traces=traces)
        assert caught.value.field == "step"
    strangers: list[Action] = [
        Read(view=View(video_id="stranger", span=Span.of(0, 1))),
        Search(query="x", scope=Scope(video_ids=("stranger",))),
    ]
    for action in strangers:
        with pytest.raises(BadInput) as caught:
            fork(trace, forkable(trace)[0], action, toolbox=toolbox, reasoner=RuleReasoner(), traces=traces)
        assert caught.value.field == "action.view.video_id"
    assert len(traces.list()) == 1


def test_a_recorded_reasoner_has_nothing_to_add_at_the_end(
    make_agent: Callable[..., Agent], traces: TraceStore
) -> None:
    from agents.state import State

    trace = asked(make_agent(), traces, QUESTIONS[0])
    reasoner = RecordedReasoner(trace, Tape(trace))
    state = State(question=trace.info.question)
    for _ in forkable(trace):
        asyncio.run(reasoner.decide(state))
    assert asyncio.run(reasoner.decide(state)).actions == (Finish(reason="the record ends here"),)
