"""Opening a media file: which streams count, and one clear error for whatever cannot be opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar, cast

import av
from av.audio.stream import AudioStream
from av.container.input import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition, Stream
from av.subtitles.stream import SubtitleStream
from av.video.stream import VideoStream

from tools.errors import MediaError, NotFound

S = TypeVar("S", bound=Stream)

#: Demuxers that read one self-contained file. Playlists, manifests and session descriptions are left out, for they
#: would make the reader open other files or addresses that the file's author chose.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,live_flv,asf,ogg,mxf,nut,rm,ivf,dv,gif,apng,"
    "wtv,h264,hevc,vvc,obu,m4v,mjpeg,y4m,yuv4mpegpipe,wav,w64,aiff,caf,au,mp3,flac,aac,ac3,eac3,amr,ape,wv,tta"
)
_TEXT_SUBTITLES = ("mov_text", "subrip", "srt", "ass", "ssa", "webvtt", "text")
#: Pictures that are no film: covers and thumbnails.
_STILLS = Disposition.attached_pic | Disposition.timed_thumbnails
_WHAT_TO_DO = "give a video or audio file that a player can open"


@dataclass(frozen=True)
class Media:
    """An open file and its chosen streams, None where it has none of a kind."""

    path: Path
    container: InputContainer
    video: VideoStream | None
    audio: AudioStream | None
    subtitle: SubtitleStream | None

    def packets(self, stream: S) -> Iterator[Packet[S]]:
        """Packets of ``stream`` from the current position; packets of other streams are not even read where the
        format allows it. Ends with the file, or with the packets before the damage in a broken file."""
        for other in self.container.streams:
            other.discard = Discard.default if other.index == stream.index else Discard.all
        return cast("Iterator[Packet[S]]", self.container.demux(stream))


@contextmanager
def open_media(path: Path | str) -> Iterator[Media]:
    """Opens a media file and chooses its streams.

    The video stream is the largest among those marked as default (or among all), covers excepted; sound and subtitles
    are the default or first stream.

    Raises:
        NotFound: there is no such file.
        MediaError: a directory, an empty or unreadable file, or one without sound and pictures.
    """
    path = Path(path)
    _check_readable(path)
    # What matters of a damaged file comes back as errors; libav's own chatter would end up on the user's terminal.
    av.logging.set_libav_level(av.logging.FATAL)
    try:
        container = av.open(str(path), metadata_errors="ignore", options={"format_whitelist": _FORMATS})
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = "has no media data" if isinstance(error, av.InvalidDataError) else f"cannot be opened ({error})"
        raise MediaError(f"'{path.name}' is no media file: it {reason}", remedy=_WHAT_TO_DO, field="path") from error
    with container:
        media = Media(
            path=path,
            container=container,
            video=_best_video(container),
            audio=_preferred(list(container.streams.audio)),
            subtitle=_preferred([s for s in container.streams.subtitles if s.codec_context.name in _TEXT_SUBTITLES]),
        )
        if media.video is None and media.audio is None:
            raise MediaError(f"'{path.name}' has neither pictures nor sound", remedy=_WHAT_TO_DO, field="path")
        yield media


def time_base(stream: Stream) -> Fraction:
    """Seconds of one timestamp unit of ``stream``."""
    return stream.time_base or Fraction(1, av.time_base)


def packet_time(packet: Packet[Any]) -> int | None:
    """Presentation timestamp, or the decoding timestamp in formats that store nothing else, in stream units."""
    return packet.pts if packet.pts is not None else packet.dts


def _check_readable(path: Path) -> None:
    try:
        if path.is_dir():
            raise MediaError(f"'{path}' is a directory", remedy="give one media file", field="path")
        if path.stat().st_size == 0:
            raise MediaError(f"'{path.name}' is empty (zero bytes)", remedy="copy or record it again", field="path")
        with path.open("rb"):
            return
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"there is no file '{path}'", remedy="check the path", field="path") from error
    except PermissionError as error:
        raise MediaError(f"'{path}' may not be read", remedy="grant read permission", field="path") from error
    except OSError as error:
        raise MediaError(f"'{path}' cannot be read ({error})", remedy="check the disk", field="path") from error


def _best_video(container: InputContainer) -> VideoStream | None:
    streams = [s for s in container.streams.video if not s.disposition & _STILLS and s.codec_context is not None]

    def rank(stream: VideoStream) -> tuple[bool, int, int]:
        default = bool(stream.disposition & Disposition.default)
        return default, stream.width * stream.height, -stream.index

    return max(streams, key=rank, default=None)


def _preferred(streams: list[S]) -> S | None:
    decodable = [s for s in streams if s.codec_context is not None]
    return min(decodable, key=lambda s: (not s.disposition & Disposition.default, s.index), default=None)
