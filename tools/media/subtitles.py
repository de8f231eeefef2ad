"""Subtitle tracks inside a media file."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

import av
from av.subtitles.subtitle import AssSubtitle

from tools.media.container import open_media, time_base
from tools.media.span import Span

logger = logging.getLogger(__name__)

_OVERRIDES = re.compile(r"\{[^}]*\}")
_TAGS = re.compile(r"</?[a-zA-Z][^>]*>")


@dataclass(frozen=True)
class Subtitle:
    """One subtitle: when it is shown and its plain text, lines separated by newlines."""

    span: Span
    text: str


def read_subtitles(path: Path | str) -> list[Subtitle]:
    """The default (or first) text subtitle track in order of time; empty if there is none.

    Raises:
        NotFound, MediaError: the file cannot be opened.
    """
    found: list[Subtitle] = []
    with open_media(path) as media:
        if media.subtitle is None:
            return []
        base = float(time_base(media.subtitle))
        try:
            for packet in media.packets(media.subtitle):
                if packet.pts is None or not packet.size:
                    continue
                text = "\n".join(
                    _plain(part) for part in packet.decode() if isinstance(part, AssSubtitle) and _plain(part)
                )
                if text:
                    start = packet.pts * base
                    found.append(Subtitle(Span.of(start, start + max(0, packet.duration or 0) * base), text))
        except av.FFmpegError as error:
            logger.warning("%s: subtitles end early: %s", media.path.name, error.strerror)
    return sorted(found, key=lambda subtitle: (subtitle.span.start, subtitle.span.end))


def _plain(part: AssSubtitle) -> str:
    text = (part.dialogue or part.text).decode("utf-8", errors="replace")
    text = text.replace("\\N", "\n").replace("\\n", "\n").replace("\\h", " ")
    text = _TAGS.sub("", _OVERRIDES.sub("", text))
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())
