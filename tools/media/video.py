"""What is known about one media file."""

from pydantic import BaseModel, ConfigDict

from tools.evidence import Kind
from tools.media.span import Span


class VideoInfo(BaseModel):
    """Facts read from a file's headers and packets, without decoding.

    Attributes:
        span: from the first to the end of the last presentation timestamp over the chosen streams.
        width, height: displayed size in pixels, after rotation; 0 without pictures.
        fps: average frames a second; 0 without pictures.
        video_codec, audio_codec, subtitle_codec: of the chosen streams, None where there is none.
        rotation: degrees clockwise by which stored pictures are turned for display: 0, 90, 180 or 270.
        warnings: what is odd about the file, a sentence each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    span: Span
    width: int
    height: int
    fps: float
    video_codec: str | None
    audio_codec: str | None
    subtitle_codec: str | None
    rotation: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.span.duration


class Video(BaseModel):
    """A registered media file.

    Attributes:
        id: content hash (hex); the same bytes have the same id wherever they lie.
        name: what people call it, normally the file's name.
        path: where it lies.
        indexed_kinds: kinds of evidence of which the index holds all that its tools found in the whole video.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    name: str
    path: str
    info: VideoInfo
    indexed_kinds: tuple[Kind, ...] = ()
