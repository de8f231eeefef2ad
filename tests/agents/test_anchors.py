"""The language of anchors and the windows that they open."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.rules.anchors import AT, SLACK, parse_anchor, windows
from tools.media.span import Span

BOUNDS = {"a": Span.of(0, 100), "b": Span.of(0, 50)}
FOUND = {"q1": ("a", Span.of(20, 24)), "q2": ("a", Span.of(60, 64)), "q3": ("b", Span.of(5, 6))}


@pytest.mark.parametrize(
    ("anchor", "spans"),
    [
        (None, {"a": (0, 100), "b": (0, 50)}),
        ("at 30", {"a": (30 - AT, 30 + AT), "b": (30 - AT, 30 + AT)}),
        ("at 80", {"a": (80 - AT, 80 + AT)}),
        ("after 40", {"a": (40, 100), "b": (40, 50)}),
        ("before 10", {"a": (0, 10), "b": (0, 10)}),
        ("from 40 to 60", {"a": (40, 60), "b": (40, 50)}),
        ("first 60", {"a": (0, 60), "b": (0, 50)}),
        ("last 10", {"a": (90, 100), "b": (40, 50)}),
        ("first 50%", {"a": (0, 50), "b": (0, 25)}),
        ("after q1", {"a": (24 - SLACK, 100)}),
        ("right before q1", {"a": (0, 20 + SLACK)}),
        ("during q1", {"a": (20 - SLACK, 24 + SLACK)}),
        ("between q1 and q2", {"a": (24 - SLACK, 60 + SLACK)}),
        ("between q2 and q1", {"a": (24 - SLACK, 60 + SLACK)}),
        ("between q1 and q3", {}),
        ("from 200 to 300", {}),
    ],
)
def test_windows(anchor: str | None, spans: dict[str, tuple[float, float]]) -> None:
    found = windows(parse_anchor(anchor), FOUND, BOUNDS)
    assert found is not None
    assert {window.video_id: (window.span.start, window.span.end) for window in found} == spans


def test_an_anchor_waits_for_what_it_names() -> None:
    assert windows(parse_anchor("after q9"), FOUND, BOUNDS) is None


def test_terms_add_up() -> None:
    anchor = parse_anchor("right after q1, number 2")
    assert (anchor.relation, anchor.refs, anchor.near, anchor.pick) == ("after", ("q1",), True, 2)


@given(st.text(max_size=40))
def test_any_text_is_an_anchor(text: str) -> None:
    assert windows(parse_anchor(text), FOUND, BOUNDS) is None or True


@given(st.floats(0, 200), st.floats(0, 200), st.sampled_from(["after", "before", "during"]))
def test_windows_lie_inside_their_video(start: float, length: float, relation: str) -> None:
    found = {"q1": ("a", Span.of(start, start + length))}
    for window in windows(parse_anchor(f"{relation} q1"), found, BOUNDS) or []:
        assert BOUNDS["a"].start <= window.span.start < window.span.end <= BOUNDS["a"].end
