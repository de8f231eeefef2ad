"""Pictures by presentation timestamp: what is on screen at given times, decoding as little as possible."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tools.errors import BadInput, MediaError
from tools.media.container import Media, open_media, packet_time, time_base
from tools.media.frames import Frames
from tools.media.geometry import Converter
from tools.media.packets import PacketWalk
from tools.media.view import Region

logger = logging.getLogger(__name__)

#: Decoder threads of one view; several views are decoded at once, so more would only compete.
_THREADS = 4
#: Codecs whose pictures are marked strictly as used or unused by later ones.
_MARKS_UNUSED = frozenset({"h264", "mpeg1video", "mpeg2video"})


def read_frames(
    path: Path | str,
    times: Sequence[float],
    *,
    region: Region | None = None,
    short_side: int | None = None,
) -> Frames:
    """The pictures on screen at ``times``.

    The picture on screen at t is the last one whose presentation timestamp is not after t, or the first of the file
    where t lies before it. Pictures wanted several times appear once, with their own timestamps. Where the file is
    damaged, the last picture before the damage stands for the later ones up to the next key frame, and a warning is
    logged.

    Args:
        times: seconds on the video's own clock, in any order; one at least.
        region: part of the displayed frame.
        short_side: pixels of the shorter side; pictures are never enlarged.

    Raises:
        BadInput: no times, or the file has no pictures.
        NotFound, MediaError: the file cannot be opened, or none of the pictures can be decoded.
    """
    if len(times) == 0:
        raise BadInput("no times were given", remedy="ask for one time at least", field="times")
    with open_media(path) as media:
        if media.video is None:
            raise BadInput(
                f"'{media.path.name}' has no pictures", remedy="ask about what is said in it", field="video_id"
            )
        reader = _Reader(media, media.video, Converter(media.video.sample_aspect_ratio, region, short_side))
        pictures = reader.read(sorted({float(time) for time in times}))
        base = float(time_base(media.video))
    if not pictures:
        raise MediaError(
            f"no picture of '{Path(path).name}' could be decoded at {min(times):.3f}-{max(times):.3f} s",
            remedy="ask for another span, the file is damaged here",
            field="span",
        )
    stamps = sorted(pictures)
    return Frames(
        times=np.array([stamp * base for stamp in stamps], dtype=np.float64),
        images=np.stack([pictures[stamp] for stamp in stamps]),
        decoded=reader.decoded,
    )


class _Reader:
    """Decodes runs of packets and keeps the wanted pictures, in one walk through ascending times."""

    def __init__(self, media: Media, stream: VideoStream, converter: Converter) -> None:
        self.decoded = 0
        self._name = media.path.name
        self._context = stream.codec_context
        self._context.thread_type = "AUTO"
        self._context.thread_count = _THREADS
        self._skips = self._context.name in _MARKS_UNUSED
        self._base = float(time_base(stream))
        self._converter = converter
        self._walk = PacketWalk(media, stream, self._finish)
        self._wanted: deque[float] = deque()  # times whose picture is not decided yet
        self._best: VideoFrame | None = None  # last picture not after the first of them
        self._pictures: dict[int, npt.NDArray[np.uint8]] = {}
        # With several threads an error is reported up to that many packets late.
        self._recent: deque[int] = deque(maxlen=_THREADS + 1)
        self._shown: deque[int] = deque(maxlen=64)
        self._limit: int | None = None  # pictures from this timestamp on are damaged in this run

    def read(self, times: Sequence[float]) -> dict[int, npt.NDArray[np.uint8]]:
        """Converted pictures by timestamp (stream units); ``times`` ascend."""
        for time in times:
            for batch in self._walk.until(time):
                if batch.fresh:
                    self._finish()
                if batch.wanted is not None:
                    self._wanted.append(max(time, batch.wanted * self._base))
                for packet in batch.packets:
                    self._feed(packet, batch.wanted)
        self._finish()
        return self._pictures

    def _feed(self, packet: Packet[VideoStream], wanted: int | None) -> None:
        if self._limit is not None:
            return
        stamp = packet_time(packet) or 0
        if self._skips:
            needed = wanted is None or stamp >= wanted
            self._context.skip_frame = "DEFAULT" if needed else "NONREF"
        self._recent.append(stamp)
        try:
            for frame in self._context.decode(packet):
                self._show(frame)
        except av.FFmpegError as error:
            self._damage(error)

    def _damage(self, error: av.FFmpegError) -> None:
        frames = self._drain()
        missing = set(self._recent) - set(self._shown) - {frame.pts for frame in frames}
        self._limit = min(missing, default=max(self._recent) + 1)
        logger.warning("%s is damaged at %.3f s: %s", self._name, self._limit * self._base, error.strerror)
        for frame in frames:
            self._show(frame)

    def _drain(self) -> list[VideoFrame]:
        frames: list[VideoFrame] = []
        try:
            frames += self._context.decode(None)
        except av.FFmpegError as error:
            logger.warning("%s: the last pictures of a run are damaged: %s", self._name, error.strerror)
        return frames

    def _show(self, frame: VideoFrame) -> None:
        """Takes one decoded picture, in order of presentation."""
        self.decoded += 1
        if frame.pts is None or (self._limit is not None and frame.pts >= self._limit):
            return
        self._shown.append(frame.pts)
        time = frame.pts * self._base
        while self._wanted and time > self._wanted[0]:
            self._wanted.popleft()
            self._keep(self._best or frame)
        if self._best is None or self._best.pts is None or frame.pts >= self._best.pts:
            self._best = frame

    def _keep(self, frame: VideoFrame) -> None:
        if frame.pts is not None and frame.pts not in self._pictures:
            self._pictures[frame.pts] = self._converter(frame)

    def _finish(self) -> None:
        """Ends a run: what the decoder still holds comes out, and it is ready for another key frame."""
        if self._recent and self._limit is None:
            for frame in self._drain():
                self._show(frame)
        if self._best is not None and self._wanted:
            self._keep(self._best)
        self._wanted.clear()
        self._best = None
        self._limit = None
        self._recent.clear()
        self._shown.clear()
        self._context.flush_buffers()
