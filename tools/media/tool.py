"""The tool ``media``: registered videos and the pictures of views."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from tools.errors import BadInput
from tools.evidence import SeenFrame
from tools.media.cache import ByteCache
from tools.media.decode import read_frames
from tools.media.frames import Frames
from tools.media.library import Library
from tools.media.span import Span
from tools.media.video import Video, VideoInfo
from tools.media.view import View

_JPEG_QUALITY = 85


@dataclass(frozen=True)
class Glimpse:
    """What a caller keeps of frames that went from the decoder to another tool.

    Attributes:
        frames: a few small pictures.
        decoded: pictures that the decoder produced for the view; 0 where they came from the cache.
    """

    frames: tuple[SeenFrame, ...]
    decoded: int


class MediaTool:
    """Serves videos and views from a library; thread-safe.

    Args:
        library: the registered videos.
        cache_mb: megabytes of decoded views kept for later calls.
        view_mb: megabytes of pictures that one view may have.
    """

    def __init__(self, library: Library, cache_mb: float = 256, view_mb: float = 1024) -> None:
        self._library = library
        self._view_bytes = int(view_mb * 1e6)
        self._cache: ByteCache[View, Frames] = ByteCache(int(cache_mb * 1e6), lambda frames: frames.images.nbytes)

    def video(self, video_id: str) -> Video:
        """The video with this id; raises `NotFound`."""
        return self._library.get(video_id)

    def videos(self, ids: tuple[str, ...] = ()) -> list[Video]:
        """The videos with these ids, all for no ids; raises `NotFound`."""
        return [self._library.get(video_id) for video_id in ids] if ids else self._library.list()

    def frames(self, view: View) -> Frames:
        """The pictures of a view, read-only; ``decoded`` is 0 where they came from the cache.

        Raises:
            NotFound: unknown video, or its file is gone.
            BadInput: field "span" where the view lies outside the video or the video has no pictures; field "fps"
                where its pictures would need more memory than a view may have.
            MediaError: damaged here.
        """
        video = self._library.get(view.video_id)
        times = _times(view, video)
        self._check_size(view, video.info, len(times))

        def decode() -> Frames:
            frames = read_frames(video.path, times, region=view.region, short_side=view.short_side)
            # Callers share the cached arrays.
            frames.times.setflags(write=False)
            frames.images.setflags(write=False)
            return frames

        frames, fresh = self._cache.get(view, decode)
        return frames if fresh else replace(frames, decoded=0)

    def jpegs(self, frames: Frames, limit: int = 8, short_side: int = 240) -> tuple[SeenFrame, ...]:
        """At most ``limit`` evenly spaced pictures as small JPEGs."""
        count = min(limit, len(frames))
        if count <= 0:
            return ()
        chosen = np.linspace(0, len(frames) - 1, count).round().astype(int)
        return tuple(SeenFrame(time=float(frames.times[i]), jpeg=_jpeg(frames.images[i], short_side)) for i in chosen)

    def glimpse(
        self, frames: Frames, times: Sequence[float] | None = None, limit: int = 8, short_side: int = 240
    ) -> Glimpse:
        """The few small pictures that a trace keeps, and what the decoding took.

        Args:
            times: keep the pictures on screen at these seconds, an even choice of them if there are more than
                ``limit``, and call them by these times; by default an even choice of all.
        """
        if times is None:
            return Glimpse(self.jpegs(frames, limit, short_side), frames.decoded)
        chosen = np.linspace(0, len(times) - 1, min(limit, len(times))).round().astype(int)
        found = []
        for time in (float(times[i]) for i in chosen):
            at = max(0, int(np.searchsorted(frames.times, time + 1e-6)) - 1)
            found.append(SeenFrame(time=time, jpeg=_jpeg(frames.images[at], short_side)))
        return Glimpse(tuple(found), frames.decoded)

    def _check_size(self, view: View, info: VideoInfo, count: int) -> None:
        region = view.region
        width = info.width * (region.x1 - region.x0 if region else 1)
        height = info.height * (region.y1 - region.y0 if region else 1)
        scale = min(1.0, view.short_side / max(1.0, min(width, height)))
        size = count * width * height * scale * scale * 3
        if size > self._view_bytes:
            raise BadInput(
                f"the view has {count} pictures of {size / count / 1e6:.1f} MB; "
                f"one view may have {self._view_bytes / 1e6:g} MB",
                remedy="lower fps, the span or short_side",
                field="fps",
            )


def _times(view: View, video: Video) -> list[float]:
    """The view's sample times that lie inside the video."""
    span = video.info.span
    if video.info.width == 0:
        raise BadInput(f"'{video.name}' has sound only", remedy="ask about what is said in it", field="span")
    if not view.span.overlaps(span):
        raise BadInput(
            f"the view {view.span} lies outside '{video.name}', which lasts {span}",
            remedy="choose a span inside the video",
            field="span",
        )
    skipped = max(0, math.ceil((span.start - view.span.start) * view.fps - 1e-9))
    first = view.span.start + skipped / view.fps
    end = min(view.span.end, span.end)
    if first >= end:
        # No sample time falls into the part that both share.
        first = max(view.span.start, span.start)
    return view.zoom(span=Span.of(first, max(first, end))).sample_times()


def _jpeg(picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], short_side: int) -> bytes:
    height, width = picture.shape[:2]
    scale = short_side / min(height, width)
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    encoded: bytes = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()
    return encoded
