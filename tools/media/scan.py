"""The one decoding pass of indexing: shots, thumbnails and index frames from as few decoded pictures as possible.

`tools.media.choose` says which packets are decoded. Where these are more than the key frames, four pictures a second
are compared for cuts; otherwise the samples alone are.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tools.media.change import CHANGED, ChangeMeter, CutDetector, Miniatures
from tools.media.choose import choose_packets, use_threads
from tools.media.container import Media, open_media, packet_time, time_base
from tools.media.geometry import Converter
from tools.media.view import Region

logger = logging.getLogger(__name__)

#: Share of a sampling period that must have passed before a decoded key frame is worth a sample.
_DECODED_SHARE = 0.25
#: Looks for cuts a second where pictures are decoded anyway.
_LOOKS = 4.0


@dataclass(frozen=True)
class Sample:
    """One picture of the index.

    Attributes:
        time: presentation seconds of the picture.
        until: time of the next sample, or the end of the video.
        image: uint8 RGB ``[H, W, 3]``, displayed orientation; all samples of a scan have one size.
        cut: a new shot starts here.
        change: largest local difference, 0..1, to the last sample that showed something new.
        regions: where it is, boxes in fractions of the picture; empty for a sample that shows nothing new.
    """

    time: float
    until: float
    image: npt.NDArray[np.uint8]
    cut: bool
    change: float
    regions: tuple[Region, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether the picture shows something new: then it is worth being read again."""
        return self.change >= CHANGED


@dataclass
class ScanStats:
    """What a scan did, filled in while it runs.

    Attributes:
        packets: given to the decoder, of all that the stream has.
        decoded: pictures that came out.
        damaged: packets that could not be decoded.
    """

    packets: int = 0
    packets_total: int = 0
    decoded: int = 0
    damaged: int = 0


def scan(
    path: Path | str, *, fps: float = 1.0, short_side: int = 480, stats: ScanStats | None = None
) -> Iterator[Sample]:
    """Samples of a video in order of time, about ``fps`` a second and one at each cut that is noticed.

    Memory stays bounded however long the video is. A damaged group of pictures is left out up to the next key frame
    and a warning is logged; a file without pictures gives no samples.

    Args:
        fps: samples a second; where key frames serve as samples there may be half as many or a third more.
        short_side: pixels of the shorter side; pictures are never enlarged.
        stats: is filled in if given.

    Raises:
        NotFound, MediaError: the file cannot be opened.
    """
    if fps <= 0:
        raise ValueError("a scan needs fps > 0")
    with open_media(path) as media:
        if media.video is None:
            return
        decoder = _Decoder(media, media.video, 1 / fps, stats if stats is not None else ScanStats())
        sampler = _Sampler(1 / fps, Converter(media.video.sample_aspect_ratio, None, short_side, fast=True))
        held: Sample | None = None
        for time, frame in decoder:
            sample = sampler.take(time, frame)
            if sample is None:
                continue
            if held is not None:
                yield replace(held, until=sample.time)
            held = sample
        if held is not None:
            yield replace(held, until=max(decoder.end, held.time))


class _Decoder:
    """Iterates over decoded pictures with their seconds."""

    def __init__(self, media: Media, stream: VideoStream, period: float, stats: ScanStats) -> None:
        self.end = 0.0
        self._stats = stats
        self._name = media.path.name
        self._base = float(time_base(stream))
        # Formats that store no durations: a picture lasts as long as the average one.
        self._usual = 1 / float(stream.average_rate * time_base(stream)) if stream.average_rate else 0.0
        self._context = stream.codec_context
        use_threads(self._context)
        self._chosen = choose_packets(self._read(media.packets(stream)), self._base, period)
        self._skipping = False  # until the next group of pictures, because of damage
        self._last = -np.inf

    def __iter__(self) -> Iterator[tuple[float, VideoFrame]]:
        for choice in self._chosen:
            self._context.skip_frame = choice.skip
            yield from self._timed(self._decode(choice.packet))
        yield from self._timed(self._decode(None))
        self.end = max(self.end, self._last)

    def _timed(self, frames: list[VideoFrame]) -> Iterator[tuple[float, VideoFrame]]:
        for frame in frames:
            if frame.pts is not None and frame.pts * self._base > self._last:
                self._last = frame.pts * self._base
                yield self._last, frame

    def _read(self, packets: Iterator[Packet[VideoStream]]) -> Iterator[Packet[VideoStream]]:
        try:
            for packet in packets:
                stamp = packet_time(packet)
                if packet.size == 0 or stamp is None:
                    continue
                self.end = max(self.end, (stamp + (packet.duration or self._usual)) * self._base)
                self._stats.packets_total += 1
                yield packet
        except av.FFmpegError as error:
            logger.warning("%s: reading stops at %.3f s: %s", self._name, self.end, error.strerror)

    def _decode(self, packet: Packet[VideoStream] | None) -> list[VideoFrame]:
        if packet is not None:
            self._skipping = self._skipping and not packet.is_keyframe
            if self._skipping:
                return []
            self._stats.packets += 1
        try:
            frames = self._context.decode(packet)
        except av.FFmpegError as error:
            if self._stats.damaged == 0:
                logger.warning("%s is damaged near %.3f s: %s", self._name, self.end, error.strerror)
            self._stats.damaged += 1
            self._skipping = True
            return []
        self._stats.decoded += len(frames)
        return frames


class _Sampler:
    """Chooses which decoded pictures become samples."""

    def __init__(self, period: float, converter: Converter) -> None:
        self._period = period
        self._converter = converter
        self._miniatures = Miniatures()
        self._meter = ChangeMeter()
        # Samples lie farther apart than looks, so what is usual between neighbours differs.
        self._between_samples = CutDetector()
        self._between_looks = CutDetector()
        self._sampled = -np.inf
        self._looked = -np.inf
        self._jumped = -np.inf

    def take(self, time: float, frame: VideoFrame) -> Sample | None:
        """The picture as a sample (``until`` is still its own time), or None."""
        share = _DECODED_SHARE if frame.key_frame else 1.0
        due = time - self._sampled >= share * self._period - 1e-6
        if not due and time - self._looked < 1 / _LOOKS - 1e-6:
            return None
        layout = self._miniatures.layout(frame)
        # Where only key frames are decoded every picture is a sample, and looks tell nothing more.
        dense = time - self._looked < 1.5 / _LOOKS
        jump = self._between_looks.is_cut(layout) and dense
        # A dissolve is a row of jumps, with a difference to the next sample behind them: the first one counts.
        settled = time - self._jumped > 1.5 * self._period
        jump = jump and settled
        self._looked = time
        if not due and not jump:
            return None
        cut = (self._between_samples.is_cut(layout) and settled) or jump
        self._sampled = time
        if jump:
            self._jumped = time
        change, regions = self._meter.change(self._miniatures.luma(frame))
        return Sample(time, time, self._converter(frame), cut, change, regions)
