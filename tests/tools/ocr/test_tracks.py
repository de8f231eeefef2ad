"""Laws of text tracks."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.media.span import Span, merge_spans
from tools.media.view import Region
from tools.ocr import TextLine, TextTrack
from tools.ocr.tracks import TextTracker, merge, same_words

WORDS = ("Dr. Maria Lopez", "Head of Research", "Breaking News", "Room 12", "Room 13", "OK")
#: Six places that do not touch.
PLACES = tuple(Region.of(0.05 + 0.5 * (i % 2), 0.1 + 0.3 * (i // 2), 0.4 + 0.5 * (i % 2), 0.2 + 0.3 * (i // 2))
               for i in range(6))  # fmt: skip

lines = st.builds(TextLine, st.sampled_from(WORDS), st.sampled_from(PLACES), st.sampled_from([0.6, 0.75, 0.9]))
samples = st.lists(st.lists(lines, max_size=5), max_size=8)


def _line(text: str, region: Region = PLACES[0], score: float = 0.9) -> TextLine:
    return TextLine(text, region, score)


def _tracks(frames: list[list[TextLine]], gap: float = 0.0) -> list[TextTrack]:
    return merge([float(i) for i in range(len(frames))], float(len(frames)), frames, gap)


@given(samples)
def test_every_line_is_in_a_track_and_no_track_is_empty(frames: list[list[TextLine]]) -> None:
    tracks = _tracks(frames)
    for i, frame in enumerate(frames):
        live = [track for track in tracks if float(i) in track.span]
        # As many tracks run through a sample as there are lines in it: none lost, none invented.
        assert len(live) == len(frame)
        for line in frame:
            assert any(track.region.hull(line.region) == track.region and same_words(track.text, line.text)
                       for track in live)  # fmt: skip


@given(samples)
def test_spans_cover_exactly_the_times_seen(frames: list[list[TextLine]]) -> None:
    seen = merge_spans([Span.of(i, i + 1) for i, frame in enumerate(frames) if frame])
    assert merge_spans([track.span for track in _tracks(frames)]) == seen


@given(samples, st.integers(0, 1000))
def test_the_order_of_lines_in_a_frame_does_not_matter(frames: list[list[TextLine]], seed: int) -> None:
    chance = random.Random(seed)
    shuffled = [chance.sample(frame, len(frame)) for frame in frames]
    assert _tracks(shuffled) == _tracks(frames)


@given(samples, st.floats(-100, 100, allow_nan=False))
def test_later_times_give_later_tracks(frames: list[list[TextLine]], shift: float) -> None:
    shift = round(shift)
    moved = merge([i + shift for i in range(len(frames))], len(frames) + shift, frames)
    assert moved == [TextTrack(t.text, t.region, t.span.shift(shift), t.score) for t in _tracks(frames)]


@given(samples)
def test_a_finished_tracker_starts_afresh(frames: list[list[TextLine]]) -> None:
    tracker = TextTracker()
    for _ in range(2):
        for i, frame in enumerate(frames):
            tracker.add(i, i + 1, frame)
        assert tracker.finish() == _tracks(frames)
    assert tracker.finish() == []


def test_flicker_stays_one_track_and_the_best_supported_reading_wins() -> None:
    readings = [("Dr. Mana Lopez", 0.7), ("Dr. Maria Lopez", 0.9), ("Dr. Maria Lopez", 0.95), ("Dr.MariaLopez", 0.8)]
    (track,) = _tracks([[_line(text, score=score)] for text, score in readings])
    assert (track.text, track.score, track.span) == ("Dr. Maria Lopez", 0.95, Span.of(0, 4))


@pytest.mark.parametrize(
    ("first", "second"), [("Room 12", "Room 13"), ("OK", "NO"), ("12:01", "12:02"), ("Yes", "Yep")]
)
def test_other_words_in_the_same_place_are_other_tracks(first: str, second: str) -> None:
    assert [track.text for track in _tracks([[_line(first)], [_line(second)]])] == [first, second]


def test_what_leaves_and_comes_back_is_a_new_track() -> None:
    frames = [[_line("Breaking News")], [], [_line("Breaking News")]]
    assert [track.span for track in _tracks(frames)] == [Span.of(0, 1), Span.of(2, 3)]
    assert [track.span for track in _tracks(frames, gap=1.0)] == [Span.of(0, 3)]


def test_scrolling_text_stays_one_track() -> None:
    frames = [[_line("Directed by A. Berg", Region.of(0.3, y, 0.7, y + 0.05))] for y in (0.9, 0.6, 0.3, 0.0)]
    (track,) = _tracks(frames)
    assert track.span == Span.of(0, 4)
    assert track.region == Region.of(0.3, 0.0, 0.7, 0.9 + 0.05)


def test_equal_words_far_apart_are_not_one_text_that_moved() -> None:
    near, far = Region.of(0.0, 0.0, 0.1, 0.05), Region.of(0.9, 0.9, 1.0, 0.95)
    assert len(_tracks([[_line("Menu", near)], [_line("Menu", far)]])) == 2


def test_a_frame_given_backwards_is_refused() -> None:
    with pytest.raises(ValueError, match="ends before it starts"):
        TextTracker().add(2.0, 1.0, [])


def test_no_frames_give_no_tracks() -> None:
    assert merge([], 0.0, []) == []
