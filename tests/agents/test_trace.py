"""Traces on disk: laws of the record, what survives a crash, and what is refused."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.answer import Answer
from agents.question import Question
from agents.trace import Event, Fork, FrameRef, TraceStore
from tools.errors import BadInput, NotFound
from tools.evidence import Cost, Evidence, SeenFrame
from tools.media.span import Span
from tools.media.view import Region, View

QUESTION = Question(text="What is written on the door?")
VIEW = View(video_id="v", span=Span.of(1, 2), fps=2, region=Region.of(0, 0, 0.5, 0.5), short_side=480)


def answer(trace_id: str) -> Answer:
    return Answer(
        answer="EXIT",
        confidence=0.9,
        verdict="grounded",
        trace_id=trace_id,
        cost=Cost(steps=2, seconds=1.5),
        stopped="answered",
    )


def evidence(text: str = "EXIT") -> Evidence:
    return Evidence.make(
        video_id="v", kind="text", span=Span.of(1, 2), text=text, score=0.8, tool="read", model="m", view=VIEW
    )


@pytest.fixture
def store(tmp_path: Path) -> TraceStore:
    return TraceStore(tmp_path / "traces")


def lines(store: TraceStore, trace_id: str) -> list[bytes]:
    return (store.root / trace_id / "events.jsonl").read_bytes().splitlines()


spans = st.tuples(st.floats(0, 1e5), st.floats(0, 1e4)).map(lambda t: Span.of(t[0], t[0] + t[1]))
jsons = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
events = st.builds(
    Event,
    n=st.integers(5, 10**6),
    step=st.integers(0, 1000),
    parent=st.none() | st.integers(0, 4),
    node=st.text(min_size=1, max_size=10),
    tool=st.none() | st.sampled_from(["look", "read"]),
    view=st.none() | st.builds(View, video_id=st.text(max_size=8), span=spans, fps=st.floats(0.01, 240)),
    args=st.dictionaries(st.text(max_size=5), jsons, max_size=3),
    evidence=st.lists(st.builds(evidence, st.text(max_size=20)), max_size=2).map(tuple),
    frames=st.lists(st.builds(FrameRef, time=st.floats(0, 1e6), sha256=st.just("0" * 64)), max_size=2).map(tuple),
    cost=st.builds(Cost, steps=st.integers(0, 9), seconds=st.floats(0, 1e6)),
    started=st.floats(0, 1e10),
    ended=st.floats(0, 1e10),
    note=st.none() | st.text(),
    data=st.dictionaries(st.text(max_size=5), jsons, max_size=3),
)


@given(event=events)
def test_an_event_goes_through_json_byte_for_byte(event: Event) -> None:
    line = event.model_dump_json()
    again = Event.model_validate_json(line)
    assert again == event
    assert again.model_dump_json() == line
    assert "\n" not in line


@settings(max_examples=25)
@given(recorded=st.lists(st.tuples(st.text(), st.dictionaries(st.text(max_size=5), jsons, max_size=3)), max_size=12))
def test_what_is_recorded_is_read_in_the_same_order(
    recorded: list[tuple[str, dict[str, Any]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = TraceStore(tmp_path_factory.mktemp("traces"))
    with store.create(QUESTION, "embedded") as recorder:
        written = [recorder.record(node="n", note=note, data=data) for note, data in recorded]
        assert list(store.open(recorder.id).events) == written, "readable while it is written"
        recorder.finish(answer(recorder.id))
    trace = store.open(recorder.id)
    assert [event.n for event in trace.events] == list(range(len(recorded)))
    assert list(trace.events) == written
    assert lines(store, trace.id) == [event.model_dump_json().encode() for event in written]


def test_a_run_from_start_to_end(store: TraceStore) -> None:
    recorder = store.create(QUESTION, "embedded", prompts={"plan": "ab" * 32}, forked_from=Fork(trace_id="t", step=2))
    assert store.open(recorder.id).info.status == "running"
    frame = SeenFrame(time=1.25, jpeg=b"picture")
    event = recorder.record(node="perceive", tool="read", view=VIEW, evidence=(evidence(),), frames=(frame, frame))
    recorder.finish(answer(recorder.id))

    trace = store.open(recorder.id)
    assert trace.info.status == "done"
    assert trace.info.prompts == {"plan": "ab" * 32}
    assert trace.info.forked_from == Fork(trace_id="t", step=2)
    assert (trace.info.answer, trace.info.verdict) == ("EXIT", "grounded")
    assert trace.info.cost == Cost(steps=2, seconds=1.5)
    assert trace.result == answer(recorder.id)
    assert trace.info.ended is not None
    assert trace.info.ended >= trace.info.created
    assert trace.event(0) == event
    assert trace.event(1) is None
    assert [ref.time for ref in event.frames] == [1.25, 1.25]
    assert store.frame(trace.id, event.frames[0].sha256) == b"picture"
    assert len(list((store.root / trace.id / "blobs").iterdir())) == 1, "equal frames are stored once"
    assert store.list() == [trace.info]


def test_an_exception_marks_the_run_as_failed(store: TraceStore) -> None:
    recorder = store.create(QUESTION, "embedded")
    with pytest.raises(ZeroDivisionError), recorder:
        raise ZeroDivisionError("by zero")
    info = store.open(recorder.id).info
    assert (info.status, info.error) == ("failed", "ZeroDivisionError: by zero")


def test_leaving_without_an_answer_is_a_failure(store: TraceStore) -> None:
    with store.create(QUESTION, "embedded") as recorder:
        pass
    assert store.open(recorder.id).info.error == "it ended without an answer"


def test_data_of_every_kind_is_stored_as_json(store: TraceStore) -> None:
    with store.create(QUESTION, "embedded") as recorder:
        event = recorder.record(
            node="plan",
            note="lone \ud800 surrogate",
            args={"labels": ("a", "b"), "score": np.float32(0.5), 3: {1}},
            data={"nan": float("nan"), "deep": [float("inf")], "cost": Cost(steps=1), "object": Path, "text": "\ud800"},
        )
    assert event.args == {"labels": ["a", "b"], "score": 0.5, "3": [1]}
    assert event.data["nan"] is None
    assert event.data["deep"] == [None]
    assert event.data["cost"] == Cost(steps=1).model_dump()
    assert event.data["text"] == "?"
    assert store.open(recorder.id).events == (event,)


def test_ids_are_unique_and_sort_by_time(tmp_path: Path) -> None:
    times = iter([10.0, 10.0, 9.0, *(1e9 for _ in range(100))])  # a clock that stands still and one that goes back
    store = TraceStore(tmp_path, clock=lambda: next(times))
    ids = []
    for _ in range(3):
        recorder = store.create(QUESTION, "embedded")
        ids.append(recorder.id)
    assert ids == sorted(set(ids))
    assert [info.id for info in store.list()] == ids[::-1]
    assert [info.id for info in store.list(limit=2)] == ids[:0:-1]


def test_eight_threads_record_into_one_trace(store: TraceStore) -> None:
    recorder = store.create(QUESTION, "embedded")

    def work(thread: int) -> list[Event]:
        picture = SeenFrame(time=0, jpeg=b"shared")
        return [
            recorder.record(node=f"t{thread}", data={"i": i}, frames=(picture, SeenFrame(time=i, jpeg=b"%d" % i)))
            for i in range(50)
        ]

    with ThreadPoolExecutor(8) as pool:
        written = [event for batch in pool.map(work, range(8)) for event in batch]
    recorder.finish(answer(recorder.id))
    trace = store.open(recorder.id)
    assert trace.info.warnings == ()
    assert [event.n for event in trace.events] == list(range(400))
    assert sorted(written, key=lambda event: event.n) == list(trace.events)
    for thread in range(8):
        assert [event.data["i"] for event in trace.events if event.node == f"t{thread}"] == list(range(50))
    assert all(a.ended <= b.ended for a, b in pairwise(trace.events))
    assert len(list((store.root / trace.id / "blobs").iterdir())) == 51


_WRITER = """
import sys
from pathlib import Path
from agents.trace import TraceStore
from agents.question import Question
from tools.evidence import SeenFrame

recorder = TraceStore(Path(sys.argv[1])).create(Question(text="why?"), "embedded")
print(recorder.id, flush=True)
n = 0
while True:
    recorder.record(node="perceive", frames=(SeenFrame(time=n, jpeg=b"%d" % n),), data={"pad": "x" * 5000})
    n += 1
    if n == 20:
        print("twenty", flush=True)
"""


@pytest.mark.slow
def test_a_killed_run_leaves_a_readable_trace(store: TraceStore) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(store.root)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    try:
        trace_id = process.stdout.readline().strip()
        assert process.stdout.readline().strip() == "twenty"
        alive = store.open(trace_id)
        with pytest.raises(BadInput, match="still being written"):
            store.remove(trace_id)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert alive.info.status == "running"
    assert alive.info.warnings == ()
    assert len(alive.events) >= 20
    trace = store.open(trace_id)
    assert trace.info.status == "crashed"
    assert [event.n for event in trace.events] == list(range(len(trace.events)))
    assert trace.events[: len(alive.events)] == alive.events
    for event in trace.events:
        assert store.frame(trace_id, event.frames[0].sha256) == b"%d" % event.n
    assert store.list()[0].status == "crashed"


_FULL = """
import resource, sys
from pathlib import Path
from agents.answer import Answer
from agents.question import Question
from agents.trace import TraceStore
from tools.evidence import Cost, SeenFrame

recorder = TraceStore(Path(sys.argv[1])).create(Question(text="why?"), "embedded")
recorder.record(node="first", data={"pad": "x" * 1500})
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
recorder.record(node="cut off", data={"pad": "x" * 1500}, frames=(SeenFrame(time=0, jpeg=b"x" * 3000),))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
recorder.record(node="last")
recorder.finish(
    Answer(answer="x", confidence=1, verdict="grounded", trace_id=recorder.id, cost=Cost(), stopped="answered")
)
print(recorder.id, recorder.lost)
"""


@pytest.mark.slow
def test_a_full_disk_costs_events_but_not_the_run(store: TraceStore) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(store.root)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    trace_id, lost = done.stdout.split()
    assert lost == "2"
    trace = store.open(trace_id)
    assert trace.info.status == "done"
    assert [event.node for event in trace.events] == ["first", "last"]
    assert trace.info.warnings == (
        "2 events or frames could not be written",
        "line 2 of events.jsonl is damaged and left out",
    )


def test_a_torn_last_line_is_tolerated(store: TraceStore) -> None:
    recorder = store.create(QUESTION, "embedded")
    recorder.record(node="a")
    recorder.record(node="b")
    path = store.root / recorder.id / "events.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    assert store.open(recorder.id).info.warnings == (), "while the run goes on, half a line is only early"
    trace_id = recorder.id
    del recorder  # closes the file without a word: the run has crashed
    trace = store.open(trace_id)
    assert trace.info.status == "crashed"
    assert [event.node for event in trace.events] == ["a"]
    assert len(trace.info.warnings) == 1
    assert "torn" in trace.info.warnings[0]
    assert store.list()[0].warnings == trace.info.warnings


def test_a_damaged_line_or_run_file_is_named(store: TraceStore) -> None:
    with store.create(QUESTION, "embedded") as recorder:
        recorder.record(node="a")
        recorder.record(node="b", parent=0)
    path = store.root / recorder.id
    first, second = lines(store, recorder.id)
    (path / "events.jsonl").write_bytes(first[:5] + b"\n" + second + b"\n")
    trace = store.open(recorder.id)
    assert [event.node for event in trace.events] == ["b"]
    assert trace.info.warnings == ("line 1 of events.jsonl is damaged and left out",)

    (path / "events.jsonl").unlink()
    assert store.open(recorder.id).info.warnings == ("the file events.jsonl is missing",)

    run = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps(run | {"format": 2}))
    with pytest.raises(BadInput, match="another version") as caught:
        store.open(recorder.id)
    assert caught.value.field == "trace_id"
    assert store.list() == []


BAD_IDS = ["", ".", "..", "../x", "/etc/passwd", "20250101T000000000000-0000000g", "%2e%2e", "x" * 5000, "a\0b", "a\n"]


@pytest.mark.parametrize("bad", BAD_IDS)
def test_ids_that_are_no_ids_are_refused(store: TraceStore, bad: str) -> None:
    trace_id = store.create(QUESTION, "embedded").id
    for use in (store.open, store.remove, lambda text: store.frame(text, "0" * 64)):
        with pytest.raises(BadInput) as caught:
            use(bad)
        assert caught.value.field == "trace_id"
        assert len(str(caught.value)) < 300
    with pytest.raises(BadInput) as caught:
        store.frame(trace_id, bad)
    assert caught.value.field == "frame"


def test_what_is_not_there_is_not_found(store: TraceStore) -> None:
    assert store.list() == []
    absent = "20250101T000000000000-00000000"
    for use in (store.open, store.remove, lambda text: store.frame(text, "0" * 64)):
        with pytest.raises(NotFound, match="there is no trace"):
            use(absent)
    trace_id = store.create(QUESTION, "embedded").id
    with pytest.raises(NotFound, match="has no frame"):
        store.frame(trace_id, "0" * 64)


def test_remove_deletes_everything(store: TraceStore) -> None:
    with store.create(QUESTION, "embedded") as recorder:
        recorder.record(node="a", frames=(SeenFrame(time=0, jpeg=b"x"),))
    store.remove(recorder.id)
    assert list(store.root.iterdir()) == []
    with pytest.raises(NotFound):
        store.open(recorder.id)


def test_recording_after_the_end_is_counted_as_lost(store: TraceStore) -> None:
    recorder = store.create(QUESTION, "embedded")
    recorder.finish(answer(recorder.id))
    recorder.record(node="late")
    assert recorder.lost == 1
    assert store.open(recorder.id).events == ()


def test_a_parent_must_come_first(store: TraceStore) -> None:
    recorder = store.create(QUESTION, "embedded")
    with pytest.raises(ValueError, match="parents come first"):
        recorder.record(node="a", parent=0)


def test_the_tree_of_views_skips_what_is_no_look(store: TraceStore) -> None:
    with store.create(QUESTION, "embedded") as recorder:
        plan = recorder.record(node="plan")
        search = recorder.record(node="retrieve", tool="search", parent=plan.n)
        choose = recorder.record(node="choose", parent=search.n)
        near = recorder.record(node="perceive", tool="read", view=VIEW, parent=choose.n)
        far = recorder.record(node="perceive", tool="look", view=VIEW, parent=choose.n)
        nearer = recorder.record(node="perceive", tool="look", view=VIEW.zoom(fps=8), parent=near.n)
        other = recorder.record(node="perceive", tool="listen", view=VIEW)
    roots = store.open(recorder.id).tree()
    assert [root.event for root in roots] == [search.n, other.n]
    assert [node.event for node in roots[0].walk()] == [search.n, near.n, nearer.n, far.n]
    assert [child.event for child in roots[0].children] == [near.n, far.n]


@given(parents=st.lists(st.floats(0, 1), min_size=1, max_size=30), looks=st.data())
def test_the_tree_holds_every_look_once(parents: list[float], looks: st.DataObject) -> None:
    from agents.events import RunInfo, Trace

    made = tuple(
        Event(
            n=n,
            parent=None if n == 0 or share < 0.1 else int(share * (n - 1)),
            node="x",
            tool=looks.draw(st.sampled_from([None, "look"])),
            started=0,
            ended=0,
        )
        for n, share in enumerate(parents)
    )
    info = RunInfo(id="t", question=QUESTION, profile="p", status="done", created=0)
    tree = Trace(info=info, events=made).tree()
    walked = [node.event for root in tree for node in root.walk()]
    assert sorted(walked) == [event.n for event in made if event.tool]
    assert all(child.event > node.event for root in tree for node in root.walk() for child in node.children)
