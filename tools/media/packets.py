"""The demuxer's side of reading pictures: which packets have to be decoded for the picture at a time."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import av
from av.packet import Packet
from av.video.stream import VideoStream

from tools.media.container import Media, packet_time, time_base

logger = logging.getLogger(__name__)

#: Seconds to the next wanted picture from which seeking is cheaper than reading packets up to it.
_SEEK_AHEAD = 8.0
#: Seconds by which a picture may be shown before one that is decoded earlier.
_REORDERING = 1.0
#: Bytes of packets held back while looking for a later key frame; past this they are decoded.
_HELD_BYTES = 64 << 20


@dataclass(frozen=True)
class Batch:
    """Packets to decode next.

    Attributes:
        fresh: whether they start with a key frame and do not continue what was decoded before.
        packets: in decoding order.
        wanted: timestamp (stream units) of the picture on screen at the wanted time; None while that is unknown.
    """

    fresh: bool
    packets: list[Packet[VideoStream]]
    wanted: int | None


class PacketWalk:
    """Walks forward through a stream from wanted time to wanted time.

    Args:
        before_seek: called before each jump, because a jump empties the decoder.
    """

    def __init__(self, media: Media, stream: VideoStream, before_seek: Callable[[], None]) -> None:
        self._media = media
        self._stream = stream
        self._before_seek = before_seek
        self._base = float(time_base(stream))
        self._start = (stream.start_time or 0) * self._base
        self._packets: Iterator[Packet[VideoStream]] | None = None
        self._peeked: Packet[VideoStream] | None = None
        self._position = -math.inf  # decoding time up to which packets were taken
        self._from_start = True  # reading began at the file's first packet
        self._running = False  # a key frame was taken since the last jump
        self._ended = False  # there are no more packets
        self._stamps: list[int] = []  # of packets taken in this run that may be wanted yet

    def until(self, time: float) -> Iterator[Batch]:
        """Batches that contain the picture on screen at ``time``, which must not lie before an earlier call's.

        Of the packets on the way only those from the last key frame on are given out. Where ``time`` lies before the
        first picture, the batches contain that one.
        """
        if not self._ended and time - max(self._position, self._start) > _SEEK_AHEAD:
            self._jump(time)
        back = 1.0
        while not self._find_key(time) and not self._from_start:
            # The format's seek landed behind the last key frame that is shown by then.
            if time - back <= self._start or not self._jump(time - back):
                self._rewind()
            back *= 2
        yield from self._collect(time)

    def _find_key(self, time: float) -> bool:
        """Drops packets up to the next key frame; False if none is shown by ``time``."""
        while not self._running:
            packet = self._peek()
            if packet is None:
                return False
            if packet.is_keyframe:
                return self._from_start or (packet_time(packet) or 0) * self._base <= time
            if not self._from_start and self._decoding_time(packet) > time:
                return False
            self._take()
        return True

    def _collect(self, time: float) -> Iterator[Batch]:
        held: list[Packet[VideoStream]] = []
        size, fresh = 0, False
        while (packet := self._peek()) is not None:
            if not self._running:
                # Before the first picture there is nothing to show but the first picture.
                time = max(time, (packet_time(packet) or 0) * self._base)
            elif self._decoding_time(packet) > time:
                break
            self._take()
            stamp = packet_time(packet) or 0
            if packet.is_keyframe and stamp * self._base <= time:
                held, size, fresh = [], 0, True
                self._stamps = []
                self._running = True
            held.append(packet)
            self._stamps.append(stamp)
            size += packet.size
            if size > _HELD_BYTES:
                yield Batch(fresh, held, None)
                held, size, fresh = [], 0, False
        wanted = max((stamp for stamp in self._stamps if stamp * self._base <= time), default=None)
        if wanted is not None:
            self._stamps = [stamp for stamp in self._stamps if stamp >= wanted]
        yield Batch(fresh, held, wanted)

    def _decoding_time(self, packet: Packet[VideoStream]) -> float:
        if packet.dts is not None:
            return packet.dts * self._base
        # Some formats do not know it for the first packets: those in between may be shown this much earlier.
        return packet.pts * self._base - _REORDERING if packet.pts is not None else self._position

    def _peek(self) -> Packet[VideoStream] | None:
        if self._packets is None:
            self._packets = self._media.packets(self._stream)
        while self._peeked is None and self._packets is not None:
            try:
                packet = next(self._packets)
            except StopIteration:
                self._ended = True
                return None
            except av.FFmpegError as error:
                logger.warning("%s: reading stops at %.3f s: %s", self._media.path.name, self._position, error.strerror)
                self._packets, self._ended = iter(()), True
                return None
            # The demuxer ends with an empty packet.
            if packet.size:
                self._peeked = packet
        return self._peeked

    def _take(self) -> None:
        if self._peeked is not None:
            self._position = max(self._position, self._decoding_time(self._peeked))
            self._peeked = None

    def _jump(self, time: float) -> bool:
        self._before_seek()
        try:
            self._media.container.seek(math.floor(time / self._base), stream=self._stream)
        except av.FFmpegError:
            # Formats without seeking are read on from where they are.
            return False
        self._reset(from_start=False)
        return True

    def _rewind(self) -> None:
        self._before_seek()
        try:
            self._media.container.seek(math.floor(self._start / self._base), stream=self._stream)
        except av.FFmpegError as error:
            logger.warning("%s: cannot go back to the start: %s", self._media.path.name, error.strerror)
        self._reset(from_start=True)

    def _reset(self, *, from_start: bool) -> None:
        self._packets = None
        self._peeked = None
        self._position = -math.inf
        self._from_start = from_start
        self._running = False
        self._ended = False
        self._stamps = []
