"""The one decoding pass of indexing: shots, thumbnails and index frames from as few decoded pictures as possible.

Groups of pictures no longer than `KEY_FRAMES_SECONDS` give their key frame only; the rest of such a group is not even
given to the decoder. Of longer groups, pictures that no other one refers to are skipped.
"""

from __future__ import annotations

import logging
import os
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
from tools.media.container import Media, open_media, packet_time, time_base
from tools.media.geometry import Converter

logger = logging.getLogger(__name__)

#: Key frames serve as the samples while they are at most this many sampling periods apart.
KEY_FRAME_PERIODS = 2.0
#: Share of a sampling period that must have passed before a key frame is worth a sample.
_KEY_FRAME_SHARE = 0.75
#: The same for key frames that were decoded, whatever for.
_DECODED_SHARE = 0.25
#: Looks for cuts a second where pictures are decoded anyway.
_LOOKS = 4.0
_MAX_THREADS = 8


@dataclass(frozen=True)
class Sample:
    """One picture of the index.

    Attributes:
        time: presentation seconds of the picture.
        until: time of the next sample, or the end of the video.
        image: uint8 RGB ``[H, W, 3]``, displayed orientation; all samples of a scan have one size.
        cut: a new shot starts here.
        change: largest local difference, 0..1, to the last sample that showed something new.
    """

    time: float
    until: float
    image: npt.NDArray[np.uint8]
    cut: bool
    change: float

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
        self._context = stream.codec_context
        self._context.thread_type = "AUTO"
        self._context.thread_count = min(_MAX_THREADS, os.cpu_count() or 1)
        self._packets = media.packets(stream)
        self._gap = KEY_FRAME_PERIODS * period
        self._close = _KEY_FRAME_SHARE * period
        self._skipping = False  # until the next group of pictures, because of damage

    def __iter__(self) -> Iterator[tuple[float, VideoFrame]]:
        last = -np.inf
        for packet in self._chosen():
            for frame in self._decode(packet):
                if frame.pts is not None and frame.pts * self._base > last:
                    last = frame.pts * self._base
                    yield last, frame
        for frame in self._decode(None):
            if frame.pts is not None and frame.pts * self._base > last:
                last = frame.pts * self._base
                yield last, frame
        self.end = max(self.end, last)

    def _chosen(self) -> Iterator[Packet[VideoStream]]:
        """The packets to decode, with the decoder set for each."""
        held: list[Packet[VideoStream]] = []  # of the current group, not decoded so far
        whole = False  # the current group is decoded as it comes
        key = 0  # timestamp at which the current group starts to be decodable
        last = -np.inf  # seconds of the last key frame given out
        for packet in self._read():
            stamp = packet_time(packet) or 0
            time = stamp * self._base
            if packet.is_keyframe:
                held, whole, self._skipping, key = [], False, False, stamp
                if time - last >= self._close:
                    self._context.skip_frame = "DEFAULT"
                    last = time
                    yield packet
                else:
                    held.append(packet)
            elif whole:
                yield packet
            elif last > -np.inf and stamp >= key:
                # Pictures shown before their group's key frame need the group before, which was not decoded.
                held.append(packet)
                if time - last > self._gap and held[0].is_keyframe:
                    # The key frame that seemed too close to the one before is needed after all.
                    self._context.skip_frame = "DEFAULT"
                    last = (packet_time(held[0]) or 0) * self._base
                    yield held.pop(0)
                if time - last > self._gap:
                    self._context.skip_frame = "NONREF"
                    whole = True
                    yield from held
                    held = []

    def _read(self) -> Iterator[Packet[VideoStream]]:
        try:
            for packet in self._packets:
                stamp = packet_time(packet)
                if packet.size == 0 or stamp is None:
                    continue
                self.end = max(self.end, (stamp + (packet.duration or 0)) * self._base)
                self._stats.packets_total += 1
                yield packet
        except av.FFmpegError as error:
            logger.warning("%s: reading stops at %.3f s: %s", self._name, self.end, error.strerror)

    def _decode(self, packet: Packet[VideoStream] | None) -> list[VideoFrame]:
        if self._skipping:
            return []
        if packet is not None:
            self._stats.packets += 1
        try:
            frames = self._context.decode(packet)
        except av.FFmpegError as error:
            if self._stats.damaged == 0:
                logger.warning("%s is damaged near %.3f s: %s", self._name, self.end, error.strerror)
            self._stats.damaged += 1
            self._skipping = packet is not None
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
        return Sample(time, time, self._converter(frame), cut, self._meter.change(self._miniatures.luma(frame)))
