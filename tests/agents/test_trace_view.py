"""The trace in the terminal: everything that matters is there, at any width, and nothing in a video steers it."""

import asyncio
import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console, RenderableType
from world import World, WorldToolbox, documentary, unavailable, written

from agents.agent import Agent
from agents.events import Event, Trace
from agents.question import Question
from agents.trace import TraceStore
from agents.trace_view import TraceView, runs_table

LIGHTHOUSE = "What is written on screen right after the speaker mentions the lighthouse?"


def rendered(view: RenderableType, width: int = 100, colour: bool = False) -> str:
    console = Console(width=width, file=io.StringIO(), record=True, force_terminal=colour, legacy_windows=False)
    console.print(view)
    return console.export_text(styles=colour)


def asked(agent: Agent, traces: TraceStore, text: str, **changes: object) -> Trace:
    return traces.open(asyncio.run(agent.ask(Question(text=text, **changes))).trace_id)  # type: ignore[arg-type]


@pytest.fixture
def one_video(make_agent: Callable[..., Agent]) -> Agent:
    return make_agent(toolbox=WorldToolbox(World({"documentary": (300.0, documentary())})))


def test_the_whole_story_is_told(one_video: Agent, traces: TraceStore) -> None:
    trace = asked(one_video, traces, LIGHTHOUSE)
    text = rendered(TraceView(trace))
    assert trace.result is not None
    for expected in (
        LIGHTHOUSE,
        trace.id,
        "documentary.mp4  05:00",
        "● q1 the speaker mentions the lighthouse",
        "● q2 What is written on screen (right after q1)",
        "search ‘lighthouse’",
        "read 00:46-00:58",
        "✔ check listen 00:39-00:45",
        "▌ grounded",
        "▌ ✔ 00:46-00:58 text “Built 1887 by Henrik Olsen”",
        f"{trace.result.cost.steps} steps",
    ):
        assert expected in text
    looks = [line for line in text.splitlines() if "─ " in line]
    assert len(looks) == len([event for event in trace.events if event.tool])


def test_a_look_that_zooms_hangs_below_the_one_it_zooms_into(one_video: Agent, traces: TraceStore) -> None:
    trace = asked(one_video, traces, LIGHTHOUSE)
    lines = rendered(TraceView(trace)).splitlines()
    depth = {
        event.n: line.index("─ ")
        for event in trace.events
        if event.tool == "read" and event.view is not None
        for line in lines
        if f"─ {event.step} " in line and "read" in line
    }
    reads = [event for event in trace.events if event.n in depth]
    assert len(reads) == 3
    for event in reads[1:]:
        assert event.parent is not None
        assert depth[event.n] == depth[event.parent] + 3


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(make_agent: Callable[..., Agent], traces: TraceStore, width: int) -> None:
    question = "What is written on screen after the speaker mentions the bridge? " + "Think about it. " * 10
    trace = asked(make_agent(), traces, question, options=("Porto", "Ponte 25 de Abril " * 20))
    for view in (TraceView(trace), runs_table(traces.list())):
        lines = rendered(view, width).splitlines()
        assert max(map(len, lines)) <= width
    assert "v2  travel.mp4" in rendered(TraceView(trace), width)


def bar_of(trace: Trace, event: Event) -> str:
    line = next(text for text in rendered(TraceView(trace), 160).splitlines() if f"─ {event.step} " in text)
    return "".join(char for char in line[40:] if char in "─▒█")


def test_the_bar_shows_where_it_looked_and_where_it_found(one_video: Agent, traces: TraceStore) -> None:
    trace = asked(one_video, traces, LIGHTHOUSE)
    view_event = next(event for event in trace.events if event.tool == "read")
    bar = bar_of(trace, view_event)
    assert len(bar) == 40
    assert [i for i, cell in enumerate(bar) if cell != "─"] == [6, 7], "46 to 58 s of 300 s on 40 cells"
    nothing = view_event.model_copy(update={"evidence": ()})
    emptied = replace(trace, events=tuple(nothing if e.n == nothing.n else e for e in trace.events))
    assert bar_of(emptied, nothing) == "─" * 6 + "▒▒" + "─" * 32


def test_control_characters_and_markup_in_a_video_do_nothing(
    make_agent: Callable[..., Agent], traces: TraceStore
) -> None:
    nasty = "lake \x1b[2J\x1b]0;owned\x07 [bold red]sign[/]\r\n\u202eevil"
    world = World({"vi\x1bdeo": (60.0, [written(10, 20, nasty)])})
    trace = asked(make_agent(toolbox=WorldToolbox(world)), traces, "What is written about the lake?")
    for view in (TraceView(trace), runs_table(traces.list())):
        text = rendered(view, 200)
        assert "[bold red]sign[/]" in text
        assert not set(text) & set("\x1b\x07\r\u202e")


def test_runs_that_did_not_end_well(traces: TraceStore) -> None:
    with traces.create(Question(text="first"), "test") as recorder:
        recorder.record(node="plan")
    traces.create(Question(text="second"), "test")
    texts = [rendered(TraceView(traces.open(info.id))) for info in traces.list()]
    assert "crashed" in texts[0]
    assert "the last event is nothing" in texts[0]
    assert "failed" in texts[1]
    assert "it ended without an answer" in texts[1]
    assert "the last event is plan" in texts[1]
    table = rendered(runs_table(traces.list()))
    assert "second" in table.splitlines()[1]
    assert "it ended without an answer" in table


def test_tools_that_fail_say_so(world: World, make_agent: Callable[..., Agent], traces: TraceStore) -> None:
    broken = WorldToolbox(world, broken={"read": unavailable("ocr")})
    text = rendered(TraceView(asked(make_agent(toolbox=broken), traces, LIGHTHOUSE)), 160)
    assert "nothing found  read is not available" in text
