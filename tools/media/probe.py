"""Facts about a media file from its headers and packets."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path

import av
from av.stream import Stream
from av.video.stream import VideoStream

from tools.media.container import Media, open_media, packet_time, time_base
from tools.media.geometry import Orientation, square_pixels
from tools.media.span import Span
from tools.media.video import VideoInfo

#: Seconds by which packets may end before the headers' duration without a warning.
_TOLERANCE = 1.0
#: Packets that may fail before a file counts as one whose first picture cannot be decoded.
_PATIENCE = 300


def probe(path: Path | str) -> VideoInfo:
    """What the file holds: span, displayed size, rate, codecs, oddities.

    Headers give the facts; the packets at the end are read to know where the file really ends, and one picture is
    decoded because orientation travels with pictures.

    Raises:
        NotFound: there is no such file.
        MediaError: it is no media file, or holds neither pictures nor sound.
    """
    warnings: list[str] = []
    with open_media(path) as media:
        streams: list[Stream] = [stream for stream in (media.video, media.audio) if stream is not None]
        orientation = _first_orientation(media, warnings) if media.video else Orientation()
        spans = [_span(media, stream, warnings) for stream in streams]
        width, height = _displayed_size(media.video, orientation) if media.video else (0, 0)
        return VideoInfo(
            span=Span.of(min(span.start for span in spans), max(span.end for span in spans)),
            width=width,
            height=height,
            fps=_rate(media.video, spans[0]) if media.video else 0.0,
            video_codec=_codec(media.video),
            audio_codec=_codec(media.audio),
            subtitle_codec=_codec(media.subtitle),
            rotation=orientation.rotation,
            warnings=tuple(warnings),
        )


def _codec(stream: Stream | None) -> str | None:
    return stream.codec_context.codec.canonical_name if stream else None


def _displayed_size(stream: VideoStream, orientation: Orientation) -> tuple[int, int]:
    wide, high = square_pixels(stream.width, stream.height, stream.sample_aspect_ratio)
    width, height = max(1, round(wide)), max(1, round(high))
    return (height, width) if orientation.swap else (width, height)


def _rate(stream: VideoStream, span: Span) -> float:
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate
    if rate:
        return float(rate)
    return stream.frames / span.duration if stream.frames and span.duration > 0 else 0.0


def _first_orientation(media: Media, warnings: list[str]) -> Orientation:
    assert media.video is not None
    failed = 0
    try:
        for packet in media.packets(media.video):
            try:
                for frame in packet.decode():
                    return Orientation.of(frame)
            except av.FFmpegError:
                failed += 1
                if failed > _PATIENCE:
                    break
    except av.FFmpegError as error:
        warnings.append(f"reading stopped before the first picture: {error.strerror}")
    warnings.append("no picture could be decoded")
    return Orientation()


def _span(media: Media, stream: Stream, warnings: list[str]) -> Span:
    """From the first to the end of the last packet of ``stream``, in presentation time."""
    start, claimed = _claimed(media, stream)
    first, end = _scan_packets(media, stream, claimed if start is not None else None)
    if end is None:
        # Nothing lies where the headers say that the end is: walk through the file.
        first, end = _scan_packets(media, stream, None)
    if start is None:
        start = first if first is not None else Fraction(0)
    if end is None:
        warnings.append(f"the {stream.type} stream holds no packets")
        end = start
    elif claimed is not None and float(claimed - end) > _TOLERANCE:
        warnings.append(
            f"the {stream.type} stream ends at {float(end):.3f} s although its headers promise {float(claimed):.3f} s"
        )
    return Span.of(float(start), float(max(start, end)))


def _claimed(media: Media, stream: Stream) -> tuple[Fraction | None, Fraction | None]:
    """Start and end of ``stream`` according to the headers."""
    base = time_base(stream)
    start = stream.start_time * base if stream.start_time is not None else None
    if stream.duration is not None:
        return start, (start or 0) + stream.duration * base
    if media.container.duration is not None:
        offset = Fraction(media.container.start_time or 0, av.time_base)
        return start, offset + Fraction(media.container.duration, av.time_base)
    return start, None


def _scan_packets(media: Media, stream: Stream, near: Fraction | None) -> tuple[Fraction | None, Fraction | None]:
    """First timestamp and end of the packets from about ``near`` seconds on, or from the file's start if None."""
    base = time_base(stream)
    # Formats that store no durations: a picture lasts as long as the average one.
    rate = stream.average_rate if stream.type == "video" else None
    usual = 1 / rate if rate else Fraction(0)
    first: Fraction | None = None
    end: Fraction | None = None
    # Damage ends the packets early; what was found before it is the answer.
    with contextlib.suppress(av.FFmpegError):
        media.container.seek(int((near or 0) / base), stream=stream)
        for packet in media.packets(stream):
            if (stamp := packet_time(packet)) is None or packet.size == 0:
                continue
            time = stamp * base
            first = time if first is None else min(first, time)
            end = max(end or time, time + (packet.duration * base if packet.duration else usual))
    return first, end
