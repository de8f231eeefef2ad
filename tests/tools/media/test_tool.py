"""The tool ``media``."""

import io
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from tools.errors import BadInput, NotFound
from tools.media.library import Library
from tools.media.span import Span
from tools.media.tool import MediaTool
from tools.media.view import View


@pytest.fixture
def tool(tmp_path: Path, make_video: Callable[..., Path]) -> MediaTool:
    library = Library(tmp_path / "home")
    library.add(make_video(list(range(1000, 9000, 40)), gop=25))
    return MediaTool(library, cache_mb=1)


@pytest.fixture
def view(tool: MediaTool) -> View:
    video = tool.videos()[0]
    return View(video_id=video.id, span=Span.of(video.info.span.start + 2, video.info.span.start + 4), fps=2)


def test_a_view_gives_what_is_on_screen_at_its_sample_times(tool: MediaTool, view: View, number_of: Callable) -> None:
    frames = tool.frames(view)
    assert [number_of(picture) for picture in frames.images] == [50, 62, 75, 87]
    assert frames.decoded > 0
    again = tool.frames(view)
    assert again.decoded == 0
    assert (again.images == frames.images).all()
    assert not again.images.flags.writeable
    assert (pickle.loads(pickle.dumps(again)).times == frames.times).all()


def test_concurrent_equal_requests_decode_once(tool: MediaTool, view: View) -> None:
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(tool.frames, [view] * 8))
    assert sum(frames.decoded > 0 for frames in results) == 1
    assert all((frames.images == results[0].images).all() for frames in results)


def test_spans_at_the_edges_and_outside(tool: MediaTool, view: View, number_of: Callable) -> None:
    span = tool.video(view.video_id).info.span
    wide = tool.frames(view.zoom(span=Span.of(span.start - 10, span.end + 10), fps=0.5))
    # The grid is the view's: every two seconds from ten seconds before the video.
    assert [number_of(picture) for picture in wide.images] == [0, 50, 100, 150]
    tail = tool.frames(view.zoom(span=Span.of(span.end - 0.01, span.end + 10)))
    assert [number_of(picture) for picture in tail.images] == [199]
    sliver = tool.frames(view.zoom(span=Span.of(span.start - 0.3, span.start + 0.1), fps=1))
    assert [number_of(picture) for picture in sliver.images] == [0]
    for outside in (Span.of(span.end + 1, span.end + 2), Span.of(span.start - 2, span.start - 1)):
        with pytest.raises(BadInput) as caught:
            tool.frames(view.zoom(span=outside))
        assert caught.value.field == "span"


def test_a_view_may_not_need_endless_memory(tool: MediaTool, view: View) -> None:
    small = MediaTool(tool._library, view_mb=1)
    with pytest.raises(BadInput) as caught:
        small.frames(view.zoom(fps=240, span=Span.of(0, 1e9)))
    assert caught.value.field == "fps"
    assert len(small.frames(view.zoom(fps=240, short_side=16))) == 50


def test_the_cache_is_bounded(tool: MediaTool, view: View) -> None:
    for start in range(7):
        span = tool.video(view.video_id).info.span
        tool.frames(view.zoom(span=Span.of(span.start + start, span.start + start + 1), fps=10))
        assert tool._cache.bytes <= 1_000_000
    assert tool._cache.bytes > 0


def test_videos_by_id(tool: MediaTool, view: View) -> None:
    assert tool.videos((view.video_id,)) == tool.videos() == [tool.video(view.video_id)]
    with pytest.raises(NotFound):
        tool.videos((view.video_id, "f" * 32))
    with pytest.raises(NotFound):
        tool.frames(view.model_copy(update={"video_id": "f" * 32}))


def test_sound_only_and_missing_files(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    library = Library(tmp_path / "other")
    tool = MediaTool(library)
    path = make_video([], name="sound.m4a", tone=(0, 1))
    video = library.add(path)
    with pytest.raises(BadInput, match="sound only"):
        tool.frames(View(video_id=video.id, span=Span.of(0, 1)))
    gone = make_video([0, 40], name="gone.mp4")
    video = library.add(gone)
    gone.unlink()
    with pytest.raises(NotFound):
        tool.frames(View(video_id=video.id, span=Span.of(0, 1)))


def test_pictures_for_a_trace(tool: MediaTool, view: View) -> None:
    frames = tool.frames(view.zoom(fps=10))
    seen = tool.jpegs(frames, limit=3, short_side=48)
    assert [picture.time for picture in seen] == pytest.approx(frames.times[[0, 10, -1]], abs=0.2)
    assert Image.open(io.BytesIO(seen[0].jpeg)).size == (80, 48)
    assert len(tool.jpegs(frames, limit=100)) == len(frames)
    assert tool.jpegs(frames, limit=0) == ()
    red = Image.open(io.BytesIO(tool.jpegs(frames)[0].jpeg)).getpixel((5, 5))
    assert red == pytest.approx((230, 20, 20), abs=30)
