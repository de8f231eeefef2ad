"""Laws of regions and views."""

import itertools

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tools.media.span import Span
from tools.media.view import Region, View

law = settings(max_examples=80)
share = st.integers(0, 1000).map(lambda part: part / 1000)


@st.composite
def regions(draw: st.DrawFn) -> Region:
    x0, x1 = sorted((draw(share), draw(share)))
    y0, y1 = sorted((draw(share), draw(share)))
    assume(x0 < x1 and y0 < y1)
    return Region(x0=x0, y0=y0, x1=x1, y1=y1)


def holds(outer: Region, inner: Region) -> bool:
    e = 1e-9
    return (
        outer.x0 <= inner.x0 + e and outer.y0 <= inner.y0 + e and outer.x1 >= inner.x1 - e and outer.y1 >= inner.y1 - e
    )


@law
@given(regions(), regions())
def test_shared_boxes_and_hulls(a: Region, b: Region) -> None:
    shared = a.intersect(b)
    assert shared == b.intersect(a)
    assert holds(a.hull(b), a)
    assert holds(a.hull(b), b)
    assert a.iou(b) == pytest.approx(b.iou(a))
    assert a.iou(a) == pytest.approx(1)
    if shared is None:
        assert a.iou(b) == 0
    else:
        assert holds(a, shared)
        assert holds(b, shared)
        assert 0 < a.iou(b) <= 1 + 1e-9


@law
@given(regions(), regions())
def test_a_box_inside_a_box_lies_in_it(inner: Region, outer: Region) -> None:
    placed = inner.inside(outer)
    assert holds(outer, placed)
    assert placed.area == pytest.approx(inner.area * outer.area, rel=1e-6)
    whole = Region.of(0, 0, 1, 1)
    assert inner.inside(whole) == inner
    assert whole.inside(outer).iou(outer) == pytest.approx(1)


@law
@given(regions(), share)
def test_padding_holds_the_box_and_stays_in_the_frame(region: Region, by: float) -> None:
    padded = region.pad(by)
    assert holds(padded, region)
    assert holds(Region.of(0, 0, 1, 1), padded)


@pytest.mark.parametrize("corners", [(0.5, 0, 0.5, 1), (0.6, 0, 0.5, 1), (1.2, 0, 1.5, 1)])
def test_empty_boxes_are_refused(corners: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="region"):
        Region.of(*corners)


@law
@given(
    st.integers(-1000, 10_000_000).map(lambda ms: ms / 1000),
    st.integers(0, 60_000).map(lambda ms: ms / 1000),
    st.sampled_from([0.1, 0.5, 1.0, 3.0, 10.0, 25.0, 30000 / 1001]),
)
def test_sample_times_fill_the_span(start: float, duration: float, fps: float) -> None:
    view = View(video_id="v", span=Span.of(start, start + duration), fps=fps)
    times = view.sample_times()
    assert times[0] == start
    assert all(b - a == pytest.approx(1 / fps) for a, b in itertools.pairwise(times))
    if duration:
        assert times[-1] < view.span.end
        assert times[-1] + 1 / fps >= view.span.end - 1e-6


def test_zooming_composes_regions_and_keeps_the_rest() -> None:
    view = View(video_id="v", span=Span.of(0, 10), fps=2, region=Region.of(0.5, 0, 1, 0.5), short_side=100)
    child = view.zoom(region=Region.of(0.5, 0.5, 1, 1), span=Span.of(2, 3))
    assert child.region == Region.of(0.75, 0.25, 1, 0.5)
    assert (child.span, child.fps, child.short_side, child.video_id) == (Span.of(2, 3), 2, 100, "v")
    assert view.zoom() == view
    assert view.zoom().id == view.id
    assert child.id != view.id
