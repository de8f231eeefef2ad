"""Judging evidence: observations of the same thing, options, extraction, and second looks."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.actions import Detect, Listen, Look, Read
from agents.rules.extract import most_at_once, trim
from agents.rules.match import distinct
from agents.rules.question import parse
from agents.run import Outcome
from agents.verifier import Check, check, second_look
from tools.evidence import Evidence, Kind, Observation
from tools.media.span import Span
from tools.media.view import Region, View

WHOLE = Span.of(0, 100)


def evidence(
    kind: Kind, start: float, end: float, text: str, *, view: View | None = None, score: float = 0.9
) -> Evidence:
    return Evidence.make(
        video_id="v",
        kind=kind,
        span=Span.of(start, end),
        text=text,
        score=score,
        tool="t",
        model="m",
        view=view,
        region=Region.of(0.2, 0.2, 0.4, 0.3) if kind in ("text", "object") else None,
    )


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 6), st.sampled_from(["red fish", "blue whale", "old bridge"])),
        max_size=12,
    )
)
def test_each_thing_is_kept_once(rows: list[tuple[int, int, str]]) -> None:
    parsed = parse("What does the speaker say?")
    entries = [evidence("speech", start, start + length, text) for start, length, text in rows]
    kept = distinct(entries, parsed)
    # What stays does not repeat itself in neighbours, and nothing that was there is left out altogether.
    for index, one in enumerate(kept):
        assert one in entries
        assert all(other.id != one.id for other in kept[index + 1 :])
    assert {entry.text for entry in entries} == {entry.text for entry in kept}
    assert distinct(kept, parsed) == kept or len(distinct(kept, parsed)) <= len(kept)


def test_what_was_perceived_replaces_what_the_index_said() -> None:
    view = View(video_id="v", span=Span.of(9, 15))
    index, heard = (
        evidence("speech", 10, 14, "the lake is deep"),
        evidence("speech", 10, 14, "the lake is deep", view=view),
    )
    elsewhere = evidence("speech", 40, 44, "the lake is deep")
    assert distinct([index, elsewhere, heard], parse("How deep is the lake?")) == [heard, elsewhere]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 8)), min_size=1, max_size=10))
def test_most_at_once_counts_overlaps(rows: list[tuple[int, int]]) -> None:
    tracks = [evidence("object", start, start + length, "face") for start, length in rows]
    slow = max(sum(start <= time < start + length for start, length in rows) for time in range(40))
    assert most_at_once(tracks) == slow


@pytest.mark.parametrize(
    ("question", "text", "expected"),
    [
        ("How deep is the lake?", "the lake is forty two meters deep and cold", "the lake is forty two meters deep"),
        ("What is the lake like?", "It rains. The lake is quiet. We leave.", "The lake is quiet."),
        ("How deep is the lake?", "the lake is 42 meters deep", "the lake is 42 meters deep"),
    ],
)
def test_answers_are_trimmed_to_what_was_asked(question: str, text: str, expected: str) -> None:
    assert trim(parse(question), text) == expected


def test_long_speech_is_cut_around_the_answer() -> None:
    text = "well " * 30 + "the bridge is three hundred meters long " + "you know " * 30
    short = trim(parse("How long is the bridge?"), text)
    assert "bridge is three hundred meters long" in short
    assert len(short.split()) <= 24


@pytest.mark.parametrize(
    ("kind", "action", "other_span"),
    [("speech", Listen, True), ("text", Read, False), ("object", Detect, False), ("visual", Look, True)],
)
def test_second_looks_use_the_tool_of_the_kind(kind: Kind, action: type, other_span: bool) -> None:
    entry = evidence(kind, 10, 20, "something")
    again = second_look(entry, "what is it?", WHOLE)
    assert isinstance(again, action)
    # A model is shown other pictures of the same seconds, not the same ones.
    wide, narrow = (entry.span, again.view.span) if kind == "visual" else (again.view.span, entry.span)
    assert wide.hull(narrow) == wide
    assert (again.view.span != entry.span) == other_span
    assert WHOLE.hull(again.view.span) == WHOLE


def _seen(entry: Evidence, again: Sequence[Evidence], failure: str | None = None) -> Check:
    action = second_look(entry, "what?", WHOLE)
    return check(entry, Outcome(action, Observation(evidence=tuple(again)), 0, 1, failure, failure is not None))


def test_three_verdicts() -> None:
    entry = evidence("text", 10, 20, "Built 1887 by Henrik Olsen")
    same = _seen(entry, [evidence("text", 12, 22, "Bui1t 1887 by Henrik Olsen")])
    assert same.verdict == "confirmed"
    assert same.semantic > 0.7
    assert same.temporal == pytest.approx(8 / 12, abs=1e-3)
    assert _seen(entry, [evidence("text", 10, 20, "Thanks for watching")]).verdict == "rejected"
    assert _seen(entry, []).verdict == "rejected"
    assert _seen(entry, [evidence("text", 50, 60, entry.text)]).verdict == "rejected"
    assert _seen(entry, [evidence("speech", 10, 20, entry.text)]).verdict == "rejected"
    assert _seen(entry, [], "read is not available").verdict == "unverified"


def test_another_number_is_another_statement() -> None:
    entry = evidence("text", 10, 20, "1887")
    assert _seen(entry, [evidence("text", 10, 20, "1889")]).verdict == "rejected"
