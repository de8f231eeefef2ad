"""Laws of spans and of the ways to write times."""

import itertools

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tools.errors import BadInput
from tools.media.span import Span, format_time, merge_spans, parse_time

law = settings(max_examples=80)
#: Milliseconds, so that sums are exact enough to compare.
seconds = st.integers(min_value=-10_000_000, max_value=40_000_000).map(lambda ms: ms / 1000)


@st.composite
def spans(draw: st.DrawFn) -> Span:
    a, b = sorted((draw(seconds), draw(seconds)))
    return Span.of(a, b)


@law
@given(spans(), spans())
def test_overlap_is_symmetric_and_means_shared_time(a: Span, b: Span) -> None:
    assert a.overlaps(b) == b.overlaps(a) == (a.intersect(b) is not None)
    shared = a.intersect(b)
    assert shared == b.intersect(a)
    if shared:
        assert shared.start >= max(a.start, b.start)
        assert shared.end <= min(a.end, b.end)
        assert 0 <= a.iou(b) <= 1


@law
@given(spans(), spans())
def test_hull_covers_both_and_iou_is_one_only_for_equals(a: Span, b: Span) -> None:
    hull = a.hull(b)
    assert hull.start <= min(a.start, b.start)
    assert hull.end >= max(a.end, b.end)
    assert a.iou(a) == 1
    if a.duration and b.duration and a != b:
        assert a.iou(b) < 1


@law
@given(spans(), spans())
def test_clamp_stays_inside_and_keeps_what_is_shared(a: Span, bounds: Span) -> None:
    clamped = a.clamp(bounds)
    assert bounds.start <= clamped.start <= clamped.end <= bounds.end
    if (shared := a.intersect(bounds)) is not None:
        assert clamped == shared
    else:
        assert clamped.duration == 0


@law
@given(spans(), seconds)
def test_shift_and_pad_come_back(span: Span, by: float) -> None:
    assert span.shift(by).shift(-by).start == pytest.approx(span.start, abs=1e-6)
    assert span.shift(by).duration == pytest.approx(span.duration, abs=1e-6)
    padded = span.pad(by)
    assert padded.middle == pytest.approx(span.middle, abs=1e-6)
    assert padded.duration == pytest.approx(max(0, span.duration + 2 * by), abs=1e-5)


@law
@given(spans(), st.floats(min_value=0.5, max_value=1e6), st.floats(min_value=0, max_value=0.9), st.integers(0, 10**6))
def test_windows_cover_the_span_and_share_the_overlap(span: Span, length: float, share: float, at: int) -> None:
    assume(span.duration / (length * (1 - share)) < 1000)
    windows = span.windows(length, overlap=length * share)
    assert windows[0].start == span.start
    assert windows[-1].end == span.end
    for window in windows:
        assert window.duration <= length + 1e-6
    for before, after in itertools.pairwise(windows):
        assert before.start < after.start
        assert before.end - after.start >= length * share - 1e-6
    time = span.start + span.duration * at / (10**6 + 1)
    if time in span:
        assert any(time in window for window in windows)


@law
@given(st.lists(spans(), max_size=8))
def test_merged_spans_are_disjoint_sorted_and_the_same_time(parts: list[Span]) -> None:
    merged = merge_spans(parts)
    assert all(a.end < b.start for a, b in itertools.pairwise(merged))
    for part in parts:
        assert sum(m.start <= part.start and part.end <= m.end for m in merged) == 1
    for span in merged:
        assert span.start in {part.start for part in parts}
        assert span.end in {part.end for part in parts}
    assert merge_spans(merged) == merged


def test_spans_close_to_each_other_become_one() -> None:
    parts = [Span.of(5, 6), Span.of(0, 1), Span.of(1.5, 2)]
    assert merge_spans(parts, gap=0.5) == [Span.of(0, 2), Span.of(5, 6)]


@law
@given(st.integers(min_value=0, max_value=400_000_000))
def test_written_times_are_read_back(millis: int) -> None:
    assert parse_time(format_time(millis / 1000, millis=True)) == pytest.approx(millis / 1000, abs=1e-6)
    assert parse_time(format_time(millis / 1000)) == millis // 1000
    assert parse_time(f"{millis / 1000:.3f}") == pytest.approx(millis / 1000)
    assert parse_time(millis / 1000) == millis / 1000


@law
@given(st.integers(0, 90_000), st.integers(0, 90_000))
def test_written_spans_are_read_back(a: int, b: int) -> None:
    span = Span.of(min(a, b), max(a, b))
    assert Span.parse(str(span)) == span
    assert Span.parse(f"{span.start:g}..{span.end:g}") == span
    assert Span.parse(f"{format_time(span.start)} to {format_time(span.end)}") == span
    assert Span.parse(f"{span.start:g},{span.end:g}") == span


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("75", 75),
        ("75.5", 75.5),
        ("12s", 12),
        ("3 seconds", 3),
        ("1:15", 75),
        ("01:15", 75),
        ("75:00", 4500),
        ("1:01:01.5", 3661.5),
        ("00:00:01,250", 1.25),
        (" 2:10 ", 130),
        (7, 7),
    ],
)
def test_forms_of_a_time(text: str | float, time: float) -> None:
    assert parse_time(text) == time


@pytest.mark.parametrize(
    "text", ["", "abc", "1:60", "1:60:00", "-5", "1:2:3:4", "nan", "inf", float("nan"), "1e3", ":5"]
)
def test_what_is_no_time(text: str | float) -> None:
    with pytest.raises(BadInput) as caught:
        parse_time(text)
    assert caught.value.field == "time"


@pytest.mark.parametrize("text", ["", "5", "5-", "9-5", "1:15", "5-6-7", "a-b"])
def test_what_is_no_span(text: str) -> None:
    with pytest.raises(BadInput):
        Span.parse(text)


def test_spans_hold_their_start_but_not_their_end() -> None:
    span = Span.of(1, 2)
    assert 1 in span
    assert 2 not in span
    assert not span.overlaps(Span.of(2, 3))
    assert Span.of(1, 1).overlaps(span)
    assert not Span.of(2, 2).overlaps(span)


@pytest.mark.parametrize(("start", "end"), [(2, 1), (float("nan"), 1), (0, float("inf"))])
def test_impossible_spans_are_refused(start: float, end: float) -> None:
    with pytest.raises(ValueError, match="span"):
        Span.of(start, end)
