"""Sound as 16 kHz mono samples on the video's own clock."""

import logging
import math
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from tools.media.container import open_media, packet_time, time_base
from tools.media.span import Span

logger = logging.getLogger(__name__)

#: Samples a second of everything that `read_audio` returns.
SAMPLE_RATE = 16_000
#: Seconds decoded before the span: codecs need some packets until their output is exact.
_PREROLL = 0.25
#: Seconds that timestamps may jump before the gap is kept as silence.
_JITTER = 0.05


def read_audio(path: Path | str, span: Span) -> npt.NDArray[np.float32]:
    """The sound of ``span``: float32 ``[round(duration * 16000)]``, mono, -1..1.

    Silence stands where the file has none: outside the stream, in gaps of its timestamps, in damaged packets, or
    everywhere if there is no sound at all.

    Raises:
        NotFound, MediaError: the file cannot be opened.
    """
    track = _Track(span)
    with open_media(path) as media:
        if media.audio is None or len(track.samples) == 0:
            return track.samples
        base = float(time_base(media.audio))
        try:
            media.container.seek(math.floor((span.start - _PREROLL) / base), stream=media.audio)
        except av.FFmpegError as error:
            logger.debug("%s: no seeking, read from the start: %s", media.path.name, error.strerror)
        damaged = 0
        try:
            for packet in media.packets(media.audio):
                if (stamp := packet_time(packet)) is not None and stamp * base > span.end:
                    break
                try:
                    for frame in packet.decode():
                        track.add(frame)
                except av.FFmpegError:
                    damaged += 1
        except av.FFmpegError as error:
            logger.warning("%s: sound ends early in %s: %s", media.path.name, span, error.strerror)
        track.flush()
        if damaged:
            logger.warning("%s: %d damaged sound packets in %s are silent", media.path.name, damaged, span)
    return track.samples


class _Track:
    """Places decoded sound by its timestamps."""

    def __init__(self, span: Span) -> None:
        self.samples = np.zeros(max(0, round(span.duration * SAMPLE_RATE)), dtype=np.float32)
        self._start = span.start
        self._resampler: AudioResampler | None = None
        self._format: tuple[str, str, int] | None = None
        self._next = math.nan  # when the next frame should start if there is no gap
        self._cursor = 0  # sample at which the resampler's next output goes

    def add(self, frame: AudioFrame) -> None:
        """Resamples ``frame`` and places it behind the last one, or at its own time after a gap."""
        time = frame.time if frame.time is not None else self._next
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._resampler is None or kind != self._format or abs(time - self._next) > _JITTER:
            self.flush()
            self._resampler = AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
            self._format = kind
            self._cursor = round((time - self._start) * SAMPLE_RATE)
            self._next = time
        self._next += frame.samples / frame.sample_rate
        self._place(self._resampler.resample(frame))

    def flush(self) -> None:
        """Places what the resampler still holds."""
        if self._resampler is not None:
            self._place(self._resampler.resample(None))
            self._resampler = None

    def _place(self, frames: list[AudioFrame]) -> None:
        for frame in frames:
            sound = frame.to_ndarray().reshape(-1)
            start, stop = max(self._cursor, 0), min(self._cursor + len(sound), len(self.samples))
            if start < stop:
                self.samples[start:stop] = sound[start - self._cursor : stop - self._cursor]
            self._cursor += len(sound)
