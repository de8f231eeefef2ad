"""The agent's promises: one final event, budgets, failures, loops, time, and what the state holds."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from world import World, WorldToolbox, documentary, said, shown, unavailable

from agents.actions import Listen
from agents.agent import Agent
from agents.answer import Answer, SubQuestion
from agents.events import Event
from agents.question import Budget, Question
from agents.reasoner import REASONERS, Decision, Plan, Reasoner
from agents.reasoners.rules import RuleReasoner
from agents.state import Draft, State
from agents.strategies.zoom import Zoom
from agents.strategy import STRATEGIES, Graph
from agents.trace import TraceStore
from tools.errors import BadInput, NotFound
from tools.evidence import Cost, Observation, Scope
from tools.media.span import Span
from tools.media.video import Video
from tools.media.view import View

Make = Callable[..., Agent]
pytestmark = pytest.mark.anyio

QUESTIONS = [
    "How deep is the lake?",
    "What is written on screen right after the speaker mentions the lighthouse?",
    "How many times is the glacier mentioned?",
    "What colour is the canoe?",
    "Is there a face in the video?",
    "What is the price of bread?",
]
#: Reasoners that think without a model; others need a server, and their own tests give them one.
WITHOUT_MODEL = [name for name in REASONERS if name == "rules"]


async def run(agent: Agent, text: str = QUESTIONS[0], **changes: Any) -> tuple[list[Event], Answer]:
    changes.setdefault("scope", Scope(video_ids=("documentary",)))
    events = [event async for event in agent.stream(Question(text=text, **changes))]
    return events, Answer.model_validate(events[-1].data["answer"])


# Contract of every strategy with every reasoner.


@pytest.mark.parametrize("text", QUESTIONS)
@pytest.mark.parametrize("reasoner", WITHOUT_MODEL)
@pytest.mark.parametrize("strategy", STRATEGIES.names())
async def test_contract(make_agent: Make, traces: TraceStore, strategy: str, reasoner: str, text: str) -> None:
    events, answer = await run(make_agent(reasoner=REASONERS.create(reasoner)), text, strategy=strategy)
    assert [event.node for event in events].count("answer") == 1
    assert events[-1].node == "answer"
    assert events[0].node == "plan"
    assert [event.n for event in events] == list(range(len(events)))
    assert all(event.parent is None or event.parent < event.n for event in events)
    assert all(event.ended >= event.started for event in events)
    assert answer.searched
    assert answer.sub_questions
    assert (answer.verdict == "not_found") == (not answer.citations)
    trace = traces.open(answer.trace_id)
    assert trace.events == tuple(events)
    assert trace.result == answer
    assert trace.info.status == "done"
    # The costs of the events add up to the cost of the answer; seconds are the asker's own.
    total = sum((event.cost for event in events), Cost())
    assert total.model_copy(update={"seconds": 0}) == answer.cost.model_copy(update={"seconds": 0})
    assert answer.cost.seconds > 0


@pytest.mark.parametrize("strategy", STRATEGIES.names())
async def test_equal_runs_give_equal_events(make_agent: Make, strategy: str) -> None:
    def plain(events: Sequence[Event]) -> list[dict[str, Any]]:
        rows = [event.model_dump(mode="json", exclude={"started", "ended"}) for event in events]
        answer = rows[-1]["data"]["answer"]
        answer["trace_id"], answer["cost"]["seconds"] = "", 0.0
        return rows

    for text in QUESTIONS:
        first, _ = await run(make_agent(), text, strategy=strategy)
        second, _ = await run(make_agent(), text, strategy=strategy)
        assert plain(first) == plain(second)


async def test_zooming_draws_a_tree(make_agent: Make, traces: TraceStore) -> None:
    _, answer = await run(make_agent(), QUESTIONS[1])
    looks = [node for root in traces.open(answer.trace_id).tree() for node in root.walk() if node.view is not None]
    parents = {child.event for node in looks for child in node.children}
    assert parents, "no view has a child"
    frames = [frame for event in traces.open(answer.trace_id).events for frame in event.frames]
    assert frames
    assert traces.frame(answer.trace_id, frames[0].sha256)


# Budget.


@pytest.mark.parametrize("strategy", STRATEGIES.names())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.sampled_from(QUESTIONS),
    steps=st.integers(1, 8) | st.none(),
    frames=st.integers(0, 60) | st.none(),
    tokens=st.integers(0, 400) | st.none(),
)
def test_cost_stays_inside_the_budget(
    traces: TraceStore, strategy: str, text: str, steps: int | None, frames: int | None, tokens: int | None
) -> None:
    world = World({"documentary": (300.0, documentary())})
    agent = Agent(WorldToolbox(world), RuleReasoner(), traces, profile_name="test")
    budget = Budget(steps=steps, frames=frames, visual_tokens=tokens)
    events, answer = asyncio.run(run(agent, text, budget=budget, strategy=strategy))
    assert steps is None or answer.cost.steps <= steps
    assert frames is None or answer.cost.frames_decoded <= frames
    if tokens is not None:
        # Tokens are known only after a look: one step may go beyond.
        largest = max(
            (
                sum(event.cost.visual_tokens_kept for event in events if event.step == step)
                for step in {event.step for event in events}
            ),
            default=0,
        )
        assert answer.cost.visual_tokens_kept <= tokens + largest
    assert events[-1].node == "answer"


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
async def test_the_last_step_answers(make_agent: Make, steps: int) -> None:
    events, answer = await run(make_agent(), QUESTIONS[1], budget=Budget(steps=steps))
    assert answer.cost.steps == steps
    assert events[-1].step == steps
    assert answer.stopped == "budget"
    assert any("budget of steps" in note for note in answer.notes)
    assert all(event.node in ("verify", "answer") for event in events if event.step == steps)


async def test_one_step_is_enough_for_an_honest_answer(make_agent: Make) -> None:
    _, answer = await run(make_agent(), budget=Budget(steps=1))
    assert (answer.answer, answer.verdict) == ("Not found in the video.", "not_found")
    assert answer.cost.tool_calls == {}


async def test_without_frames_speech_still_answers(make_agent: Make) -> None:
    _, answer = await run(make_agent(), budget=Budget(frames=0))
    assert answer.verdict == "grounded"
    _, answer = await run(make_agent(), "What does the caption say at 1:10?", budget=Budget(frames=0))
    assert answer.answer == "Chapter Two: Fire"
    assert answer.verdict == "partially_grounded"
    assert answer.cost.frames_decoded == 0


async def test_langgraph_s_own_limit_never_ends_a_run(make_agent: Make) -> None:
    events, answer = await run(make_agent(reasoner=Wanderer()), budget=Budget(steps=60, frames=None, seconds=None))
    assert answer.stopped == "budget"
    assert answer.cost.steps == 60
    assert not any("failed" in note for note in answer.notes)
    assert events[-1].node == "answer"


# Time.


@pytest.mark.parametrize("verb", ["search", "listen", "read"])
async def test_a_slow_tool_is_cut_off(make_agent: Make, world: World, verb: str) -> None:
    agent = make_agent(toolbox=WorldToolbox(world, slow={verb: 60.0}))
    text = "What does the caption say at 1:10?" if verb == "read" else QUESTIONS[0]
    _, answer = await run(agent, text, budget=Budget(seconds=0.5))
    assert answer.cost.seconds < 30
    assert f"{verb} was cut off by the time limit" in answer.notes
    if verb == "listen":
        assert answer.answer == "the lake is forty two meters deep"
        assert answer.verdict == "partially_grounded"
    if verb == "read":
        assert answer.answer == "Chapter Two: Fire"
        assert answer.stopped == "budget"


async def test_a_slow_reasoner_is_replaced_by_rules(make_agent: Make) -> None:
    class Slow(RuleReasoner):
        async def answer(self, state: State) -> Draft:
            await asyncio.sleep(60)
            return await super().answer(state)

    _, answer = await run(make_agent(reasoner=Slow()), budget=Budget(seconds=0.5))
    assert answer.answer == "the lake is forty two meters deep"
    assert any("the reasoner was cut off by the time limit" in note for note in answer.notes)


async def test_leaving_the_stream_ends_the_run(make_agent: Make, world: World, traces: TraceStore) -> None:
    toolbox = WorldToolbox(world, slow={"search": 60.0})
    stream = make_agent(toolbox=toolbox).stream(Question(text=QUESTIONS[0]))
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    assert [info.status for info in traces.list()] == ["failed"]
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    assert not [name for name in names if name.startswith("Agent.stream")]


# Failures.


@pytest.mark.parametrize("verb", ["search", "listen", "read", "detect", "look"])
@pytest.mark.parametrize(
    "error", [unavailable("x"), RuntimeError("a bug"), ValueError()], ids=["missing", "bug", "bare"]
)
@pytest.mark.parametrize("strategy", STRATEGIES.names())
async def test_a_tool_that_fails_costs_no_answer(
    make_agent: Make, world: World, strategy: str, error: Exception, verb: str
) -> None:
    agent = make_agent(toolbox=WorldToolbox(world, broken={verb: error}))
    for text in QUESTIONS:
        events, answer = await run(agent, text, strategy=strategy)
        assert events[-1].node == "answer"
        called = [event for event in events if event.tool == verb]
        assert all(event.note for event in called)
        assert set(answer.notes) >= {event.note for event in called}


async def test_a_missing_tool_is_asked_once(make_agent: Make, world: World) -> None:
    toolbox = WorldToolbox(world, broken={"read": unavailable("ocr")})
    await run(make_agent(toolbox=toolbox), QUESTIONS[1])
    assert [verb for verb, _ in toolbox.calls].count("read") == 1


class Broken(RuleReasoner):
    """Fails in one of its methods."""

    def __init__(self, method: str) -> None:
        def fail(*_: Any) -> Any:
            raise RuntimeError(f"no {method} today")

        setattr(self, method, fail)


@pytest.mark.parametrize("method", ["plan", "decide", "judge", "answer"])
async def test_a_reasoner_that_fails_is_replaced_by_rules(make_agent: Make, method: str) -> None:
    _, answer = await run(make_agent(reasoner=Broken(method)), QUESTIONS[1])
    assert answer.answer == "Built 1887 by Henrik Olsen"
    assert f"the reasoner failed (no {method} today); rules took over" in answer.notes


class Crashing(Zoom):
    """A strategy with a node that has a bug."""

    def build(self, graph: Graph, nodes: Any) -> None:
        async def crash(state: State) -> dict[str, Any]:
            raise RuntimeError("a node with a bug")

        nodes.perceive = crash
        super().build(graph, nodes)


async def test_a_node_that_fails_costs_no_answer(make_agent: Make, traces: TraceStore) -> None:
    STRATEGIES.register("crashing", Crashing)
    try:
        # The index has found q1 already, and q2 is as far as it got.
        events, answer = await run(make_agent(), "What does the caption say at 1:10?", strategy="crashing")
    finally:
        STRATEGIES.unregister("crashing")
    assert [event.node for event in events].count("answer") == 1
    assert answer.answer == "Chapter Two: Fire"
    assert answer.stopped == "exhausted"
    assert any("a node with a bug" in note for note in answer.notes)
    assert traces.open(answer.trace_id).info.status == "done"


# Loops.


class _Fixed(Reasoner):
    async def plan(self, question: Question, videos: Sequence[Video]) -> Plan:
        return Plan(sub_questions=(SubQuestion(id="q1", text=question.text, kinds=("speech",), query=question.text),))

    async def answer(self, state: State) -> Draft:
        return state.draft


class Stuck(_Fixed):
    """Chooses the same look for ever."""

    async def decide(self, state: State) -> Decision:
        view = View(video_id=state.videos[0].id, span=Span.of(100, 110))
        return Decision(actions=(Listen(view=view, sub_question="q1", reason=f"try {len(state.views)}"),))


class Wanderer(_Fixed):
    """Always chooses something new and never finishes."""

    async def decide(self, state: State) -> Decision:
        view = View(video_id=state.videos[0].id, span=Span.of(len(state.views), len(state.views) + 1))
        return Decision(actions=(Listen(view=view, sub_question="q1"),))


async def test_a_loop_is_detected(make_agent: Make, toolbox: WorldToolbox) -> None:
    _, answer = await run(make_agent(reasoner=Stuck()), "How deep is the ocean?", budget=Budget(steps=50))
    assert answer.stopped == "exhausted"
    assert "the same looks were chosen again" in answer.notes
    assert answer.cost.tool_calls["listen"] == 1


# State.


class Watching(RuleReasoner):
    """Keeps every state that it is shown."""

    def __init__(self) -> None:
        self.states: list[State] = []

    async def judge(self, state: State) -> Any:
        self.states.append(state)
        return await super().judge(state)


async def test_the_state_holds_no_pixels(make_agent: Make) -> None:
    watching = Watching()
    for text in QUESTIONS:
        await run(make_agent(reasoner=watching), text)
    assert watching.states

    def check(value: Any) -> None:
        assert not isinstance(value, bytes | bytearray | memoryview | Observation)
        assert not hasattr(value, "__array__")
        for name in getattr(type(value), "model_fields", ()):
            check(getattr(value, name))
        if isinstance(value, dict):
            check(tuple(value.values()))
        if isinstance(value, tuple | list | frozenset):
            for item in value:
                check(item)

    for state in watching.states:
        for field in fields(state):
            check(getattr(state, field.name))


async def test_there_is_a_best_answer_at_every_moment(make_agent: Make) -> None:
    events, _ = await run(make_agent(), QUESTIONS[1])
    drafts = [event.data["draft"] for event in events if event.node == "judge"]
    assert [draft["text"] for draft in drafts][-1] == "Built 1887 by Henrik Olsen"
    assert len(drafts) >= 2


async def test_many_questions_at_the_same_time(make_agent: Make) -> None:
    agent = make_agent()
    together = await asyncio.gather(*(run(agent, text) for text in QUESTIONS))
    for text, (_, answer) in zip(QUESTIONS, together, strict=True):
        _, alone = await run(agent, text)
        assert answer.answer == alone.answer


async def test_cost_does_not_grow_with_the_video(traces: TraceStore) -> None:
    filler = [said(600 + 10 * n, 605 + 10 * n, f"item {n} is of no importance") for n in range(300)]
    costs = []
    for length, more in ((300.0, []), (3600.0, filler)):
        toolbox = WorldToolbox(World({"documentary": (length, [*documentary(), *more])}))
        agent = Agent(toolbox, RuleReasoner(), traces, profile_name="test")
        _, answer = await run(agent, QUESTIONS[1])
        costs.append((answer.answer, answer.cost.frames_decoded, answer.cost.tool_calls))
    assert costs[0] == costs[1]


@pytest.mark.parametrize("text", ["What does the speaker say about zebras?", "Which zebra is written on the slide?"])
async def test_what_an_index_does_not_know_is_not_sought_in_hours(traces: TraceStore, text: str) -> None:
    costs = []
    for length in (300.0, 3600.0):
        toolbox = WorldToolbox(World({"documentary": (length, [shown(10, 20, "bird")])}))
        _, answer = await run(Agent(toolbox, RuleReasoner(), traces, profile_name="test"), text)
        assert answer.verdict == "not_found"
        costs.append((answer.cost.frames_decoded, answer.cost.tool_calls))
    assert costs[0] == costs[1]
    # Where nothing is indexed, looking is the only way to know.
    toolbox = WorldToolbox(World({"documentary": (300.0, [])}), indexed=())
    _, answer = await run(Agent(toolbox, RuleReasoner(), traces, profile_name="test"), text)
    assert {verb for verb, _ in toolbox.calls} & {"listen", "read"}


# Bad input.


@pytest.mark.parametrize(
    ("fields_", "field", "says"),
    [
        ({"text": ""}, "question", "empty"),
        ({"text": "   \n"}, "question", "empty"),
        ({}, "question", "empty"),
        ({"text": 7}, "question", "empty"),
        ({"text": "x" * 100_000}, "question", "100000 characters"),
        ({"text": "?", "budget": {"steps": -1}}, "budget.steps", "-1"),
        ({"text": "?", "budget": {"steps": 0}}, "budget.steps", "0"),
        ({"text": "?", "budget": {"frames": -5}}, "budget.frames", "-5"),
        ({"text": "?", "budget": {"seconds": 0}}, "budget.seconds", "0"),
        ({"text": "?", "budget": {"setps": 3}}, "budget.setps", "did you mean 'steps'"),
        ({"text": "?", "budget": {"steps": "many"}}, "budget.steps", "integer"),
        ({"text": "?", "scope": {"span": {"start": 9, "end": 3}}}, "scope.span", "ends before it starts"),
        ({"text": "?", "options": ["x"] * 27}, "options", "27 options"),
        ({"text": "?", "stratgy": "zoom"}, "stratgy", "did you mean 'strategy'"),
    ],
)
def test_a_question_that_cannot_be_used(fields_: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        Question.parse(fields_)
    assert caught.value.field == field
    assert says in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_a_question_is_parsed() -> None:
    question = Question.parse({"text": "  How deep? ", "budget": {"steps": 3}, "scope": {"video_ids": ["a"]}})
    assert (question.text, question.budget.steps, question.scope.video_ids) == ("How deep?", 3, ("a",))


@pytest.mark.parametrize(
    ("changes", "kind", "field", "says"),
    [
        ({"strategy": "zom"}, BadInput, "strategy", "did you mean 'zoom'?"),
        ({"strategy": ""}, BadInput, "strategy", "zoom"),
        ({"scope": Scope(video_ids=("documentary",), span=Span.of(400, 500))}, BadInput, "scope.span", "05:00"),
        ({"scope": Scope(video_ids=("nothing",))}, NotFound, "scope.video_ids", "nothing"),
    ],
)
async def test_refused_before_the_first_event(
    make_agent: Make, traces: TraceStore, changes: dict[str, Any], kind: type[Exception], field: str, says: str
) -> None:
    with pytest.raises(kind) as caught:
        await run(make_agent(), **changes)
    assert getattr(caught.value, "field", None) == field
    assert says in str(caught.value)
    assert traces.list() == []


async def test_without_videos_there_is_nothing_to_ask(make_agent: Make) -> None:
    with pytest.raises(NotFound):
        await run(make_agent(toolbox=WorldToolbox(World({}))), scope=Scope())


async def test_events_can_be_sent_as_json(make_agent: Make) -> None:
    events, _ = await run(make_agent(), QUESTIONS[1])
    for event in events:
        assert Event.model_validate(json.loads(event.model_dump_json())) == event


def test_the_stream_is_an_async_iterator(make_agent: Make) -> None:
    assert isinstance(make_agent().stream(Question(text="?")), AsyncIterator)
