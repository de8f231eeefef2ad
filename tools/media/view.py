"""What is to be looked at: a video, a span, a rate, a region and a resolution. Zooming makes a child view."""

import hashlib
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tools.media.span import Span


class Region(BaseModel):
    """Box in fractions of the displayed (rotated) frame, origin top left, half-open like a span."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    x0: float = Field(ge=0, le=1)
    y0: float = Field(ge=0, le=1)
    x1: float = Field(ge=0, le=1)
    y1: float = Field(ge=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.x1 <= self.x0 or self.y1 <= self.y0:
            raise ValueError("a region needs x0 < x1 and y0 < y1")
        return self

    @classmethod
    def of(cls, x0: float, y0: float, x1: float, y1: float) -> "Region":
        """The box with these corners, clipped to the frame."""
        clip = [min(max(value, 0.0), 1.0) for value in (x0, y0, x1, y1)]
        return cls(x0=clip[0], y0=clip[1], x1=clip[2], y1=clip[3])

    @property
    def area(self) -> float:
        """Share of the frame, 0..1."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)

    def intersect(self, other: "Region") -> "Region | None":
        """The box that both share, or None."""
        x0, y0 = max(self.x0, other.x0), max(self.y0, other.y0)
        x1, y1 = min(self.x1, other.x1), min(self.y1, other.y1)
        return Region(x0=x0, y0=y0, x1=x1, y1=y1) if x0 < x1 and y0 < y1 else None

    def hull(self, other: "Region") -> "Region":
        """The smallest box that covers both."""
        return Region(
            x0=min(self.x0, other.x0),
            y0=min(self.y0, other.y0),
            x1=max(self.x1, other.x1),
            y1=max(self.y1, other.y1),
        )

    def iou(self, other: "Region") -> float:
        """Intersection over union, 0..1."""
        shared = self.intersect(other)
        return shared.area / (self.area + other.area - shared.area) if shared else 0.0

    def inside(self, outer: "Region") -> "Region":
        """This box, given in fractions of ``outer``, as fractions of the whole frame."""
        width, height = outer.x1 - outer.x0, outer.y1 - outer.y0
        return Region.of(
            outer.x0 + self.x0 * width,
            outer.y0 + self.y0 * height,
            outer.x0 + self.x1 * width,
            outer.y0 + self.y1 * height,
        )

    def pad(self, share: float) -> "Region":
        """Wider and taller by ``share`` of its own size on every side, clipped to the frame."""
        dx, dy = (self.x1 - self.x0) * share, (self.y1 - self.y0) * share
        return Region.of(self.x0 - dx, self.y0 - dy, self.x1 + dx, self.y1 + dy)


class View(BaseModel):
    """One look: which seconds of which video, how many frames a second, which part of the frame, how large.

    Attributes:
        video_id: content hash of the video.
        span: seconds on the video's own clock.
        fps: frames a second to sample; frames are the ones on screen at ``span.start + i / fps``.
        region: part of the displayed frame, or None for all of it.
        short_side: pixels of the shorter side of the delivered picture; pictures are never enlarged.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    video_id: str
    span: Span
    fps: float = Field(default=1.0, gt=0, le=240)
    region: Region | None = None
    short_side: int = Field(default=360, ge=16, le=4320)

    @property
    def id(self) -> str:
        """Deterministic identifier: equal views have equal ids."""
        return hashlib.blake2b(self.model_dump_json().encode(), digest_size=8).hexdigest()

    def zoom(
        self,
        *,
        span: Span | None = None,
        fps: float | None = None,
        region: Region | None = None,
        short_side: int | None = None,
    ) -> "View":
        """A child view; ``region`` is in fractions of this view's own region."""
        if region is not None and self.region is not None:
            region = region.inside(self.region)
        return View(
            video_id=self.video_id,
            span=span if span is not None else self.span,
            fps=fps if fps is not None else self.fps,
            region=region if region is not None else self.region,
            short_side=short_side if short_side is not None else self.short_side,
        )

    def sample_times(self) -> list[float]:
        """Seconds at which frames are taken: one at least, the first at ``span.start``, all before ``span.end``."""
        count = max(1, int((self.span.duration - 1e-9) * self.fps) + 1)
        return [self.span.start + i / self.fps for i in range(count)]
