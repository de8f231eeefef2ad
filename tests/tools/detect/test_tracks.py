"""Laws of object tracks, and the tool that makes them."""

import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.detect import BACKENDS, DetectBackend, Detection
from tools.detect.tool import DetectTool
from tools.detect.tracks import distinct, link
from tools.media.frames import Frames
from tools.media.span import Span
from tools.media.view import Region

boxes = st.builds(
    lambda x, y, size: Region.of(x, y, x + size, y + size),
    st.sampled_from([0.0, 0.3, 0.35, 0.8]),
    st.sampled_from([0.0, 0.5]),
    st.sampled_from([0.1, 0.2]),
)
detections = st.lists(
    st.builds(Detection, st.integers(0, 5), st.sampled_from(["face", "cat"]), boxes, st.sampled_from([0.4, 0.5, 0.9])),
    max_size=14,
)
TIMES = [10.0, 11.0, 12.5, 13.0, 14.0, 20.0]


@given(detections)
def test_every_detection_lies_in_a_track(found: list[Detection]) -> None:
    tracks = link(found, TIMES, 21.0)
    for one in found:
        assert any(
            track.label == one.label and TIMES[one.index] in track.span and track.score >= one.score
            and track.region.iou(one.region) > 0
            for track in tracks
        )  # fmt: skip


@given(detections)
def test_spans_begin_and_end_where_something_was_seen(found: list[Detection]) -> None:
    ends = [*TIMES[1:], 21.0]
    for track in link(found, TIMES, 21.0, gap=0):
        assert track.span.start in {TIMES[one.index] for one in found if one.label == track.label}
        assert track.span.end in {ends[one.index] for one in found if one.label == track.label}


@given(detections, st.integers(0, 1000))
def test_the_order_given_does_not_matter(found: list[Detection], seed: int) -> None:
    assert link(random.Random(seed).sample(found, len(found)), TIMES, 21.0) == link(found, TIMES, 21.0)


@given(detections)
def test_distinct_things_do_not_cover_each_other(found: list[Detection]) -> None:
    kept = distinct(one for one in found if one.index == 0)
    assert all(a.label != b.label or a.region.iou(b.region) <= 0.5 for a in kept for b in kept if a is not b)


def _at(index: int, x: float, label: str = "cat", words: tuple[str, ...] = ()) -> Detection:
    return Detection(index, label, Region.of(x, 0.4, x + 0.1, 0.5), 0.5 + index / 100, words)


def test_a_missed_frame_does_not_break_a_track_and_two_do() -> None:
    (whole,) = link([_at(0, 0.1), _at(2, 0.1)], TIMES, 21.0)
    assert (whole.span, whole.score) == (Span.of(10.0, 13.0), 0.52)
    assert [track.span for track in link([_at(0, 0.1), _at(3, 0.1)], TIMES, 21.0)] == [
        Span.of(10.0, 11.0),
        Span.of(13.0, 14.0),
    ]


def test_things_that_jump_are_followed_by_their_colour() -> None:
    red = [_at(i, 0.1 + 0.2 * i, words=("red",)) for i in range(4)]
    blue = [_at(i, 0.7 - 0.2 * i, words=("blue",)) for i in range(4)]
    tracks = link(red + blue, TIMES, 21.0)
    assert sorted(track.text for track in tracks) == ["blue cat", "red cat"]
    assert all(track.span == Span.of(10.0, 14.0) for track in tracks)


def test_an_attribute_needs_most_of_the_track() -> None:
    words = [("red",), ("red",), (), ("pink",)]
    (track,) = link([_at(i, 0.1, words=word) for i, word in enumerate(words)], TIMES, 21.0)
    assert track.attributes == ()
    (track,) = link([_at(i, 0.1, words=word) for i, word in enumerate(words[:3])], TIMES, 21.0)
    assert track.text == "red cat"


class _Fixed(DetectBackend):
    """Reports one thing of every label that it is asked for."""

    def __init__(self, known: tuple[str, ...] | None) -> None:
        self.model = "fixed"
        self.known = known
        self.asked: list[tuple[str, ...]] = []

    def labels(self) -> tuple[str, ...] | None:
        return self.known

    def detect(self, frames: Frames, labels: Sequence[str]) -> list[Detection]:
        self.asked.append(tuple(labels))
        return [_at(0, 0.1, label) for label in labels or self.known or ("thing",)]


def test_the_tool_asks_who_knows_and_skips_what_nobody_knows() -> None:
    frames = Frames(np.arange(2.0), np.zeros((2, 32, 32, 3), np.uint8))
    cats, faces = _Fixed(("cat",)), _Fixed(("face",))
    tool = DetectTool([cats, faces])
    assert (tool.labels(), tool.model) == (("cat", "face"), "fixed+fixed")
    assert [track.label for track in tool.detect(frames, ["Cat", "unicorn"], 2.0)] == ["cat"]
    assert (cats.asked, faces.asked) == ([("cat",)], [])
    assert [track.label for track in tool.detect(frames, (), 2.0)] == ["cat", "face"]
    wide = DetectTool([cats, _Fixed(None)])
    assert wide.labels() is None
    assert [track.label for track in wide.detect(frames, ["unicorn", "cat"], 2.0)] == ["cat", "unicorn"]


def test_attributes_can_be_asked_with_a_label(ball) -> None:
    tool = DetectTool([BACKENDS.create("motion")])
    frames = ball(6, 30)
    (track,) = tool.detect(frames, ["Red moving object"], 6.0)
    assert track.text == "red moving object"
    assert tool.detect(frames, ["blue moving object"], 6.0) == []
    assert tool.detect(frames, ["angry moving object"], 6.0) == []
    assert tool.detect(frames, ["moving object"], 6.0) == [track]
    assert track.span.overlaps(Span.of(1.0, 5.0))


def test_a_tool_needs_a_detector() -> None:
    with pytest.raises(ValueError, match="at least one"):
        DetectTool([])
